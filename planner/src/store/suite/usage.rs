//! What tenants used: each request once, whatever becomes of its batch.

use std::sync::Arc;

use jiff::civil::{Date, date};
use tokio::task::JoinSet;

use super::*;

const DAY: Micros = 86_400_000_000;

/// A batch of a tenant's, with chunks of these models, of four requests each.
async fn of(store: &impl Store, tenant: &Tenant, models: &[&str]) -> BatchId {
    let file = NewFile { tenant: tenant.clone(), ..new_file(FileId::now(), None) };
    store.open_file(&file).await.unwrap();
    assert!(store.close_file(file.id, "5ha").await.unwrap());
    let id = planning_with(store, |batch| {
        batch.tenant = tenant.clone();
        batch.input = file.id;
    })
    .await;
    let chunk = |(number, model): (i32, &&str)| NewChunk { model: (*model).into(), ..new_chunk(number, 4) };
    activate(store, id, &(0..).zip(models).map(chunk).collect::<Vec<_>>()).await;
    id
}

fn used(basis: v1::Basis) -> v1::Usage {
    v1::Usage {
        prompt_tokens: 10,
        prompt_basis: basis.into(),
        evaluated_tokens: 4,
        cached_tokens: 6,
        cache_basis: v1::Basis::Measured.into(),
        completion_tokens: 3,
    }
}

/// A segment of successes with tokens.
fn measured(pieces: &[(i32, &[i32])]) -> NewSegment {
    let mut segment = segment(pieces);
    for record in segment.pieces.iter_mut().flat_map(|piece| &mut piece.records) {
        record.usage = used(v1::Basis::Measured);
    }
    segment
}

async fn all(store: &impl Store) -> Vec<DailyUsage> {
    store.usage(&UsageListing { limit: 99, ..UsageListing::default() }).await.unwrap()
}

fn key(tenant: &Tenant, day: Date, model: &str) -> UsageKey {
    UsageKey { tenant: tenant.clone(), day, model: model.into() }
}

pub(in crate::store) async fn usage_outlasts_its_batches(db: &impl Backend) {
    let store = db.open().await;
    let id = of(&store, &Tenant::default(), &["m"]).await;
    let mut sent = measured(&[(0, &[0, 1, 2, 3])]);
    sent.pieces[0].records[3].succeeded = false;
    sent.pieces[0].records[3].usage.prompt_basis = v1::Basis::Estimated.into();
    store.commit(id, &sent, 60).await.unwrap();
    let batch = batch(&store, id).await;
    let requests = v1::RequestCounts { total: 4, succeeded: 3, failed: 1 };
    assert_eq!((batch.requests, batch.usage.prompt_tokens), (requests, 40));
    let tally = Tally { succeeded: 3, failed: 1, usage: batch.usage };
    let row = DailyUsage { key: key(&Tenant::default(), date(1970, 1, 1), "m"), tally };
    assert_eq!(all(&store).await, std::slice::from_ref(&row));
    assert!(store.finish(id, &Outputs::default(), 70).await.unwrap());
    assert!(store.delete_batch(id).await.unwrap());
    drop(store);
    assert_eq!(all(&db.open().await).await, [row]);
}

pub(in crate::store) async fn usage_is_of_tenant_day_and_model(db: &impl Backend) {
    let store = db.open().await;
    let (mine, theirs) = (Tenant::default(), "other".parse().unwrap());
    let batches = [of(&store, &mine, &["b", "a"]).await, of(&store, &theirs, &["a"]).await];
    let days = [date(1970, 1, 1), date(1970, 1, 2)];
    store.commit(batches[0], &measured(&[(0, &[0]), (1, &[0, 1])]), DAY - 1).await.unwrap();
    store.commit(batches[0], &measured(&[(1, &[2])]), DAY).await.unwrap();
    let mut estimated = measured(&[(0, &[0])]);
    estimated.pieces[0].records[0].usage = used(v1::Basis::Estimated);
    store.commit(batches[1], &estimated, DAY).await.unwrap();
    store.commit(batches[1], &segment(&[(0, &[1])]), DAY).await.unwrap();
    let rows: Vec<_> = all(&store).await.into_iter().map(|row| (row.key, row.tally)).collect();
    let keys: Vec<_> = rows.iter().map(|(key, tally)| (key.clone(), tally.succeeded)).collect();
    let expected = [
        (key(&mine, days[0], "a"), 2),
        (key(&mine, days[0], "b"), 1),
        (key(&mine, days[1], "a"), 1),
        (key(&theirs, days[1], "a"), 2),
    ];
    assert_eq!(keys, expected);
    assert_eq!(rows[3].1.usage, used(v1::Basis::Estimated), "what is not known adds nothing");
    store.commit(batches[1], &measured(&[(0, &[2])]), DAY).await.unwrap();
    let usage = all(&store).await[3].tally.usage;
    assert_eq!((usage.prompt_tokens, usage.prompt_basis()), (20, v1::Basis::Mixed));
    assert_eq!((usage.evaluated_tokens, usage.cached_tokens, usage.completion_tokens), (8, 12, 6));
    assert_eq!(usage.cache_basis(), v1::Basis::Measured);
}

pub(in crate::store) async fn twins_are_used_once(db: &impl Backend) {
    let store = db.open().await;
    let id = of(&store, &Tenant::default(), &["m"]).await;
    let first = measured(&[(0, &[0, 0, 1]), (0, &[1])]);
    store.commit(id, &first, 60).await.unwrap();
    // The answer was lost: the same again, then an executor's late twin, a day later.
    store.commit(id, &first, 61).await.unwrap();
    store.commit(id, &measured(&[(0, &[1, 2])]), 61 + DAY).await.unwrap();
    store.commit(id, &measured(&[(0, &[0])]), 62 + 2 * DAY).await.unwrap();
    let counted: Vec<_> = all(&store)
        .await
        .iter()
        .map(|row| (row.key.day, row.tally.succeeded, row.tally.usage.prompt_tokens))
        .collect();
    assert_eq!(counted, [(date(1970, 1, 1), 2, 20), (date(1970, 1, 2), 1, 10)]);
}

pub(in crate::store) async fn usage_is_listed_page_by_page(db: &impl Backend) {
    let store = db.open().await;
    let (mine, theirs) = (Tenant::default(), "other".parse().unwrap());
    for tenant in [&theirs, &mine] {
        let id = of(&store, tenant, &["b", "A:1", "a-1"]).await;
        for (day, index) in [2, 0, 1].into_iter().zip(0..) {
            let sent = measured(&[(0, &[index]), (1, &[index]), (2, &[index])]);
            store.commit(id, &sent, day * DAY).await.unwrap();
        }
    }
    let rows = all(&store).await;
    assert_eq!(rows.len(), 18);
    let keys = |rows: &[DailyUsage]| rows.iter().map(|row| row.key.clone()).collect::<Vec<_>>();
    assert_eq!(rows[0].key, key(&mine, date(1970, 1, 1), "A:1"));
    let listed = async |wanted: UsageListing| keys(&store.usage(&wanted).await.unwrap());
    let page = UsageListing { limit: 5, ..UsageListing::default() };
    assert_eq!(listed(page.clone()).await, keys(&rows[..5]));
    let next = UsageListing { after: Some(rows[4].key.clone()), ..page.clone() };
    assert_eq!(listed(next.clone()).await, keys(&rows[5..10]));
    let one = UsageListing { tenant: Some(theirs.clone()), limit: 99, ..next };
    assert_eq!(listed(one.clone()).await, keys(&rows[9..]), "behind another tenant's, and its own alone");
    let (first, last) = (Some(date(1970, 1, 2)), Some(date(1970, 1, 2)));
    assert_eq!(listed(UsageListing { first, last, ..one.clone() }).await, keys(&rows[12..15]));
    assert_eq!(listed(UsageListing { last, ..one.clone() }).await, keys(&rows[9..15]));
    assert_eq!(listed(UsageListing { first, ..one }).await, keys(&rows[12..]));
    let nobody = UsageListing { tenant: Some("nobody".parse().unwrap()), ..page };
    assert_eq!(listed(nobody).await, []);
}

pub(in crate::store) async fn no_number_of_an_executor_stops_a_commit(db: &impl Backend) {
    let store = db.open().await;
    let id = of(&store, &Tenant::default(), &["m"]).await;
    for (index, tokens) in (0..).zip([i64::MAX, i64::MAX, i64::MIN, 1]) {
        let mut sent = segment(&[(0, &[index])]);
        sent.pieces[0].records[0].usage.prompt_tokens = tokens;
        assert_eq!(store.commit(id, &sent, 60).await.unwrap().accepted, 1, "{tokens}");
    }
    let tally = all(&store).await[0].tally;
    assert!(tally.succeeded == 4 && tally.usage.prompt_tokens > 1 << 60, "{tally:?}");
}

/// Of two batches, which name the models that they share in different orders.
pub(in crate::store) async fn racing_commits_lose_nothing(db: &impl Backend) {
    const ROUNDS: i64 = 10;
    let store = Arc::new(db.open().await);
    let mut writers = JoinSet::new();
    for models in [["a", "b"], ["b", "a"], ["a", "b"], ["b", "a"]] {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            for _ in 0..ROUNDS {
                let id = of(&*store, &Tenant::default(), &models).await;
                for index in 0..4 {
                    let sent = measured(&[(0, &[index]), (1, &[index])]);
                    assert_eq!(store.commit(id, &sent, 60).await.unwrap().accepted, 2);
                }
            }
        });
    }
    writers.join_all().await;
    let counted: Vec<_> =
        all(&*store).await.iter().map(|row| (row.tally.succeeded, row.tally.usage.prompt_tokens)).collect();
    assert_eq!(counted, [(16 * ROUNDS, 160 * ROUNDS); 2]);
}
