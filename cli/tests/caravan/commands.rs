//! The smaller commands.

use caravan_proto::v1::{Batch, Plan, batch::State, retry_batch_request::Kind};

use crate::{
    ends::{batch, directory},
    fake::{BATCH, FILE, Fake, Script, assert_exit, json_lines},
};

#[tokio::test]
async fn a_plan_is_shown_and_its_file_deleted() {
    let dir = directory();
    let plan = Plan {
        requests: 5_000,
        chunks: 57,
        prompt_tokens_without: 15_000_000,
        savings: 0.791,
        ..Default::default()
    };
    let planned = Batch { state: State::Queued.into(), plan: Some(plan), ..Default::default() };
    let fake = Fake::start(Script { batch: planned, ..Default::default() }).await;
    let output = fake.run(dir.path(), &["plan", "in.jsonl"]).await;
    assert_exit(&output, 0);
    let text = String::from_utf8_lossy(&output.stdout);
    for part in ["57", "15,000,000", "79.1 %"] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    assert!(fake.script().created[0].validate_only);
    assert_eq!(fake.script().deleted, [FILE]);
}

#[tokio::test]
async fn a_plan_that_fails_deletes_its_file_too() {
    let dir = directory();
    let rejected = Batch { state: State::Failed.into(), ..Default::default() };
    let fake = Fake::start(Script { batch: rejected, ..Default::default() }).await;
    assert_exit(&fake.run(dir.path(), &["plan", "in.jsonl"]).await, 3);
    assert_eq!(fake.script().deleted, [FILE]);
}

#[tokio::test]
async fn one_batch_and_all_of_them_as_text_and_as_json() {
    let dir = directory();
    let fake = Fake::start(Script { batch: batch(State::Cancelled, 2, 1), ..Default::default() }).await;
    for args in [&["get", BATCH][..], &["list"], &["list", "--state", "cancelled"]] {
        let output = fake.run(dir.path(), args).await;
        assert_exit(&output, 0);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains(BATCH) && text.contains("cancelled"), "{text}");
    }
    for args in [&["get", BATCH, "--json"][..], &["list", "--json"], &["cancel", BATCH, "--json"]] {
        let output = fake.run(dir.path(), args).await;
        assert_exit(&output, 0);
        let lines = json_lines(&output);
        assert_eq!((&lines[0]["batch"], &lines[0]["state"]), (&BATCH.into(), &"cancelled".into()));
    }
}

#[tokio::test]
async fn a_refused_deletion_says_the_way_out() {
    let dir = directory();
    let fake = Fake::start(Script::default()).await;
    let output = fake.run(dir.path(), &["delete", BATCH]).await;
    assert_exit(&output, 1);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("cancel it first") && text.contains("BATCH_NOT_ENDED"), "{text}");
}

#[tokio::test]
async fn a_batch_is_held_and_an_ended_one_is_not() {
    let dir = directory();
    let fake = Fake::start(Script { batch: batch(State::Running, 2, 0), ..Default::default() }).await;
    let output = fake.run(dir.path(), &["pause", BATCH]).await;
    assert_exit(&output, 0);
    assert_eq!(String::from_utf8_lossy(&output.stderr).trim_end(), format!("{BATCH} paused"));
    let output = fake.run(dir.path(), &["resume", BATCH]).await;
    assert_exit(&output, 1);
    assert!(String::from_utf8_lossy(&output.stderr).contains("BATCH_ENDED"));
}

#[tokio::test]
async fn a_retry_prints_the_new_batch() {
    let dir = directory();
    let fake = Fake::start(Script::default()).await;
    let args = ["retry", BATCH, "--only", "failed,expired", "--request-id", "once", "--json"];
    let output = fake.run(dir.path(), &args).await;
    assert_exit(&output, 0);
    let line = &json_lines(&output)[0];
    assert_eq!((&line["event"], &line["batch"]), (&"retried".into(), &BATCH.into()));
    assert_eq!(line["retried_from"], format!("batches/{BATCH}"));
    let asked = fake.script().retried.pop().expect("a request");
    assert_eq!(
        (asked.kinds().collect::<Vec<_>>(), &*asked.request_id),
        (vec![Kind::Failed, Kind::Expired], "once")
    );
    assert_exit(&fake.run(dir.path(), &["retry", BATCH, "--only", "answered"]).await, 2);
}
