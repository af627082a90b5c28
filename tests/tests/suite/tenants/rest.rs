//! The same at the HTTP port.

use caravan_proto::v1::Batch;
use caravan_tests::{Guarded, Input};
use reqwest::StatusCode;

#[tokio::test]
async fn the_http_port_asks_who_calls_too() -> anyhow::Result<()> {
    let guarded = Guarded::start("").await?;
    let (one, key) = guarded.client("one", &["submit", "read"]).await?;
    let (_, others) = guarded.client("other", &["submit", "read"]).await?;
    let batch = one.create(&Input::chats(1, "s"), Batch::default()).await?.name.replace("batches/", "");
    let get = async |path: &str, key: Option<&str>| {
        let request = reqwest::Client::new().get(format!("{}{path}", guarded.fleet.http));
        let answer = match key {
            Some(key) => request.bearer_auth(key),
            None => request,
        };
        let answer = answer.send().await?;
        let challenge = answer.headers().get("www-authenticate").cloned();
        anyhow::Ok((answer.status(), challenge, answer.text().await?))
    };
    let path = format!("/v1/batches/{batch}");
    assert_eq!(get(&path, Some(&key)).await?.0, StatusCode::OK);
    let (status, _, theirs) = get(&path, Some(&others)).await?;
    let made_up = "batch_00000000000070008000000000000000";
    let nobodys = get(&format!("/v1/batches/{made_up}"), Some(&others)).await?.2;
    assert_eq!((status, theirs.replace(&batch, made_up)), (StatusCode::NOT_FOUND, nobodys));
    for bad in [None, Some("cvn_00000000_0"), Some("a.b.c")] {
        let (status, challenge, body) = get(&path, bad).await?;
        assert_eq!((status, challenge.is_some()), (StatusCode::UNAUTHORIZED, true), "{body}");
        let error: serde_json::Value = serde_json::from_str(&body)?;
        assert_eq!(error["error"]["code"], "unauthenticated", "{body}");
    }
    for (path, key) in [("/healthz", None), ("/readyz", None), ("/readyz", Some("cvn_bad"))] {
        assert_eq!(get(path, key).await?.0, StatusCode::OK, "{path}");
    }
    let denied = get(&path, Some(&guarded.keys.executor)).await?;
    assert_eq!(denied.0, StatusCode::FORBIDDEN, "{}", denied.2);
    Ok(())
}
