use axum::body::Body as AxumBody;
use caravan_proto::error::{reason, retry_delay};
use tokio::time::Instant;

use super::*;

fn options(toml: &str) -> Options {
    toml::from_str(toml).expect("options")
}

fn limits(toml: &str) -> Limits {
    Limits::new(options(toml))
}

fn tenant(name: &str) -> Tenant {
    name.parse().expect("a tenant")
}

#[test]
fn who_calls_too_often_is_told_the_limit_and_when_to_come_again() {
    let limits = limits(
        "requests_per_second = 3\n[tenants.big]\nrequests_per_second = 50\n[tenants.free]\nrequests_per_second = 0",
    );
    let calls = |name: &str| (0..1000).take_while(|_| limits.admit(&tenant(name), false).is_ok()).count();
    let (one, big) = (calls("one"), calls("big"));
    assert!((3..1000).contains(&one) && (50..1000).contains(&big), "{one}, {big}");
    assert_eq!(calls("free"), 1000);
    assert!(calls("other") >= 3, "each tenant has its own");
    let status = (0..1000).find_map(|_| limits.admit(&tenant("one"), false).err()).expect("refused");
    assert_eq!(reason(&status).as_deref(), Some("RATE_LIMITED"));
    let delay = retry_delay(&status).expect("a time");
    assert!(delay > Duration::ZERO && delay <= Duration::from_millis(334), "{delay:?}");
}

#[tokio::test]
async fn a_stream_has_its_place_until_its_answer_is_gone() {
    let limits = limits("streams = 1");
    let one = tenant("one");
    let first = limits.admit(&one, true).expect("let in");
    assert!(limits.admit(&one, false).is_ok(), "a call is no stream");
    let answer = first.answers(AxumBody::from("more"), AxumBody::new);
    assert_eq!(Body::size_hint(&answer).exact(), Some(4), "its length is told all the same");
    let status = limits.admit(&one, true).expect_err("one is open");
    assert_eq!((reason(&status).as_deref(), retry_delay(&status)), (Some("RATE_LIMITED"), Some(STREAM_ENDS)));
    assert!(limits.admit(&tenant("other"), true).is_ok());
    drop(answer);
    assert!(limits.admit(&one, true).is_ok());
}

/// Bytes that two uploads of one tenant got through when the first one ended, read in pieces of these sizes.
async fn uploaded(limits: &Limits, pieces: [usize; 2], bytes: usize) -> [usize; 2] {
    let upload = |piece: usize| {
        let admitted = limits.admit(&tenant("one"), true).expect("let in");
        let pieces =
            std::iter::repeat_n(Bytes::from(vec![7; piece]), bytes / piece).map(Ok::<_, std::io::Error>);
        admitted.reads(AxumBody::from_stream(futures::stream::iter(pieces)), AxumBody::new)
    };
    let (mut one, mut other, mut read) = (upload(pieces[0]), upload(pieces[1]), [0; 2]);
    loop {
        let (index, frame) = tokio::select! {
            frame = one.frame() => (0, frame),
            frame = other.frame() => (1, frame),
        };
        let Some(frame) = frame else { return read };
        read[index] += frame.expect("a frame").into_data().expect("data").len();
    }
}

#[tokio::test]
async fn uploads_are_read_no_faster_than_they_may_and_none_waits_for_the_others() {
    let limits = limits("upload_bytes_per_second = 1048576");
    let began = Instant::now();
    let read = uploaded(&limits, [1 << 10, 32 << 10], 2 << 20).await;
    let (all, took) = (read[0] + read[1], began.elapsed());
    // A MiB at once, the rest at a MiB a second.
    assert!(took.as_secs_f64() > 0.9 * (all as f64 / f64::from(1 << 20) - 1.0), "{all} in {took:?}");
    assert!(read[0] > 0 && read[1] == 2 << 20, "large reads take turns with small ones: {read:?}");
}

#[test]
fn a_pace_that_looks_like_silence_is_refused() {
    let ok = |toml| options(toml).check("limits").is_ok();
    assert!(ok("") && ok("streams = 9") && ok("upload_bytes_per_second = 1048576"));
    assert!(!ok("upload_bytes_per_second = 1048575"));
    assert!(!ok("upload_bytes_per_second = 1048576\nstreams = 31"));
    assert!(!ok("upload_bytes_per_second = 1048576\n[tenants.one]\nstreams = 60"));
    assert!(ok(
        "upload_bytes_per_second = 1048576\n[tenants.one]\nstreams = 60\nupload_bytes_per_second = 0"
    ));
}

#[test]
fn the_methods_that_stream_are_known() {
    for (path, streams) in [
        ("/caravan.v1.FileService/UploadFile", true),
        ("/caravan.v1.BatchService/WatchBatch", true),
        ("/caravan.v1.BatchService/GetBatch", false),
    ] {
        assert_eq!(grpc::STREAMS.contains(path), streams, "{path}");
    }
}
