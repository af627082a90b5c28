use axum::body::Body;
use caravan_proto::error::{reason, retry_delay};
use tokio::time::Instant;

use super::*;

fn limits(toml: &str) -> Limits {
    Limits::new(toml::from_str(toml).expect("options"))
}

fn tenant(name: &str) -> Tenant {
    name.parse().expect("a tenant")
}

#[test]
fn who_calls_too_often_is_told_the_limit_and_when_to_come_again() {
    let limits = limits(
        "requests_per_second = 3\n[tenants.big]\nrequests_per_second = 5\n[tenants.free]\nrequests_per_second = 0",
    );
    let calls = |name: &str| (0..100).take_while(|_| limits.admit(&tenant(name), false).is_ok()).count();
    assert!((3..6).contains(&calls("one")), "as many at once as a second has");
    assert!((5..8).contains(&calls("big")));
    assert_eq!(calls("free"), 100);
    assert!((3..6).contains(&calls("other")), "each tenant has its own");
    let status = (0..100).find_map(|_| limits.admit(&tenant("one"), false).err()).expect("refused");
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
    let answer = first.answers(Body::from("more"), Body::new);
    let status = limits.admit(&one, true).expect_err("one is open");
    assert_eq!((reason(&status).as_deref(), retry_delay(&status)), (Some("RATE_LIMITED"), Some(STREAM_ENDS)));
    assert!(limits.admit(&tenant("other"), true).is_ok());
    drop(answer);
    assert!(limits.admit(&one, true).is_ok());
}

#[tokio::test]
async fn an_upload_is_read_no_faster_than_it_may() {
    let limits = limits("upload_bytes_per_second = 4000");
    let admitted = limits.admit(&tenant("one"), true).expect("let in");
    let began = Instant::now();
    let body = admitted.reads(Body::from(vec![7; 5000]), Body::new);
    let read = body.collect().await.expect("a body").to_bytes();
    assert_eq!(read, vec![7; 5000]);
    // 4,000 at once, and the rest in a quarter of a second.
    assert!(began.elapsed() > Duration::from_millis(200), "{:?}", began.elapsed());
}
