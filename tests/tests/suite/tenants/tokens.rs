//! Tokens of an issuer, at the gateway.

use caravan_proto::v1::{Batch, ListBatchesRequest, ListFilesRequest};
use caravan_tests::{Guarded, Input, Issuer, reason};
use serde_json::{Value, json};

fn with(name: &str, value: Value) -> Value {
    let mut claims = Issuer::claims("acme", &["read"]);
    claims[name] = value;
    claims
}

#[tokio::test]
async fn a_token_stands_for_its_tenant_and_a_bad_one_for_nobody() -> anyhow::Result<()> {
    let issuer = Issuer::start().await?;
    let guarded = Guarded::start(&issuer.config()).await?;
    let (keyed, _) = guarded.client("acme", &["submit"]).await?;
    let batch = keyed.create(&Input::chats(1, "s"), Batch::default()).await?;

    let api = guarded.fleet.api()?;
    let reader = api.showing(&issuer.sign(&Issuer::claims("acme", &["read", "executor"]))?)?;
    let listed = reader.batches().list_batches(ListBatchesRequest::default()).await?.into_inner().batches;
    assert_eq!(listed[0].name, batch.name, "key and token are of one tenant");
    let denied = reader.create(&Input::chats(1, "s"), Batch::default()).await.unwrap_err();
    assert_eq!(reason(&denied), "PERMISSION_DENIED");
    let other = api.showing(&issuer.sign(&Issuer::claims("other", &["read"]))?)?;
    assert_eq!(reason(&other.get(&batch.name).await.unwrap_err()), "BATCH_NOT_FOUND");

    for (token, why) in [
        (Issuer::forge(&Issuer::claims("acme", &["read"]))?, "BAD_TOKEN"),
        (issuer.sign(&with("exp", json!(1_000_000)))?, "EXPIRED_TOKEN"),
        (issuer.sign(&with("aud", json!("somebody-else")))?, "WRONG_AUDIENCE"),
        (issuer.sign(&with("iss", json!("https://elsewhere.example")))?, "WRONG_ISSUER"),
        (issuer.sign(&with("tenant", Value::Null))?, "NO_TENANT"),
        (format!("{}x", issuer.sign(&Issuer::claims("acme", &["read"]))?), "BAD_TOKEN"),
    ] {
        let refused = api.showing(&token)?.files().list_files(ListFilesRequest::default()).await.unwrap_err();
        let info = tonic_types::StatusExt::get_details_error_info(&refused).expect("a reason");
        assert_eq!(
            (info.reason.as_str(), info.metadata["why"].as_str()),
            ("UNAUTHENTICATED", why),
            "{refused:?}"
        );
    }
    Ok(())
}
