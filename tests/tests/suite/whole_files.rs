//! Files that are odd as a whole, and what is answered to each.

use caravan_simulated_engine::{Options, Running, SimulatedEngine};
use caravan_tests::{Input, Up};
use serde_json::Value;

async fn up() -> anyhow::Result<(Running, Up)> {
    let engine = SimulatedEngine::start(Options::default())?;
    let up = Up::start(&[&engine.url()], 4, "").await?;
    Ok((engine, up))
}

#[tokio::test]
async fn line_ends_and_marks_of_all_systems_are_read() -> anyhow::Result<()> {
    let (_engine, up) = up().await?;
    let good = Input::chats(5, "s");
    let unended = good.clone().with_bytes(|bytes| bytes.trim_ascii_end().to_vec());
    let carriage =
        good.clone().with_bytes(|b| String::from_utf8_lossy(&b).replace('\n', "\r\n").into_bytes());
    let marked = good.clone().with_bytes(|bytes| [b"\xef\xbb\xbf", &bytes[..]].concat());
    for (what, input) in [("no final newline", unended), ("CRLF", carriage), ("BOM", marked)] {
        let done = up.caravan().submit(&input, &[]).await?;
        assert_eq!(done.code, 0, "{what}: {}", done.stderr);
        assert_eq!(done.audit(&input)?.answered, 5, "{what}");
    }
    Ok(())
}

#[tokio::test]
async fn files_without_a_request_are_rejected() -> anyhow::Result<()> {
    let (_engine, up) = up().await?;
    let gzip = [b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03".as_slice(), &[0x55; 500]].concat();
    let of = |bytes: &[u8]| Input::new().with_bytes(|_| bytes.to_vec());
    for (what, input, code, total) in [
        ("empty", of(b""), "empty_file", 0),
        ("one line end", of(b"\n"), "empty_file", 0),
        ("blank lines", of(b"\n  \n\r\n"), "empty_file", 0),
        ("one byte", of(b"x"), "invalid_json_line", 1),
        ("gzip", of(&gzip), "invalid_json_line", 1),
    ] {
        for policy in ["reject_batch", "reject_line"] {
            let done = up.caravan().submit(&input, &["--on-invalid", policy]).await?;
            let said = format!("{what}, {policy}: {} {}", done.stderr, done.batch());
            // A single bad byte is a line like any other; the rest are no files of requests at all.
            let rejected = policy == "reject_batch" || what != "one byte";
            assert_eq!(done.code, if rejected { 3 } else { 4 }, "{said}");
            assert_eq!(done.batch()["requests"]["total"], total, "{said}");
            let error: Value = serde_json::from_slice(&done.errors)?;
            assert_eq!(error["error"]["code"], code, "{said}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_line_of_fifty_megabytes_is_too_long_and_hurts_no_other() -> anyhow::Result<()> {
    let (_engine, up) = up().await?;
    let long = format!(r#"{{"custom_id":"long","body":"{}"}}"#, "x".repeat(50_000_000));
    let input = Input::chats(2, "s").line(long).chat("after", "s", "and then?");
    let done = up.caravan().submit(&input, &["--on-invalid", "reject_line"]).await?;
    assert_eq!(done.code, 4, "{}", done.stderr);
    let audit = done.audit(&input)?;
    assert_eq!((audit.answered, audit.failed[&3].as_str()), (3, "line_too_long"));
    Ok(())
}
