//! What is one tenant's is nobody else's.

use std::num::NonZeroU64;

use super::*;

fn other() -> Tenant {
    "other".parse().unwrap()
}

fn listing(after: Option<FileId>) -> FileListing {
    FileListing { after, limit: 9, ..FileListing::default() }
}

pub(in crate::store) async fn a_file_is_its_tenants_alone(db: &impl Backend) {
    let store = db.open().await;
    let (mine, theirs) = (Tenant::default(), other());
    let new = |tenant: &Tenant| NewFile { tenant: tenant.clone(), ..new_file(FileId::now(), Some("up")) };
    let first = store.open_file(&new(&mine)).await.unwrap();
    let second = store.open_file(&new(&theirs)).await.unwrap();
    assert_ne!(first.id, second.id, "an upload_id is the tenant's own");
    assert_eq!((second.tenant.clone(), second.upload_id.as_deref()), (theirs.clone(), Some("up")));
    assert_eq!(store.open_file(&new(&theirs)).await.unwrap(), second);
    for (tenant, own, foreign) in [(&mine, &first, &second), (&theirs, &second, &first)] {
        assert_eq!(store.file_of(tenant, own.id).await.unwrap().as_ref(), Some(own));
        assert_eq!(store.file_of(tenant, foreign.id).await.unwrap(), None);
        assert_eq!(store.file_of_upload(tenant, "up").await.unwrap().as_ref(), Some(own));
        assert_eq!(store.files(tenant, listing(None)).await.unwrap(), std::slice::from_ref(own));
        // A page token of another tenant is a point in time and no more.
        let older = store.files(tenant, listing(Some(foreign.id))).await.unwrap();
        assert!(older.iter().all(|file| file.tenant == *tenant), "{older:?}");
    }
}

pub(in crate::store) async fn a_batch_is_its_tenants_alone(db: &impl Backend) {
    let store = db.open().await;
    let (mine, theirs) = (Tenant::default(), other());
    let input = input(&store).await;
    let new = |tenant: &Tenant, input| NewBatch {
        tenant: tenant.clone(),
        request_id: Some("r".into()),
        ..new_batch(input)
    };
    let Creation::Created(first) = store.create_batch(&new(&mine, input)).await.unwrap() else {
        panic!("not created")
    };
    assert_eq!(store.create_batch(&new(&theirs, input)).await.unwrap(), Creation::NoInput, "another's file");
    assert_eq!(store.batch_of_request(&theirs, "r").await.unwrap(), None);
    let own = NewFile { tenant: theirs.clone(), ..new_file(FileId::now(), None) };
    store.open_file(&own).await.unwrap();
    assert!(store.close_file(own.id, "5ha").await.unwrap());
    let Creation::Created(second) = store.create_batch(&new(&theirs, own.id)).await.unwrap() else {
        panic!("a request_id is the tenant's own")
    };
    assert_eq!(second.tenant, theirs);
    for (tenant, own, foreign) in [(&mine, &first, &second), (&theirs, &second, &first)] {
        assert_eq!(store.batch_of(tenant, own.id).await.unwrap().as_ref(), Some(&**own));
        assert_eq!(store.batch_of(tenant, foreign.id).await.unwrap(), None);
        assert_eq!(store.batch_of_request(tenant, "r").await.unwrap().as_ref(), Some(&**own));
        assert_eq!(store.batches(tenant, &[], None, 9).await.unwrap(), [(**own).clone()]);
        let older = store.batches(tenant, &[], Some(foreign.id), 9).await.unwrap();
        assert!(older.iter().all(|batch| batch.tenant == *tenant), "{older:?}");
    }
}

pub(in crate::store) async fn a_tenant_has_as_much_under_way_as_it_may(db: &impl Backend) {
    let store = db.open().await;
    let input = input(&store).await;
    let limit = NonZeroU64::new(2).unwrap();
    let of = |quota| NewBatch { quota, ..new_batch(input) };
    let open = |request_id: Option<&str>| NewBatch {
        request_id: request_id.map(Into::into),
        ..of(Quota { open_batches: Some(limit), ..Quota::default() })
    };
    let first = open(Some("r"));
    assert!(matches!(store.create_batch(&first).await.unwrap(), Creation::Created(_)));
    // Two planners at once; one place is left.
    let (one, other) = (open(None), open(None));
    let (one, other) = tokio::join!(store.create_batch(&one), store.create_batch(&other));
    let beyond = Creation::Exceeds(Exceeded::OpenBatches { limit });
    let both = [one.unwrap(), other.unwrap()];
    assert_eq!(both.iter().filter(|creation| **creation == beyond).count(), 1, "{both:?}");
    assert!(
        matches!(store.create_batch(&first).await.unwrap(), Creation::Existing(_)),
        "it is there already"
    );
    let theirs = NewBatch { tenant: self::other(), ..open(None) };
    assert_eq!(store.create_batch(&theirs).await.unwrap(), Creation::NoInput, "another tenant has its own");
    let retry = || NewBatch {
        retry: Some(Retry { of: first.id, kinds: 2 }),
        tenant: self::other(),
        input: FileId::now(),
        ..NewBatch {
            quota: Quota { open_batches: NonZeroU64::new(1), ..Quota::default() },
            ..open(Some("again"))
        }
    };
    let (one, other) = (retry(), retry());
    let (one, other) = tokio::join!(store.create_batch(&one), store.create_batch(&other));
    let both = [one.unwrap(), other.unwrap()];
    assert!(both.iter().any(|creation| matches!(creation, Creation::Created(_))), "{both:?}");
    assert!(
        both.iter().any(|creation| matches!(creation, Creation::Existing(_))),
        "the same request: {both:?}"
    );
    store.cancel(first.id, 9).await.unwrap();
    assert!(matches!(store.create_batch(&open(None)).await.unwrap(), Creation::Created(_)));
}

pub(in crate::store) async fn tokens_are_queued_until_their_requests_are_final(db: &impl Backend) {
    let store = db.open().await;
    let id = planning(&store).await;
    store.add_chunks(id, plan(), &[new_chunk(0, 4)]).await.unwrap();
    let plan = v1::Plan { prompt_tokens_without: 3_997, ..v1::Plan::default() };
    // Of ten lines six were rejected: they are no requests.
    let rejected = Some(RejectedSegment { id: SegmentId::now(), bytes: 77, records: 6 });
    assert!(store.activate(id, &Planned { plan, rejected, ..planned(1, 10) }, 7).await.unwrap());
    let limit = NonZeroU64::new(3_000).unwrap();
    let quota = Quota { queued_tokens: Some(limit), ..Quota::default() };
    let input = input(&store).await;
    let next = || NewBatch { quota, ..new_batch(input) };
    let beyond = |queued| Creation::Exceeds(Exceeded::QueuedTokens { limit, queued });
    assert_eq!(store.create_batch(&next()).await.unwrap(), beyond(4_000));
    claimed_by_any(&store).await.unwrap();
    store.commit(id, &segment(&[(0, &[0])]), 8).await.unwrap();
    assert_eq!(store.create_batch(&next()).await.unwrap(), beyond(3_000));
    store.commit(id, &segment(&[(0, &[1])]), 9).await.unwrap();
    assert!(matches!(store.create_batch(&next()).await.unwrap(), Creation::Created(_)));
    // Clients may state what prompts have: any number is borne.
    for _ in 0..2 {
        let id = planning(&store).await;
        store.add_chunks(id, self::plan(), &[new_chunk(0, 4)]).await.unwrap();
        let plan = v1::Plan { prompt_tokens_without: i64::MAX, ..v1::Plan::default() };
        assert!(store.activate(id, &Planned { plan, ..planned(1, 4) }, 7).await.unwrap());
    }
    assert!(matches!(store.create_batch(&next()).await.unwrap(), Creation::Exceeds(_)));
}

pub(in crate::store) async fn the_input_of_a_retry_is_its_tenants(db: &impl Backend) {
    let store = db.open().await;
    let new = NewBatch {
        tenant: other(),
        retry: Some(Retry { of: BatchId::now(), kinds: 2 }),
        ..new_batch(FileId::now())
    };
    assert!(matches!(store.create_batch(&new).await.unwrap(), Creation::Created(_)));
    assert_eq!(store.file(new.input).await.unwrap().unwrap().tenant, other());
}
