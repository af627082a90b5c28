//! What a key began ends when the key is revoked.

use caravan_proto::v1::{
    Batch, CancelBatchRequest, Key, ListExecutorsRequest, ListKeysRequest, RevokeKeyRequest,
    UploadFileRequest, executor::State,
};
use caravan_simulated_engine::{Options, SimulatedEngine};
use caravan_tests::{Guarded, Input, LIMIT, chunk, reason, start, until};
use futures::{StreamExt as _, stream};
use tokio::{task::JoinSet, time::timeout};
use tonic::Status;

async fn revoke(guarded: &Guarded, is: impl Fn(&Key) -> bool) -> anyhow::Result<()> {
    let mut access = guarded.fleet.api()?.showing(&guarded.keys.admin)?.access();
    let keys = access.list_keys(ListKeysRequest::default()).await?.into_inner().keys;
    let [name] = &keys.into_iter().filter(is).map(|key| key.name).collect::<Vec<_>>()[..] else {
        anyhow::bail!("not one key")
    };
    access.revoke_key(RevokeKeyRequest { name: name.clone() }).await?;
    Ok(())
}

#[tokio::test]
async fn streams_of_a_revoked_key_end_and_others_go_on() -> anyhow::Result<()> {
    let guarded = Guarded::start("").await?;
    let (api, key) = guarded.client("one", &["submit", "read"]).await?;
    let (other, _) = guarded.client("one", &["submit", "read"]).await?;
    // Nobody serves it: it is there to be watched.
    let batch = api.create(&Input::chats(1, "s"), Batch::default()).await?;
    let mut watch = api.watch(&batch.name, "").await?;
    let mut kept = other.watch(&batch.name, "").await?;
    assert!(watch.message().await?.is_some() && kept.message().await?.is_some());
    let parts =
        stream::iter([start("half"), chunk(0, b"half")]).map(|part| UploadFileRequest { part: Some(part) });
    let mut files = api.files();
    let mut uploads = JoinSet::new();
    uploads.spawn(async move { files.upload_file(parts.chain(stream::pending())).await });
    let events = format!("{}/v1/batches/{}/events", guarded.fleet.http, batch.name.replace("batches/", ""));
    let mut events = reqwest::Client::new().get(events).bearer_auth(&key).send().await?.error_for_status()?;
    assert!(events.chunk().await?.is_some());

    revoke(&guarded, |found| key.starts_with(&found.prefix)).await?;
    let ended = timeout(LIMIT, async {
        loop {
            if let Err(status) = watch.message().await {
                return status;
            }
        }
    });
    assert_eq!(reason(&ended.await?), "UNAUTHENTICATED");
    let refused = timeout(LIMIT, uploads.join_next()).await?.expect("one")?.expect_err("no finish came");
    assert_eq!(reason(&refused), "UNAUTHENTICATED");
    timeout(LIMIT, async { while let Ok(Some(_)) = events.chunk().await {} }).await?;
    other.batches().cancel_batch(CancelBatchRequest { name: batch.name }).await?;
    timeout(LIMIT, async {
        while !kept.message().await?.ok_or_else(|| Status::cancelled("no end"))?.r#final {}
        Ok(())
    })
    .await?
    .map_err(|status: Status| status.into())
}

#[tokio::test]
async fn clients_do_not_notice_that_their_gateway_got_another_key() -> anyhow::Result<()> {
    let mut guarded = Guarded::start("").await?;
    let (api, _) = guarded.client("one", &["submit", "read"]).await?;
    let batch = api.create(&Input::chats(1, "s"), Batch::default()).await?;
    let mut watch = api.watch(&batch.name, "").await?;
    assert!(watch.message().await?.is_some());
    let (_, another) = guarded.client("default", &["gateway"]).await?;
    guarded.hand(&another, "gateway")?;
    revoke(&guarded, |key| guarded.keys.gateway.starts_with(&key.prefix)).await?;
    let mut watches = JoinSet::new();
    watches.spawn(async move {
        while !watch.message().await?.ok_or_else(|| Status::cancelled("no end"))?.r#final {}
        Ok::<_, Status>(())
    });
    let request = || CancelBatchRequest { name: batch.name.clone() };
    until("the watch was cut", async || {
        let log = guarded.fleet.gateway().log();
        if log.contains("lost its planner") { Ok(()) } else { Err(log) }
    })
    .await?;
    until("the gateway shows the new one", async || match api.batches().cancel_batch(request()).await {
        Err(status) if reason(&status) == "UNAVAILABLE" => Err(status.to_string()),
        other => Ok(other),
    })
    .await??;
    Ok(timeout(LIMIT, watches.join_next()).await?.expect("one")??)
}

#[tokio::test]
async fn an_executor_whose_key_is_revoked_is_gone_until_it_has_another() -> anyhow::Result<()> {
    let guarded = Guarded::start("").await?;
    let engine = SimulatedEngine::start(Options::default())?;
    let _executor = guarded.fleet.executor("gpu", &engine.url(), 1).await?;
    let admin = guarded.fleet.api()?.showing(&guarded.keys.admin)?;
    let online = async |wanted: usize| {
        until("the executor is seen, or not", async || {
            let listed = admin.fleet().list_executors(ListExecutorsRequest::default()).await;
            let executors = listed.map_err(|status| status.to_string())?.into_inner().executors;
            let online = executors.iter().filter(|executor| executor.state() == State::Online).count();
            if online == wanted { Ok(()) } else { Err(format!("{executors:?}")) }
        })
        .await
    };
    online(1).await?;
    revoke(&guarded, |key| guarded.keys.executor.starts_with(&key.prefix)).await?;
    online(0).await?;
    let (_, another) = guarded.client("default", &["executor"]).await?;
    guarded.hand(&another, "executor")?;
    online(1).await
}
