//! Batches from creation to deletion.

use std::{collections::HashMap, sync::Arc};

use tokio::task::JoinSet;

use super::{audit::audit, *};

pub(in crate::store) async fn a_request_id_creates_one_batch(db: &impl Backend) {
    let store = db.open().await;
    let mut new = new_batch(input(&store).await);
    new.request_id = Some("r".into());
    let Creation::Created(first) = store.create_batch(&new).await.unwrap() else { panic!("not created") };
    assert_eq!((first.id, first.state, first.revision), (new.id, State::Validating, 1));
    assert_eq!((first.input, first.created, &first.spec), (new.input, 5, &new.spec));
    let again = NewBatch { id: BatchId::now(), created: 9, ..new.clone() };
    assert_eq!(store.create_batch(&again).await.unwrap(), Creation::Existing(first.clone()));
    let mut other = again.clone();
    other.spec.priority = 7;
    assert_eq!(store.create_batch(&other).await.unwrap(), Creation::Reused);
    let mut other = again.clone();
    other.spec.defaults = "{}".into();
    assert_eq!(store.create_batch(&other).await.unwrap(), Creation::Reused);
    assert_eq!(store.batch(again.id).await.unwrap(), None);
    store.cancel(first.id, 9).await.unwrap();
    store.delete_file(new.input).await.unwrap();
    assert!(
        matches!(store.create_batch(&again).await.unwrap(), Creation::Existing(_)),
        "with or without its input"
    );
}

pub(in crate::store) async fn defaults_are_kept_apart(db: &impl Backend) {
    let store = db.open().await;
    let mut new = new_batch(input(&store).await);
    (new.request_id, new.spec.defaults) = (Some("r".into()), r#"{"model":"m"}"#.into());
    let Creation::Created(first) = store.create_batch(&new).await.unwrap() else { panic!("not created") };
    assert_eq!(first.spec.defaults, "");
    assert_eq!(store.defaults(new.id).await.unwrap(), new.spec.defaults);
    assert_eq!(store.defaults(BatchId::now()).await.unwrap(), "");
    let again = NewBatch { id: BatchId::now(), ..new.clone() };
    assert_eq!(store.create_batch(&again).await.unwrap(), Creation::Existing(first));
}

pub(in crate::store) async fn a_batch_needs_a_ready_input(db: &impl Backend) {
    let store = db.open().await;
    assert_eq!(store.create_batch(&new_batch(FileId::now())).await.unwrap(), Creation::NoInput);
    let open = store.open_file(&new_file(FileId::now(), None)).await.unwrap();
    assert_eq!(store.create_batch(&new_batch(open.id)).await.unwrap(), Creation::NoInput);
    assert_eq!(store.batches(&[], None, 10).await.unwrap(), []);
}

pub(in crate::store) async fn revisions_are_those_of_the_batches_there_are(db: &impl Backend) {
    let store = db.open().await;
    let input = input(&store).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let new = new_batch(input);
        store.create_batch(&new).await.unwrap();
        ids.push(new.id);
    }
    store.cancel(ids[1], 9).await.unwrap();
    let asked = [ids[0], ids[1], BatchId::now()];
    let mut revisions = store.revisions(&asked).await.unwrap();
    revisions.sort_unstable();
    let now = store.batch(ids[1]).await.unwrap().unwrap().revision;
    assert!(now > 1, "{now}");
    assert_eq!(revisions, [(ids[0], 1), (ids[1], now)]);
    assert_eq!(store.revisions(&[]).await.unwrap(), []);
}

pub(in crate::store) async fn racing_creations_make_one_batch(db: &impl Backend) {
    let store = Arc::new(db.open().await);
    let input = input(&*store).await;
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let (store, mut new) = (Arc::clone(&store), new_batch(input));
        new.request_id = Some("r".into());
        tasks.spawn(async move {
            match store.create_batch(&new).await.unwrap() {
                Creation::Created(batch) => (true, batch.id),
                Creation::Existing(batch) => (false, batch.id),
                other => panic!("{other:?}"),
            }
        });
    }
    let answers = tasks.join_all().await;
    assert_eq!(answers.iter().filter(|(created, _)| *created).count(), 1);
    assert!(answers.iter().all(|(_, id)| *id == answers[0].1));
}

pub(in crate::store) async fn batches_are_listed_by_state(db: &impl Backend) {
    let store = db.open().await;
    let first = queued(&store, &[1]).await;
    let second = planning(&store).await;
    let third = queued(&store, &[1]).await;
    let list = async |states: &[State], before, limit| -> Vec<BatchId> {
        store.batches(states, before, limit).await.unwrap().into_iter().map(|batch| batch.id).collect()
    };
    assert_eq!(list(&[], None, 2).await, [third, second]);
    assert_eq!(list(&[], Some(second), 2).await, [first]);
    assert_eq!(list(&[State::Queued], None, 9).await, [third, first]);
    assert_eq!(list(&[State::Queued, State::Planning], Some(third), 9).await, [second, first]);
    store.cancel(second, 9).await.unwrap();
    let open: Vec<_> = store.open_batches().await.unwrap().into_iter().map(|b| (b.id, b.state)).collect();
    assert_eq!(open, [(first, State::Queued), (third, State::Queued)], "oldest first, none that ended");
}

pub(in crate::store) async fn a_plan_is_activated(db: &impl Backend) {
    let store = db.open().await;
    let id = planning(&store).await;
    store.add_chunks(id, plan(), &[new_chunk(0, 3)]).await.unwrap();
    store.add_chunks(id, plan(), &[new_chunk(1, 9)]).await.unwrap();
    let line_error = v1::LineError { line: 4, code: "invalid_json_line".into(), ..Default::default() };
    let rejected = RejectedSegment { id: SegmentId::now(), bytes: 77, records: 2 };
    let planned = Planned {
        provisional: true,
        line_errors: vec![line_error.clone()],
        line_error_count: 3,
        rejected: Some(rejected),
        ..planned(2, 14)
    };
    assert!(store.activate(id, &planned, 8).await.unwrap());
    assert!(!store.activate(id, &planned, 9).await.unwrap(), "once");
    let batch = batch(&store, id).await;
    assert_eq!((batch.state, batch.planned, batch.provisional), (State::Queued, Some(8), true));
    assert_eq!(batch.requests, v1::RequestCounts { total: 14, succeeded: 0, failed: 2 });
    assert_eq!(batch.plan, Some(planned.plan));
    assert_eq!((batch.line_errors, batch.line_error_count), (vec![line_error], 3));
    let piece = Piece { chunk: None, offset: 0, bytes: 77, records: 2, mask: Vec::new() };
    let segment = Segment { number: 0, id: rejected.id, bytes: 77, pieces: vec![piece] };
    assert_eq!(store.segments(id, 0, 9).await.unwrap(), [segment]);
    assert!(store.open_batches().await.unwrap()[0].provisional);
    let chunk = store.chunk(id, 1).await.unwrap().unwrap();
    assert_eq!((chunk.size, chunk.done_count, &*chunk.done), (9, 0, &[0, 0][..]));
    audit(&store, id, &HashMap::new()).await;
}

pub(in crate::store) async fn a_plan_of_another_size_is_refused(db: &impl Backend) {
    let store = db.open().await;
    let id = planning(&store).await;
    store.add_chunks(id, plan(), &[new_chunk(0, 3)]).await.unwrap();
    assert!(matches!(store.activate(id, &planned(2, 3), 8).await, Err(Error::Corrupt { .. })));
    assert_eq!(state(&store, id).await, State::Planning);
}

pub(in crate::store) async fn a_batch_without_chunks_is_finalized(db: &impl Backend) {
    let store = db.open().await;
    let id = planning(&store).await;
    let rejected = Some(RejectedSegment { id: SegmentId::now(), bytes: 7, records: 2 });
    assert!(store.activate(id, &Planned { rejected, ..planned(0, 2) }, 8).await.unwrap());
    assert_eq!(state(&store, id).await, State::Finalizing);
    let outputs = Outputs { output: None, error: Some(FileId::now()) };
    assert!(store.finish(id, &outputs, 9).await.unwrap());
    assert!(!store.finish(id, &Outputs::default(), 10).await.unwrap());
    let batch = batch(&store, id).await;
    assert_eq!((batch.state, batch.outputs, batch.ended), (State::Completed, outputs, Some(9)));
}

pub(in crate::store) async fn a_batch_is_rejected(db: &impl Backend) {
    let store = db.open().await;
    let id = planning(&store).await;
    store.add_chunks(id, plan(), &[new_chunk(0, 3)]).await.unwrap();
    let rejected = Rejected {
        failed: 1,
        total: 9,
        reason: "INVALID_LINES".into(),
        message: "two lines are bad".into(),
        line_errors: vec![v1::LineError { line: 2, ..Default::default() }],
        line_error_count: 2,
        error_file: Some(FileId::now()),
    };
    assert!(store.reject(id, &rejected, 8).await.unwrap());
    assert!(!store.reject(id, &rejected, 9).await.unwrap());
    let batch = batch(&store, id).await;
    assert_eq!((batch.state, batch.ended), (State::Failed, Some(8)));
    assert_eq!(batch.requests, v1::RequestCounts { total: 9, succeeded: 0, failed: 1 });
    assert_eq!((batch.reason, batch.message), (rejected.reason, rejected.message));
    assert_eq!((batch.line_errors, batch.line_error_count), (rejected.line_errors, 2));
    assert_eq!((batch.outputs.error, batch.chunks.total), (rejected.error_file, 0));
    assert_eq!(store.chunks(id, 0, 9).await.unwrap(), []);
}

pub(in crate::store) async fn a_provisional_plan_is_made_anew(db: &impl Backend) {
    let store = db.open().await;
    let id = planning(&store).await;
    store.add_chunks(id, plan(), &[new_chunk(0, 3)]).await.unwrap();
    let rejected = Some(RejectedSegment { id: SegmentId::now(), bytes: 7, records: 2 });
    let first = Planned { rejected, provisional: true, ..planned(1, 5) };
    assert!(store.activate(id, &first, 8).await.unwrap());
    assert!(store.reset_plan(id, plan()).await.unwrap());
    let reset = batch(&store, id).await;
    assert_eq!(
        (reset.state, reset.plan, reset.planned, reset.provisional),
        (State::Planning, None, None, false)
    );
    assert_eq!((reset.requests, reset.chunks), Default::default());
    assert_eq!((reset.next_segment, store.segments(id, 0, 9).await.unwrap()), (0, Vec::new()));
    assert!(store.reset_plan(id, plan()).await.unwrap(), "as often as one likes");
    activate(&store, id, &[new_chunk(0, 2), new_chunk(1, 1)]).await;
    assert!(!store.reset_plan(id, plan()).await.unwrap(), "this plan is not provisional");
    assert_eq!(batch(&store, id).await.chunks.total, 2);
    audit(&store, id, &HashMap::new()).await;
}

pub(in crate::store) async fn chunks_are_of_the_latest_plan(db: &impl Backend) {
    let store = db.open().await;
    let id = planning(&store).await;
    store.add_chunks(id, plan(), &[new_chunk(0, 3)]).await.unwrap();
    // Another replica plans it too, and both go on.
    let other = PlanId::now();
    assert!(store.reset_plan(id, other).await.unwrap());
    store.add_chunks(id, plan(), &[new_chunk(1, 9)]).await.unwrap();
    store.add_chunks(id, other, &[new_chunk(0, 2)]).await.unwrap();
    assert!(!store.activate(id, &planned(2, 12), 8).await.unwrap(), "it is planned anew");
    assert_eq!(store.plan_of(id).await.unwrap(), Some(other));
    assert!(store.activate(id, &Planned { id: other, ..planned(1, 2) }, 8).await.unwrap());
    let (_, claim) = claim(&store, ExecutorId::now()).await.unwrap();
    assert_eq!((claim.plan, claim.chunk, claim.size), (Some(other), 0, 2));
    assert_eq!(store.plan_of(BatchId::now()).await.unwrap(), None, "of no batch");
}

pub(in crate::store) async fn nothing_is_leased_of_a_provisional_plan(db: &impl Backend) {
    let store = db.open().await;
    let id = planning(&store).await;
    store.add_chunks(id, plan(), &[new_chunk(0, 3)]).await.unwrap();
    assert!(store.activate(id, &Planned { provisional: true, ..planned(1, 3) }, 8).await.unwrap());
    assert!(claim(&store, ExecutorId::now()).await.is_none());
    assert!(store.reset_plan(id, plan()).await.unwrap());
    activate(&store, id, &[new_chunk(0, 3)]).await;
    let (held, _) = claim(&store, ExecutorId::now()).await.unwrap();
    assert!(!store.reset_plan(id, plan()).await.unwrap(), "it was leased");
    assert_eq!(store.leases(Some(id)).await.unwrap()[0].id, held.lease);
}

pub(in crate::store) async fn a_reason_goes_with_its_state(db: &impl Backend) {
    let store = db.open().await;
    let id = queued(&store, &[1, 1]).await;
    let before = batch(&store, id).await.revision;
    store.explain(id, &OPEN, "NO_ENGINE", "no engine has it").await.unwrap();
    store.explain(id, &OPEN, "NO_ENGINE", "no engine has it").await.unwrap();
    let explained = batch(&store, id).await;
    assert_eq!((&*explained.reason, &*explained.message), ("NO_ENGINE", "no engine has it"));
    assert_eq!(explained.revision, before + 1, "the same again is no change");
    store.explain(id, &OPEN, "ENGINE", "an engine said \0").await.unwrap();
    assert_eq!(batch(&store, id).await.message, "an engine said \u{fffd}");
    claim(&store, ExecutorId::now()).await.unwrap();
    assert_eq!(batch(&store, id).await.reason, "");
    store.explain(id, &OPEN, "WAITING", "said a moment too late").await.unwrap();
    claim(&store, ExecutorId::now()).await.unwrap();
    assert_eq!(batch(&store, id).await.reason, "", "who is given a chunk does not wait");
    store.pause(id).await.unwrap();
    store.explain(id, &OPEN, "WAITING", "said a moment too late").await.unwrap();
    assert_eq!(batch(&store, id).await.reason, "", "who is paused does not wait either");
    store.cancel(id, 9).await.unwrap();
    store.commit(id, &segment(&[(0, &[0]), (1, &[0])]), 9).await.unwrap();
    store.finish(id, &Outputs::default(), 9).await.unwrap();
    store.explain(id, &OPEN, "LATE", "").await.unwrap();
    assert_eq!(batch(&store, id).await.reason, "", "an ended batch stands still");
}

pub(in crate::store) async fn cancelling_revokes_leases(db: &impl Backend) {
    let store = db.open().await;
    let id = queued(&store, &[2, 2, 2]).await;
    let (one, two) = (ExecutorId::now(), ExecutorId::now());
    let (first, _) = claim(&store, one).await.unwrap();
    let (second, _) = claim(&store, two).await.unwrap();
    let cancelled = store.cancel(id, 9).await.unwrap().unwrap();
    assert_eq!(cancelled.state, State::Cancelling);
    let mut revoked = cancelled.revoked;
    revoked.sort_unstable();
    assert_eq!(revoked, [(one, first.lease), (two, second.lease)]);
    assert_eq!(store.heartbeat(one, &[first], 99).await.unwrap(), [first.lease]);
    assert!(claim(&store, one).await.is_none());
    let again = store.cancel(id, 9).await.unwrap().unwrap();
    assert_eq!(again, Cancellation { state: State::Cancelling, revoked: Vec::new() });
    assert_eq!(store.cancel(BatchId::now(), 9).await.unwrap(), None);
    audit(&store, id, &HashMap::new()).await;
}

pub(in crate::store) async fn an_unplanned_batch_is_cancelled_at_once(db: &impl Backend) {
    let store = db.open().await;
    let id = planning(&store).await;
    store.add_chunks(id, plan(), &[new_chunk(0, 3)]).await.unwrap();
    assert_eq!(store.cancel(id, 9).await.unwrap().unwrap().state, State::Cancelled);
    let batch = batch(&store, id).await;
    assert_eq!((batch.ended, batch.chunks.total), (Some(9), 0));
    store.add_chunks(id, plan(), &[new_chunk(1, 3)]).await.unwrap();
    assert!(!store.activate(id, &planned(1, 3), 10).await.unwrap());
    assert_eq!(store.chunks(id, 0, 9).await.unwrap(), []);
    assert_eq!(store.cancel(id, 11).await.unwrap().unwrap().state, State::Cancelled);
}

pub(in crate::store) async fn a_cancelled_batch_ends_when_nothing_is_open(db: &impl Backend) {
    let store = db.open().await;
    let id = queued(&store, &[2]).await;
    store.cancel(id, 9).await.unwrap();
    assert!(!store.finish(id, &Outputs::default(), 10).await.unwrap(), "two are open");
    let commit = store.commit(id, &segment(&[(0, &[0, 1])]), 11).await.unwrap();
    assert!(commit.batch_done);
    assert_eq!(state(&store, id).await, State::Cancelling);
    assert!(store.finish(id, &Outputs::default(), 12).await.unwrap());
    let batch = batch(&store, id).await;
    assert_eq!((batch.state, batch.ended), (State::Cancelled, Some(12)));
}

pub(in crate::store) async fn deletion_leaves_nothing(db: &impl Backend) {
    let store = db.open().await;
    let id = queued(&store, &[1, 1]).await;
    claim(&store, ExecutorId::now()).await.unwrap();
    store.commit(id, &segment(&[(0, &[0])]), 8).await.unwrap();
    assert!(!store.delete_batch(id).await.unwrap(), "it has not ended");
    assert!(store.advance(id, &[State::Running], State::Expired, 9).await.unwrap());
    assert_eq!(batch(&store, id).await.ended, Some(9));
    assert!(store.delete_batch(id).await.unwrap());
    assert!(!store.delete_batch(id).await.unwrap());
    assert_eq!(store.batch(id).await.unwrap(), None);
    assert_eq!(store.chunks(id, 0, 9).await.unwrap(), []);
    assert_eq!(store.segments(id, 0, 9).await.unwrap(), []);
    assert_eq!(store.leases(None).await.unwrap(), []);
    assert_eq!(store.commit(id, &segment(&[(1, &[0])]), 8).await.unwrap(), Commit::default());
}

pub(in crate::store) async fn every_change_is_a_revision(db: &impl Backend) {
    let store = db.open().await;
    let id = planning(&store).await;
    let mut last = batch(&store, id).await.revision;
    let mut grew = async |what: &str| {
        let now = batch(&store, id).await.revision;
        assert_eq!(now, last + 1, "{what}");
        last = now;
    };
    store.add_chunks(id, plan(), &[new_chunk(0, 1), new_chunk(1, 1)]).await.unwrap();
    grew("add_chunks").await;
    store.activate(id, &planned(2, 2), 8).await.unwrap();
    grew("activate").await;
    claim(&store, ExecutorId::now()).await.unwrap();
    grew("the first claim").await;
    store.advance(id, &[State::Running], State::Paused, 9).await.unwrap();
    grew("advance").await;
    store.commit(id, &segment(&[(0, &[0])]), 8).await.unwrap();
    grew("commit").await;
    store.commit(id, &segment(&[(1, &[0])]), 8).await.unwrap();
    grew("the last commit").await;
    store.finish(id, &Outputs::default(), 9).await.unwrap();
    grew("finish").await;
}
