//! What a tenant may take, and what it is told beyond it.

use caravan_proto::{
    error::retry_delay,
    v1::{Batch, CancelBatchRequest, ListBatchesRequest},
};
use caravan_tests::{Fleet, Guarded, Input, reason, until};
use futures::future::{join_all, try_join_all};
use reqwest::StatusCode;
use tonic::Status;

/// What limit a refusal names, if it says when to come again.
fn limit(status: &Status) -> Option<String> {
    use tonic_types::StatusExt as _;

    retry_delay(status)?;
    status.get_details_error_info()?.metadata.remove("limit")
}

/// The code of OpenAI's error object in an answer of HTTP 429 that says when to come again, and the limit.
async fn told(answer: reqwest::Response) -> anyhow::Result<[String; 3]> {
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    let after: u64 = answer.headers()["retry-after"].to_str()?.parse()?;
    assert!(after > 0);
    let error: serde_json::Value = answer.json().await?;
    let facts = &error["error"]["x_caravan"]["metadata"];
    let told = [&error["error"]["code"], &facts["limit"], &facts["value"]];
    Ok(told.map(|text| text.as_str().unwrap_or_default().to_owned()))
}

#[tokio::test]
async fn streams_and_calls_beyond_the_limit_of_a_tenant_are_refused() -> anyhow::Result<()> {
    let limits = "[limits]\nstreams = 1\n[limits.tenants.quick]\nrequests_per_second = 2\n";
    let guarded = Guarded::start(limits).await?;
    let (one, key) = guarded.client("one", &["submit", "read"]).await?;
    let batch = one.create(&Input::chats(1, "s"), Batch::default()).await?.name;
    let mut open = one.watch(&batch, "").await?;
    open.message().await?;
    let refused = one.watch(&batch, "").await.expect_err("one is open");
    assert_eq!((reason(&refused), limit(&refused)), ("RATE_LIMITED".into(), Some("streams".into())));
    one.get(&batch).await?;
    let id = batch.replace("batches/", "");
    let events = format!("{}/v1/batches/{id}/events", guarded.fleet.http);
    let http = reqwest::Client::new();
    let refused = http.get(&events).bearer_auth(&key).send().await?;
    assert_eq!(told(refused).await?, ["rate_limited", "streams", "1"]);
    let (other, _) = guarded.client("other", &["submit", "read"]).await?;
    let theirs = other.create(&Input::chats(1, "s"), Batch::default()).await?.name;
    other.watch(&theirs, "").await?;
    drop(open);
    let again = async || one.watch(&batch, "").await.map_err(|status| status.to_string());
    until("the place of the stream is free again", again).await?;

    let (quick, key) = guarded.client("quick", &["read"]).await?;
    let list = async || quick.batches().list_batches(ListBatchesRequest::default()).await;
    let answers = join_all((0..20).map(|_| list())).await;
    let refused =
        answers.into_iter().find_map(Result::err).expect("twenty at once are more than two a second");
    assert_eq!(
        (reason(&refused), limit(&refused)),
        ("RATE_LIMITED".into(), Some("requests_per_second".into()))
    );
    let list = format!("{}/v1/batches", guarded.fleet.http);
    let answers = try_join_all((0..20).map(|_| http.get(&list).bearer_auth(&key).send())).await?;
    let refused = answers.into_iter().find(|answer| answer.status() != StatusCode::OK).expect("as many");
    assert_eq!(told(refused).await?, ["rate_limited", "requests_per_second", "2"]);
    Ok(())
}

#[tokio::test]
async fn a_batch_beyond_the_quota_waits_for_another_to_end() -> anyhow::Result<()> {
    let fleet = Fleet::start("[quotas]\nopen_batches = 1\n").await?;
    let api = fleet.api()?;
    let input = Input::chats(1, "s");
    let first = api.create(&input, Batch::default()).await?.name;
    let refused = api.create(&input, Batch::default()).await.expect_err("one is open");
    assert_eq!((reason(&refused), limit(&refused)), ("QUOTA_EXCEEDED".into(), Some("open_batches".into())));
    let file = api.get(&first).await?.input_file.replace("files/", "");
    let wanted = serde_json::json!({
        "input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h",
    });
    let batches = format!("{}/v1/batches", fleet.http);
    let answer = reqwest::Client::new().post(&batches).json(&wanted).send().await?;
    assert_eq!(told(answer).await?, ["quota_exceeded", "open_batches", "1"]);
    api.batches().cancel_batch(CancelBatchRequest { name: first.clone() }).await?;
    api.ended(&first).await?;
    api.create(&input, Batch::default()).await?;
    Ok(())
}
