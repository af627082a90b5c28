//! What a hostile client gets of the real server stack.

use std::{io::Write as _, net::SocketAddr, time::Duration};

use bytes::Bytes;
use caravan_proto::{
    error::{reason, retry_delay},
    v1::{
        ListExecutorsRequest, ListModelsRequest, fleet_service_client::FleetServiceClient,
        fleet_service_server::FleetServiceServer,
    },
};
use caravan_test_certificates::Authority;
use futures::stream;
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, timeout},
};
use tonic::{
    Code, Status, body::Body, codec::CompressionEncoding, metadata::MetadataValue, transport::Channel,
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::{Service as _, ServiceExt as _};

use super::*;
use crate::{
    client,
    listen::{self, Bound},
    serve::{self, Services, tests::Stubborn},
    shutdown::Shutdown,
    tls::{self, Protocol},
};

const PATIENCE: Duration = Duration::from_secs(20);
/// The preface of HTTP/2 and empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Times that a test can wait for.
fn quick() -> Options {
    Options { handshake_seconds: 1, header_seconds: 1, silence_seconds: 1, ..Options::default() }
}

async fn bound() -> (Bound, SocketAddr) {
    let bound = listen::bind("127.0.0.1:0").await.unwrap();
    let address = bound.local_addr();
    (bound, address)
}

/// A gRPC server.
async fn grpc(options: Options, tasks: &mut JoinSet<()>) -> SocketAddr {
    let (bound, address) = bound().await;
    let fleet = FleetServiceServer::new(Stubborn::default()).accept_compressed(CompressionEncoding::Zstd);
    tasks.spawn(async move {
        let services = Services::new().add(fleet);
        serve::serve(bound, services, &options, Shutdown::new(Duration::ZERO)).await.unwrap();
    });
    address
}

/// An HTTP server that answers who asks, and with how much.
async fn http(options: Options, tls: Option<tls::Server>, tasks: &mut JoinSet<()>) -> SocketAddr {
    let (bound, address) = bound().await;
    let service = tower::service_fn(async |request: Request<Inbound>| {
        let peer = request.extensions().get::<crate::Peer>().unwrap().clone();
        let shown = if peer.certificate.is_some() { " with a certificate" } else { "" };
        let body = request.into_body().collect().await;
        let told = match body {
            Ok(body) => format!("{}{shown} sent {}", peer.address, body.to_bytes().len()),
            Err(error) => error.downcast::<Silent>().unwrap().to_string(),
        };
        Ok(http::Response::new(Full::from(told)))
    });
    let overloaded = || http::Response::builder().status(503).body(Full::default()).unwrap();
    let port = Port { bound: bound.with_tls(tls), protocol: Protocol::Http, service, overloaded };
    tasks.spawn(async move { serve(port, &options, std::future::pending()).await });
    address
}

/// TLS that lets clients show a certificate; `ca.pem`, `server.pem` and `server.key` are in the directory.
fn secured() -> (tempfile::TempDir, Option<tls::Server>) {
    let authority = Authority::new("hostile").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let client_ca = Some(authority.write(directory.path()).unwrap());
    let files = authority.identity("server").unwrap().write(directory.path(), "server").unwrap();
    let options = tls::Options {
        certificate: Some(files.certificate),
        key: Some(files.key),
        client_ca,
        client_auth: tls::ClientAuth::Optional,
        ..tls::Options::default()
    };
    (directory, tls::Server::new(&options).unwrap())
}

fn channel(address: SocketAddr) -> Channel {
    let url = format!("http://{address}").parse().unwrap();
    client::channel(&[url], &client::Options::default()).unwrap()
}

/// Sends bytes and reads until the server closes the connection.
async fn answer(address: SocketAddr, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // Reset is as good as closed.
    let _closed = timeout(PATIENCE, socket.read_to_end(&mut answer)).await.expect("it is closed in time");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn an_http_port_has_tls_too_and_says_who_is_there() {
    let mut tasks = JoinSet::new();
    let (directory, tls) = secured();
    let address = http(quick(), tls, &mut tasks).await;
    let ca = Some(directory.path().join("ca.pem"));
    let [certificate, key] = ["server.pem", "server.key"].map(|name| Some(directory.path().join(name)));
    let options = tls::ClientOptions { ca, certificate, key, ..tls::ClientOptions::default() };
    let connector = tls::Client::new(&options).unwrap().connector();
    let socket = TcpStream::connect(address).await.unwrap();
    let here = socket.local_addr().unwrap();
    let mut stream = connector.connect("localhost".try_into().unwrap(), socket).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with(&format!("{here} with a certificate sent 0")), "{answer}");
}

#[tokio::test]
async fn who_says_nothing_is_closed() {
    let mut tasks = JoinSet::new();
    let (_directory, tls) = secured();
    for address in [
        grpc(quick(), &mut tasks).await,
        http(quick(), None, &mut tasks).await,
        http(quick(), tls, &mut tasks).await,
    ] {
        // Nothing, half a preface, and half the head of a TLS record.
        for bytes in [&b""[..], &PREFACE[..10], b"\x16\x03\x01\x02"] {
            answer(address, bytes).await;
        }
    }
}

#[tokio::test]
async fn a_head_that_never_ends_is_closed() {
    let mut tasks = JoinSet::new();
    let address = http(quick(), None, &mut tasks).await;
    answer(address, b"GET / HTTP/1.1\r\nHost: caravan.example\r\nX-Slow: ").await;
    // And one that was answered before, which waits between two requests.
    let text = answer(address, b"GET / HTTP/1.1\r\nHost: caravan.example\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("sent 0"), "{text}");
}

#[tokio::test]
async fn a_connection_without_a_call_is_closed() {
    let mut tasks = JoinSet::new();
    let address = grpc(Options { idle_seconds: 1, ..quick() }, &mut tasks).await;
    answer(address, PREFACE).await;
    // One with a call stays: its watch is told nothing for longer than that.
    let mut health = HealthClient::new(channel(address));
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    watch.message().await.unwrap();
    let quiet = timeout(Duration::from_millis(1_500), watch.message()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}

#[tokio::test]
async fn a_huge_head_is_refused_and_the_next_call_is_answered() {
    let mut tasks = JoinSet::new();
    let address = http(quick(), None, &mut tasks).await;
    let huge = "a".repeat(64 << 10);
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Huge: {huge}\r\n\r\n");
    let text = answer(address, head.as_bytes()).await;
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 431"), "{text}");

    let mut health = HealthClient::new(channel(grpc(quick(), &mut tasks).await));
    let mut request = tonic::Request::new(HealthCheckRequest::default());
    request.metadata_mut().insert("x-huge", MetadataValue::try_from(&huge).unwrap());
    health.check(request).await.unwrap_err();
    health.check(HealthCheckRequest::default()).await.unwrap();
}

#[tokio::test]
async fn one_address_gets_so_many_connections() {
    let mut tasks = JoinSet::new();
    let options = Options { max_connections_per_address: 2, handshake_seconds: 60, ..quick() };
    let address = grpc(options, &mut tasks).await;
    let first = TcpStream::connect(address).await.unwrap();
    let _second = TcpStream::connect(address).await.unwrap();
    let began = Instant::now();
    answer(address, b"").await;
    assert!(began.elapsed() < Duration::from_secs(5), "closed after {:?}", began.elapsed());
    drop(first);
    let again = async {
        while HealthClient::new(channel(address)).check(HealthCheckRequest::default()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, again).await.expect("a seat is free again");
}

#[tokio::test]
async fn more_calls_than_the_server_takes_are_told_to_try_again() {
    let mut tasks = JoinSet::new();
    let address = grpc(Options { max_calls: 3, ..Options::default() }, &mut tasks).await;
    let fleet = FleetServiceClient::new(channel(address));
    let mut hanging = JoinSet::new();
    for _ in 0..3 {
        let mut fleet = fleet.clone();
        hanging.spawn(async move {
            loop {
                // One that is refused, since others are there, is made again.
                let _refused = fleet.list_executors(ListExecutorsRequest::default()).await;
            }
        });
    }
    let answered = async |code| loop {
        let status = fleet.clone().list_models(ListModelsRequest::default()).await.unwrap_err();
        if status.code() == code {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let status = timeout(PATIENCE, answered(Code::Unavailable)).await.expect("there are three");
    assert!(retry_delay(&status).is_some(), "{status:?}");
    drop(hanging);
    timeout(PATIENCE, answered(Code::Unimplemented)).await.expect("the calls have ended");
}

#[tokio::test]
async fn a_client_that_falls_silent_in_a_call_is_told_why() {
    let mut tasks = JoinSet::new();
    let address = grpc(quick(), &mut tasks).await;
    let nothing = stream::pending::<Result<Frame<Bytes>, Status>>();
    let status = refusal(address, Body::new(StreamBody::new(nothing)), "identity").await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert_eq!(reason(&status).as_deref(), Some("STREAM_SILENT"));

    let address = http(quick(), None, &mut tasks).await;
    let text = answer(address, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf").await;
    assert!(text.contains("nothing was sent for 1 s"), "{text}");
}

/// How a call with this body ends.
async fn refusal(address: SocketAddr, body: Body, encoding: &str) -> Status {
    let request = Request::post(format!("http://{address}/caravan.v1.FleetService/ListExecutors"))
        .header("content-type", "application/grpc")
        .header("grpc-encoding", encoding)
        .header("te", "trailers")
        .body(body)
        .unwrap();
    let mut channel = channel(address);
    let call = async { channel.ready().await.unwrap().call(request).await.unwrap() };
    let answer = timeout(PATIENCE, call).await.expect("in time");
    Status::from_header_map(answer.headers()).expect("a status")
}

/// A message of gRPC: compressed, so many bytes.
fn message(bytes: &[u8]) -> Body {
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    Body::new(Full::from([&[1], &length[..], bytes].concat()))
}

/// The most memory that this process ever had, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn a_compression_bomb_does_not_go_off() {
    const UNPACKED: u64 = 1 << 30;
    let mut bomb = zstd::Encoder::new(Vec::new(), 1).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..UNPACKED >> 20 {
        bomb.write_all(&zeros).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 1 << 20, "{} bytes pass for one message", bomb.len());

    let mut tasks = JoinSet::new();
    let address = grpc(Options::default(), &mut tasks).await;
    let before = peak();
    let status = refusal(address, message(&bomb), "zstd").await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let grown = peak() - before;
    assert!(grown < UNPACKED / 8, "{grown} bytes for a message of {} that unpacks to {UNPACKED}", bomb.len());
}
