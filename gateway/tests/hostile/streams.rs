//! Streams that say nothing: what they get, what they cost, and who is served beside them.

use std::net::IpAddr;

use caravan_gateway::Options;
use caravan_proto::{error::retry_delay, v1::WatchBatchRequest};
use caravan_service::serve;
use prost::Message as _;
use tokio::{sync::mpsc, task::JoinSet, time::timeout};
use tonic::Code;

use crate::{
    edge::{Edge, PATIENCE, address},
    wire::{self, END_HEADERS, Frame, HEADERS, REFUSED_STREAM, Wire},
};

const UPLOAD: &str = "/caravan.v1.FileService/UploadFile";
const WATCH: &str = "/caravan.v1.BatchService/WatchBatch";
/// Of the gateway's options.
const CALLS: usize = 32_768;
const OF_CONNECTION: usize = 1_024;

/// Connections that are full of streams, until it is dropped.
struct Crowd {
    refusals: mpsc::UnboundedReceiver<Frame>,
    _tasks: JoinSet<()>,
}

// === impl Crowd ===

impl Crowd {
    /// A connection from each of these addresses, with so many streams on each, and nothing said on them but the
    /// `message` of each, if there is any.
    async fn open(edge: &Edge, from: &[IpAddr], path: &str, message: Option<&[u8]>, each: usize) -> Self {
        let (sender, refusals) = mpsc::unbounded_channel();
        let head = wire::call(path);
        let stream = |index| {
            let stream = wire::stream(index);
            let mut frames = wire::frame(HEADERS, END_HEADERS, stream, &head);
            frames.extend(message.into_iter().flat_map(|message| wire::message(stream, message)));
            frames
        };
        let streams: Vec<u8> = (0..each).flat_map(stream).collect();
        let mut tasks = JoinSet::new();
        for here in from {
            let Wire(mut said, mut told) = Wire::from(*here, edge.grpc).await;
            let (streams, sender) = (streams.clone(), sender.clone());
            tasks.spawn(async move {
                let hear = async {
                    while let Some(frame) = said.frame().await {
                        if frame.is_refusal() || frame.error() == Some(REFUSED_STREAM) {
                            sender.send(frame).expect("somebody counts");
                        }
                    }
                };
                let (sent, ()) = tokio::join!(told.send(&streams), hear);
                sent.expect("it is open");
            });
        }
        Self { refusals, _tasks: tasks }
    }

    /// Waits until so many of them were refused.
    async fn refused(&mut self, count: usize) -> Vec<Frame> {
        let mut refused = Vec::with_capacity(count);
        while refused.len() < count {
            let next = timeout(PATIENCE, self.refusals.recv()).await.expect("so many are refused");
            refused.push(next.expect("it is open"));
        }
        refused
    }
}

/// Memory of this process, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_idle_uploads_fill_the_port_and_no_more() {
    let edge = Edge::start(Options::default()).await;
    let from: Vec<_> = (0..100).map(|index| address(index % 10 + 1)).collect();
    let before = resident();
    let mut crowd = Crowd::open(&edge, &from, UPLOAD, None, 1_000).await;
    let refused = crowd.refused(100_000 - CALLS).await;
    let each = resident().saturating_sub(before) / CALLS;
    assert!(refused.iter().all(Frame::is_refusal), "each is told why");
    assert!(edge.planner.metadata.borrow().is_empty(), "the planner hears nothing of it");
    let status = edge.call(address(11)).await.expect_err("nothing is left");
    assert_eq!(status.code(), Code::Unavailable);
    assert!(retry_delay(&status).is_some(), "{status:?}");
    // What a gateway may take for a subscriber; with the client's side and what other tests take meanwhile, half of it.
    assert!(each < 50_000, "{each} bytes for a stream");
    drop(crowd);
    edge.serves(address(11)).await;
}

#[tokio::test]
async fn watches_of_one_address_leave_the_rest_to_others() {
    const OF_ADDRESS: usize = 1_000;

    let defaults = Options::default();
    let server = serve::Options { max_calls_per_address: OF_ADDRESS, ..defaults.server.clone() };
    let edge = Edge::start(Options { server, ..defaults }).await;
    let watch = WatchBatchRequest { name: edge.planner.batch.name.clone(), ..Default::default() };
    let mut crowd = Crowd::open(&edge, &[address(1); 10], WATCH, Some(&watch.encode_to_vec()), 200).await;
    crowd.refused(2_000 - OF_ADDRESS).await;
    edge.serves(address(2)).await;
    assert_eq!(edge.call(address(1)).await.expect_err("it has its share").code(), Code::Unavailable);
    drop(crowd);
    edge.serves(address(1)).await;
}

#[tokio::test]
async fn more_streams_than_a_connection_has_are_refused() {
    let edge = Edge::start(Options::default()).await;
    let mut crowd = Crowd::open(&edge, &[address(1)], UPLOAD, None, OF_CONNECTION + 100).await;
    let refused = crowd.refused(100).await;
    assert!(refused.iter().all(|frame| frame.error() == Some(REFUSED_STREAM)), "{refused:?}");
    edge.call(address(1)).await.expect("another connection has streams");
}
