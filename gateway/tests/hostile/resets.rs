//! Frames that cost the server more than the client.

use caravan_gateway::Options;

use crate::{
    edge::{Edge, address},
    wire::{self, CONTINUATION, END_HEADERS, ENHANCE_YOUR_CALM, HEADERS, Wire},
};

const GET_BATCH: &str = "/caravan.v1.BatchService/GetBatch";

#[tokio::test]
async fn streams_that_are_opened_to_be_reset_end_their_connection() {
    let edge = Edge::start(Options::default()).await;
    let mut wire = Wire::from(address(1), edge.grpc).await;
    let call = wire::call(GET_BATCH);
    let pair = |index| {
        let stream = wire::stream(index);
        [wire::frame(HEADERS, END_HEADERS, stream, &call), wire::reset(stream)].concat()
    };
    let flood: Vec<u8> = (0..10_000).flat_map(pair).collect();
    // The server may have hung up before the last of them.
    let _sent_or_closed = wire.1.send(&flood).await;
    let other = edge.call(address(1)).await.expect("others are served");
    assert_eq!(other, *edge.planner.batch);
    assert_eq!(wire.0.ended().await, Some(ENHANCE_YOUR_CALM));
}

#[tokio::test]
async fn a_head_in_endless_pieces_ends_its_connection() {
    let edge = Edge::start(Options::default()).await;
    let mut wire = Wire::from(address(1), edge.grpc).await;
    let name = [&b"\x00\x01x\x7f\x81\x1f"[..], &[b'a'; 4_096]].concat();
    let mut flood = wire::frame(HEADERS, 0, 1, &wire::call(GET_BATCH));
    for _ in 0..1_000 {
        flood.extend(wire::frame(CONTINUATION, 0, 1, &name));
    }
    let _sent_or_closed = wire.1.send(&flood).await;
    edge.call(address(1)).await.expect("others are served");
    assert_eq!(wire.0.ended().await, Some(ENHANCE_YOUR_CALM));
}
