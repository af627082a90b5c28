//! What tenants used, as they and those who run the installation see it.

use caravan_proto::{
    json::to_value,
    v1::{Batch, DailyUsage, DeleteBatchRequest, ListUsageRequest, Usage},
};
use caravan_simulated_engine::{Options, SimulatedEngine};
use caravan_tests::{Api, Guarded, Input, MODEL, reason};

async fn listed(api: &Api, request: ListUsageRequest) -> anyhow::Result<Vec<DailyUsage>> {
    let mut request = ListUsageRequest { page_size: 1, ..request };
    let mut usages = Vec::new();
    loop {
        let page = api.access().list_usage(request.clone()).await?.into_inner();
        usages.extend(page.usages);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return Ok(usages);
        }
    }
}

/// Checks that what a tenant is told adds up to its batches; over two days if midnight came between.
fn assert_sums(usages: &[DailyUsage], tenant: &str, batches: &[&Batch]) {
    assert!(matches!(usages.len(), 1 | 2), "{usages:?}");
    assert!(usages.iter().all(|row| row.tenant == tenant && row.model == MODEL), "{usages:?}");
    let counted = usages.iter().filter_map(|row| row.requests);
    let requests = counted.map(|requests| [requests.total, requests.succeeded, requests.failed]);
    let of_batches = batches.iter().filter_map(|batch| batch.requests);
    let of_batches = of_batches.map(|requests| [requests.total, requests.succeeded, requests.failed]);
    assert_eq!(sum(requests), sum(of_batches), "{usages:?}");
    let tokens = |usage: Usage| {
        [usage.prompt_tokens, usage.evaluated_tokens, usage.cached_tokens, usage.completion_tokens]
    };
    let used = sum(usages.iter().filter_map(|row| row.usage).map(tokens));
    assert_eq!(used, sum(batches.iter().filter_map(|batch| batch.usage).map(tokens)), "{usages:?}");
    assert!(used[0] > 0 && used[3] > 0, "{usages:?}");
}

fn sum<const N: usize>(rows: impl Iterator<Item = [i64; N]>) -> [i64; N] {
    rows.fold([0; N], |sum, row| std::array::from_fn(|index| sum[index] + row[index]))
}

#[tokio::test]
async fn each_tenant_sees_what_it_used_and_an_admin_sees_all() -> anyhow::Result<()> {
    let guarded = Guarded::start("").await?;
    let engine = SimulatedEngine::start(Options { slots: 4, ..Options::default() })?;
    let _executor = guarded.fleet.executor("gpu", &engine.url(), 4).await?;
    let admin = guarded.fleet.api()?.showing(&guarded.keys.admin)?;
    admin.serves(MODEL).await?;
    let mut all = Vec::new();
    for (tenant, sizes) in [("one", &[20, 7][..]), ("other", &[11])] {
        let (api, key) = guarded.client(tenant, &["submit", "read"]).await?;
        assert_eq!(listed(&api, ListUsageRequest::default()).await?, [], "nothing of its own yet");
        let mut batches = Vec::new();
        for &size in sizes {
            let batch = api.create(&Input::chats(size, tenant), Batch::default()).await?;
            batches.push(api.ended(&batch.name).await?);
        }
        let usages = listed(&api, ListUsageRequest::default()).await?;
        assert_sums(&usages, tenant, &batches.iter().collect::<Vec<_>>());
        for batch in &batches {
            api.batches().delete_batch(DeleteBatchRequest { name: batch.name.clone() }).await?;
        }
        assert_eq!(listed(&api, ListUsageRequest::default()).await?, usages, "it outlasts the batches");
        let caravan = guarded.fleet.caravan().showing(&key);
        let lines = caravan.run(&["usage", "--json"]).await?.json()?;
        assert_eq!(lines, usages.iter().map(to_value).collect::<Vec<serde_json::Value>>());
        all.extend(usages);
    }
    assert_eq!(listed(&admin, ListUsageRequest::default()).await?, all);
    let of_one = ListUsageRequest { tenant: "one".into(), ..ListUsageRequest::default() };
    let ones: Vec<_> = all.iter().filter(|row| row.tenant == "one").cloned().collect();
    assert_eq!(listed(&admin, of_one).await?, ones);

    let day = &all[0].day;
    let before = ListUsageRequest { last_day: "2020-01-01".into(), ..ListUsageRequest::default() };
    assert_eq!(listed(&admin, before).await?, []);
    let wrong = ListUsageRequest { first_day: "yesterday".into(), ..ListUsageRequest::default() };
    let refused = admin.access().list_usage(wrong).await.expect_err("no day");
    assert_eq!(reason(&refused), "INVALID_ARGUMENT");
    let caravan = guarded.fleet.caravan().showing(&guarded.keys.admin);
    let csv = caravan.run(&["usage", "--from", day, "--to", day, "--tenant", "one", "--csv"]).await?;
    assert!(csv.stdout.starts_with("tenant,day,model,succeeded,failed,prompt_tokens,"), "{}", csv.stdout);
    assert!(csv.stdout.contains(&format!("\none,{day},{MODEL},")), "{}", csv.stdout);
    assert!(!csv.stdout.contains("other"), "{}", csv.stdout);
    assert_eq!(caravan.run(&["usage", "--csv", "--json"]).await?.code, 2);
    for (wrong, named) in [
        (&["--from", "yesterday"][..], "--from"),
        (&["--to", "2026-02-30"], "--to"),
        (&["--from", "2026-02-02", "--to", "2026-02-01"], "--to must not be before --from"),
    ] {
        let refused = caravan.run(&[&["usage"], wrong].concat()).await?;
        assert!(refused.code == 2 && refused.stderr.contains(named), "{}", refused.stderr);
    }

    // Who only submits sees nothing, and who reads not what is another's.
    let (submits, key) = guarded.client("one", &["submit"]).await?;
    let refused = submits.access().list_usage(ListUsageRequest::default()).await.expect_err("no role");
    assert_eq!(reason(&refused), "PERMISSION_DENIED");
    let denied = guarded.fleet.caravan().showing(&key).run(&["usage"]).await?;
    assert_eq!((denied.code, denied.stdout.as_str()), (7, ""));
    Ok(())
}
