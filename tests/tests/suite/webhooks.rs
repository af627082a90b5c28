//! The end of a batch, told by real planners.

use std::time::Duration;

use caravan_proto::v1::Batch;
use caravan_tests::{Fleet, Input, reason};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::timeout,
};

const CONFIG: &str = "[webhooks]\nallow = ['127.0.0.1/32']\nallow_http = true\n\
    secrets = {default = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'}\n";
const PATIENCE: Duration = Duration::from_secs(30);

/// The head and body of the next request, which gets this answer.
async fn answer(listener: &TcpListener, status: &str) -> anyhow::Result<String> {
    let (mut stream, _) = timeout(PATIENCE, listener.accept()).await??;
    let mut bytes = Vec::new();
    // The body is JSON, and nothing follows it.
    while !bytes.ends_with(b"}}") {
        anyhow::ensure!(stream.read_buf(&mut bytes).await? > 0, "cut off");
    }
    stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await?;
    Ok(String::from_utf8(bytes)?)
}

#[tokio::test]
async fn an_end_is_told_by_the_planner_that_comes_after_the_one_that_was_killed() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut fleet = Fleet::start(CONFIG).await?;
    let api = fleet.api()?;
    let webhook = format!("http://{}/hook", listener.local_addr()?);
    let batch = api.create(&Input::chats(3, "s"), Batch { webhook, ..Batch::default() }).await?;
    assert!(fleet.caravan().run(&["cancel", &batch.name]).await?.code == 0);
    let refused = answer(&listener, "503 Not now").await?;
    fleet.kill_planner().await?;
    fleet.start_planner().await?;
    let taken = answer(&listener, "200 OK").await?;
    let id = batch.name.strip_prefix("batches/").unwrap_or_default();
    for told in [refused, taken] {
        assert!(told.contains(&format!("webhook-id: {id}\r\n")), "{told}");
        assert!(
            told.contains(r#""type":"batch.cancelled""#) && told.contains("webhook-signature: v1,"),
            "{told}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_webhook_that_leads_inside_is_refused() -> anyhow::Result<()> {
    let fleet = Fleet::start(CONFIG).await?;
    let api = fleet.api()?;
    for webhook in ["http://10.0.0.1/", "http://[::ffff:192.168.0.1]/", "http://169.254.169.254/", "nonsense"]
    {
        let batch = Batch { webhook: webhook.into(), ..Batch::default() };
        let refused = api.create(&Input::chats(1, "s"), batch).await;
        assert_eq!(reason(&refused.expect_err(webhook)), "INVALID_ARGUMENT", "{webhook}");
    }
    Ok(())
}
