//! Batches held, let go on, ended by their completion window, and retried.

use std::collections::HashMap;

use super::{audit::audit, *};

/// A queued batch that expires at 100.
async fn due_at_100(store: &impl Store, sizes: &[i32]) -> BatchId {
    let id = planning_with(store, |batch| batch.deadline = Some(100)).await;
    let chunks: Vec<_> = sizes.iter().zip(0..).map(|(&size, number)| new_chunk(number, size)).collect();
    activate(store, id, &chunks).await;
    id
}

pub(in crate::store) async fn a_paused_batch_keeps_its_leases_and_gives_none(db: &impl Backend) {
    let store = db.open().await;
    let id = queued(&store, &[2, 2]).await;
    let me = ExecutorId::now();
    let (held, _) = claim(&store, me).await.unwrap();
    let before = batch(&store, id).await.revision;
    assert_eq!(store.pause(id).await.unwrap(), Some(State::Paused));
    assert_eq!(store.pause(id).await.unwrap(), Some(State::Paused), "again");
    assert_eq!(batch(&store, id).await.revision, before + 1, "which is no change");
    assert!(claim(&store, me).await.is_none());
    assert_eq!(store.heartbeat(me, &[held], 99).await.unwrap(), [], "what runs goes on");
    let first = segment(&[(0, &[0])]);
    store.commit(id, &first, 60).await.unwrap();
    assert!(store.hand_back(me, held.lease, held.epoch).await.unwrap());
    assert!(claim(&store, me).await.is_none(), "and is not leased again");
    audit(&store, id, &[(first.id, first)].into()).await;

    assert_eq!(store.resume(id).await.unwrap(), Some(State::Running), "it ran before");
    assert_eq!(store.resume(id).await.unwrap(), Some(State::Running), "again");
    assert_eq!(batch(&store, id).await.revision, before + 3);
    let (_, next) = claim(&store, me).await.unwrap();
    assert_eq!(next.done, [1], "without the finished one");
    assert_eq!(store.pause(BatchId::now()).await.unwrap(), None);
    assert_eq!(store.resume(BatchId::now()).await.unwrap(), None);
}

pub(in crate::store) async fn a_batch_that_never_ran_is_queued_again(db: &impl Backend) {
    let store = db.open().await;
    let id = queued(&store, &[1]).await;
    assert_eq!(store.pause(id).await.unwrap(), Some(State::Paused));
    assert_eq!(store.resume(id).await.unwrap(), Some(State::Queued));
    assert!(claim(&store, ExecutorId::now()).await.is_some());
}

pub(in crate::store) async fn a_batch_is_paused_before_it_is_planned(db: &impl Backend) {
    let store = db.open().await;
    let (id, other) = (planning(&store).await, planning(&store).await);
    for id in [id, other] {
        assert_eq!(store.pause(id).await.unwrap(), Some(State::Planning));
        assert!(batch(&store, id).await.held);
    }
    assert_eq!(store.resume(other).await.unwrap(), Some(State::Planning));
    assert!(!batch(&store, other).await.held);
    activate(&store, id, &[new_chunk(0, 1)]).await;
    assert_eq!(state(&store, id).await, State::Paused);
    assert!(claim(&store, ExecutorId::now()).await.is_none());
    activate(&store, other, &[new_chunk(0, 1)]).await;
    assert_eq!(state(&store, other).await, State::Queued);
    assert_eq!(store.resume(id).await.unwrap(), Some(State::Queued));
}

pub(in crate::store) async fn a_paused_batch_ends_with_its_last_request(db: &impl Backend) {
    let store = db.open().await;
    let id = queued(&store, &[1]).await;
    claim(&store, ExecutorId::now()).await.unwrap();
    store.pause(id).await.unwrap();
    assert!(store.commit(id, &segment(&[(0, &[0])]), 60).await.unwrap().batch_done);
    assert_eq!(store.pause(id).await.unwrap(), Some(State::Finalizing), "too late");
    assert_eq!(store.resume(id).await.unwrap(), Some(State::Finalizing));
    assert!(store.finish(id, &Outputs::default(), 61).await.unwrap());
    assert_eq!(state(&store, id).await, State::Completed);
}

pub(in crate::store) async fn a_paused_batch_is_cancelled(db: &impl Backend) {
    let store = db.open().await;
    let id = queued(&store, &[1, 1]).await;
    let me = ExecutorId::now();
    let (held, _) = claim(&store, me).await.unwrap();
    store.pause(id).await.unwrap();
    let cancelled = store.cancel(id, 60).await.unwrap().unwrap();
    assert_eq!(cancelled, Cancellation { state: State::Cancelling, revoked: vec![(me, held.lease)] });
    assert_eq!(store.pause(id).await.unwrap(), Some(State::Cancelling), "too late");
    assert_eq!(store.resume(id).await.unwrap(), Some(State::Cancelling));
    audit(&store, id, &HashMap::new()).await;
}

pub(in crate::store) async fn an_overdue_batch_expires_and_keeps_what_is_done(db: &impl Backend) {
    let store = db.open().await;
    let id = due_at_100(&store, &[2, 2]).await;
    let other = queued(&store, &[1]).await;
    assert_eq!((batch(&store, id).await.deadline, batch(&store, other).await.deadline), (Some(100), None));
    let me = ExecutorId::now();
    let (held, _) = claim(&store, me).await.unwrap();
    let first = segment(&[(0, &[0])]);
    store.commit(id, &first, 99).await.unwrap();
    assert_eq!(store.end_overdue(99, 9).await.unwrap(), [], "not yet");
    let ended = Cancellation { state: State::Finalizing, revoked: vec![(me, held.lease)] };
    assert_eq!(store.end_overdue(100, 9).await.unwrap(), [(id, ended)]);
    assert_eq!(store.end_overdue(101, 9).await.unwrap(), [], "once");
    let expired = batch(&store, id).await;
    assert_eq!((expired.state, expired.expired), (State::Finalizing, true));
    assert_eq!(expired.reason, "COMPLETION_WINDOW_ENDED");
    assert_eq!(store.heartbeat(me, &[held], 200).await.unwrap(), [held.lease]);
    assert_eq!(claim(&store, me).await.unwrap().1.batch, other, "nothing of it is leased any more");
    assert_eq!(store.cancel(id, 101).await.unwrap().unwrap().state, State::Finalizing, "too late");
    assert!(!store.finish(id, &Outputs::default(), 102).await.unwrap(), "three are open");

    let rest = segment(&[(0, &[1]), (1, &[0, 1])]);
    let commit = store.commit(id, &rest, 103).await.unwrap();
    assert_eq!((commit.accepted, commit.batch_done), (3, true));
    let all = [(first.id, first), (rest.id, rest)].into();
    audit(&store, id, &all).await;
    assert!(store.finish(id, &Outputs::default(), 104).await.unwrap());
    let ended = batch(&store, id).await;
    assert_eq!((ended.state, ended.ended, &*ended.reason), (State::Expired, Some(104), ""));
}

pub(in crate::store) async fn a_batch_that_is_final_in_time_does_not_expire(db: &impl Backend) {
    let store = db.open().await;
    let id = due_at_100(&store, &[1]).await;
    store.commit(id, &segment(&[(0, &[0])]), 99).await.unwrap();
    assert_eq!(store.end_overdue(200, 9).await.unwrap(), [], "its outputs may be written later");
    assert!(store.finish(id, &Outputs::default(), 201).await.unwrap());
    assert_eq!(state(&store, id).await, State::Completed);
    let id = due_at_100(&store, &[1]).await;
    store.cancel(id, 99).await.unwrap();
    assert_eq!(store.end_overdue(200, 9).await.unwrap(), [], "it is cancelled, and stays so");
}

pub(in crate::store) async fn paused_and_unplanned_batches_expire_too(db: &impl Backend) {
    let store = db.open().await;
    let paused = due_at_100(&store, &[1]).await;
    store.pause(paused).await.unwrap();
    let unplanned = planning_with(&store, |batch| batch.deadline = Some(50)).await;
    store.add_chunks(unplanned, plan(), &[new_chunk(0, 1)]).await.unwrap();
    assert_eq!(store.end_overdue(100, 1).await.unwrap().len(), 1, "as many as asked for");
    let at_once = batch(&store, unplanned).await;
    assert_eq!((at_once.state, at_once.ended, at_once.chunks.total), (State::Expired, Some(100), 0));
    assert!(!store.activate(unplanned, &planned(1, 1), 101).await.unwrap());
    let ended = store.end_overdue(100, 9).await.unwrap();
    assert_eq!(ended, [(paused, Cancellation { state: State::Finalizing, revoked: Vec::new() })]);
    assert_eq!(store.resume(paused).await.unwrap(), Some(State::Finalizing), "too late");
}

pub(in crate::store) async fn racing_replicas_expire_a_batch_once(db: &impl Backend) {
    let store = std::sync::Arc::new(db.open().await);
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(due_at_100(&*store, &[1]).await);
    }
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let store = std::sync::Arc::clone(&store);
        tasks.spawn(async move { store.end_overdue(100, 9).await.unwrap() });
    }
    let mut ended: Vec<_> = tasks.join_all().await.into_iter().flatten().map(|(id, _)| id).collect();
    ended.sort_unstable();
    assert_eq!(ended, ids);
}

pub(in crate::store) async fn a_retry_opens_its_input_and_is_linked(db: &impl Backend) {
    let store = db.open().await;
    let of = queued(&store, &[1]).await;
    let retry = |input: FileId, kinds| NewBatch {
        request_id: Some("again".into()),
        retry: Some(Retry { of, kinds }),
        ..new_batch(input)
    };
    let new = retry(FileId::now(), 6);
    let Creation::Created(first) = store.create_batch(&new).await.unwrap() else { panic!("not created") };
    assert_eq!((first.retry, first.state), (new.retry, State::Validating));
    let input = store.file(new.input).await.unwrap().unwrap();
    assert_eq!((input.ready, input.size, input.purpose), (false, 0, v1::file::Purpose::Batch));
    let again = retry(FileId::now(), 6);
    assert_eq!(store.create_batch(&again).await.unwrap(), Creation::Existing(first.clone()));
    assert_eq!(store.file(again.input).await.unwrap(), None, "and its input is not opened");
    assert_eq!(store.create_batch(&retry(FileId::now(), 2)).await.unwrap(), Creation::Reused);
    assert_eq!(store.delete_file(new.input).await.unwrap(), FileDeletion::InUse);
    let second = NewBatch { request_id: None, ..retry(FileId::now(), 2) };
    store.create_batch(&second).await.unwrap();
    assert_eq!(store.retries(of, 9).await.unwrap(), [first.id, second.id]);
    assert_eq!(store.retries(of, 1).await.unwrap(), [first.id]);
    assert_eq!(store.retries(first.id, 9).await.unwrap(), []);
}
