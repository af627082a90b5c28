//! Bodies that come a byte now and then.

use std::time::Duration;

use caravan_gateway::Options;
use caravan_proto::{
    error::reason,
    v1::{UploadChunk, UploadFileRequest, file_service_client::FileServiceClient, upload_file_request::Part},
};
use caravan_service::serve;
use futures::{Stream, stream};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{interval, timeout},
};

use crate::edge::{Edge, PATIENCE, address};

/// The time between two drops.
const DROP: Duration = Duration::from_millis(100);
/// What the client is told.
const TOLD: &str = "less than 500 bytes a second were sent in the middle of a call";

/// A gateway with its own rate, and less patience.
async fn edge() -> Edge {
    let server = serve::Options { silence_seconds: 1, ..Options::default().server };
    Edge::start(Options { server, ..Options::default() }).await
}

/// This again and again, and never in haste.
fn drops<T: Clone>(of: T) -> impl Stream<Item = T> {
    stream::unfold((interval(DROP), of), |(mut ticks, of)| async {
        ticks.tick().await;
        Some((of.clone(), (ticks, of)))
    })
}

#[tokio::test]
async fn an_upload_that_drips_is_ended_with_a_reason() {
    let edge = edge().await;
    let chunk = UploadChunk { offset: 0, data: vec![7].into() };
    let parts = drops(UploadFileRequest { part: Some(Part::Chunk(chunk)) });
    let mut files = FileServiceClient::new(edge.channel(address(1)));
    let status = timeout(PATIENCE, files.upload_file(parts)).await.expect("in time").expect_err("too slow");
    assert_eq!(reason(&status).as_deref(), Some("STREAM_SILENT"), "{status:?}");
    assert!(status.message().contains(TOLD), "{status:?}");
}

#[tokio::test]
async fn a_body_over_http_that_drips_is_ended_with_a_reason() {
    let edge = edge().await;
    let part = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n";
    for (path, kind, begin) in
        [("/v1/files", "multipart/form-data; boundary=b", part), ("/v1/batches", "application/json", "")]
    {
        let (mut said, mut told) = TcpStream::connect(edge.http).await.expect("a connection").into_split();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: 1000000\r\n\r\n{begin}"
        );
        told.write_all(head.as_bytes()).await.expect("it is open");
        let mut ticks = interval(DROP);
        let drip = async {
            // As long as it is let.
            while told.write_all(b" ").await.is_ok() {
                ticks.tick().await;
            }
        };
        let mut answer = String::new();
        let heard = async { said.read_to_string(&mut answer).await };
        let (heard, ()) = timeout(PATIENCE, async { tokio::join!(heard, drip) }).await.expect("in time");
        heard.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains(TOLD), "{path}: {answer}");
    }
}
