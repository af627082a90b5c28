//! The laws of the store, the same for every backend: `laws!(Backend)` makes a test of each.

mod audit;
pub(super) mod batches;
pub(super) mod claims;
pub(super) mod concurrent;
pub(super) mod files;
pub(super) mod fleet;
pub(super) mod keys;
pub(super) mod leases;
pub(super) mod lifecycle;
pub(super) mod random;
pub(super) mod results;
pub(super) mod retention;
pub(super) mod tenants;
pub(super) mod usage;
pub(super) mod webhooks;

use caravan_proto::{
    Tenant,
    name::{BatchId, ExecutorId, FileId, LeaseId, PlanId, SegmentId},
    v1,
};

use super::*;

/// A database for one test.
pub(super) trait Backend: Sized {
    /// What it is a database for.
    type Store: Store;
    /// An empty one.
    async fn fresh() -> Self;
    /// Opens it: the first time, or after its store was dropped without a word.
    async fn open(&self) -> Self::Store;
}

macro_rules! laws {
    ($backend:ident) => {
        $crate::store::suite::laws! { $backend;
            files: an_upload_goes_on_where_it_stands, an_upload_id_opens_one_file, parts_race_and_one_wins,
                files_are_listed_as_asked_for, a_file_in_use_stays;
            batches: a_request_id_creates_one_batch, defaults_are_kept_apart, a_batch_needs_a_ready_input, revisions_are_those_of_the_batches_there_are, racing_creations_make_one_batch,
                batches_are_listed_by_state, a_plan_is_activated, a_plan_of_another_size_is_refused,
                a_batch_without_chunks_is_finalized, a_batch_is_rejected, a_provisional_plan_is_made_anew, chunks_are_of_the_latest_plan,
                nothing_is_leased_of_a_provisional_plan, a_reason_goes_with_its_state, cancelling_revokes_leases,
                an_unplanned_batch_is_cancelled_at_once, a_cancelled_batch_ends_when_nothing_is_open,
                deletion_leaves_nothing, every_change_is_a_revision;
            lifecycle: a_paused_batch_keeps_its_leases_and_gives_none, a_batch_that_never_ran_is_queued_again,
                a_batch_is_paused_before_it_is_planned, a_paused_batch_ends_with_its_last_request,
                a_paused_batch_is_cancelled, an_overdue_batch_expires_and_keeps_what_is_done,
                a_batch_that_is_final_in_time_does_not_expire, paused_and_unplanned_batches_expire_too,
                racing_replicas_expire_a_batch_once, a_retry_opens_its_input_and_is_linked;
            claims: a_theft_must_pay, what_nobody_may_steal_holds_no_lane_up, a_warm_lane_goes_on_with_its_share, a_cold_lane_begins_a_share, the_tail_is_stolen_last,
                priority_then_age_decide, a_warm_lane_yields_to_priority, only_qualified_engines_claim, only_queued_and_running_batches_are_claimed,
                the_first_claim_pins_the_digest, a_model_is_pinned_by_itself, who_may_not_pin_waits_for_a_pin,
                the_first_claim_starts_a_batch, lanes_are_answered_together, no_chunk_is_claimed_twice, claims_stay_quick;
            leases: a_heartbeat_renews_what_it_names, an_expired_lease_is_revived, a_claimed_chunk_is_not_revived,
                a_lease_is_fenced, a_chunk_handed_back_is_queued, leases_are_listed;
            results: results_are_counted, a_result_is_final_once, an_old_lease_still_delivers,
                results_count_in_the_states_that_take_them, an_empty_commit_registers_nothing,
                cursors_have_no_gaps, segments_read_the_same_from_shared_rows, racing_twins_count_once, usage_is_added_up, chunks_are_compacted_once,
                everything_outlasts_the_process;
            fleet: executors_are_remembered, what_a_file_became_is_remembered, the_newest_profile_stays,
                a_profile_is_of_one_engine_and_gpu, the_latest_answers_weigh_most;
            retention: a_database_has_one_identity, a_batch_is_retired_when_it_was_kept_long_enough,
                an_input_goes_with_its_last_batch, open_files_are_found_by_age, outputs_that_no_batch_has_are_found;
            usage: usage_outlasts_its_batches, usage_is_of_tenant_day_and_model, twins_are_used_once, usage_is_listed_page_by_page,
                no_number_of_an_executor_stops_a_commit, racing_commits_lose_nothing;
            tenants: a_file_is_its_tenants_alone, a_batch_is_its_tenants_alone, a_tenant_has_as_much_under_way_as_it_may,
                tokens_are_queued_until_their_requests_are_final, the_input_of_a_retry_is_its_tenants;
            keys: a_key_is_found_by_its_hash_alone, a_key_is_revoked_once_and_for_ever, keys_are_listed_newest_first;
            webhooks: an_end_is_told_once_it_has_come, an_end_that_was_not_taken_is_told_later,
                the_ends_of_one_tenant_do_not_hold_up_anothers;
            random: any_order_keeps_the_laws;
            concurrent: nobody_waits_for_ever, what_is_exclusive_has_one_holder, time_goes_on;
        }
    };
    ($backend:ident; $($module:ident: $($law:ident),+;)+) => {$(
        mod $module {
            use crate::store::suite::{self, Backend as _};
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $law() {
                    suite::$module::$law(&super::$backend::fresh().await).await;
                }
            )+
        }
    )+};
}
pub(super) use laws;

/// A lease's time to live in the tests.
const TTL: Micros = 1_000;

/// The states that a reason may go with.
const OPEN: [State; 3] = [State::Queued, State::Running, State::Cancelling];

/// A file that is ready.
pub(super) async fn input(store: &impl Store) -> FileId {
    let id = FileId::now();
    store.open_file(&new_file(id, None)).await.unwrap();
    assert!(store.append_part(id, 0, 10).await.unwrap());
    assert!(store.close_file(id, "5ha").await.unwrap());
    id
}

fn new_file(id: FileId, upload_id: Option<&str>) -> NewFile {
    NewFile {
        id,
        tenant: Tenant::default(),
        upload_id: upload_id.map(Into::into),
        filename: "in.jsonl".into(),
        purpose: v1::file::Purpose::Batch,
        created: 1,
    }
}

fn new_batch(input: FileId) -> NewBatch {
    let spec = v1::Batch {
        input_file: input.name(),
        metadata: [("a".into(), "1".into()), ("b".into(), "2".into())].into(),
        ..Default::default()
    };
    NewBatch {
        id: BatchId::now(),
        tenant: Tenant::default(),
        request_id: None,
        spec,
        input,
        created: 5,
        deadline: None,
        retry: None,
        quota: Quota::default(),
    }
}

/// A batch in state planning, without chunks.
async fn planning(store: &impl Store) -> BatchId {
    planning_with(store, |_| ()).await
}

async fn planning_with(store: &impl Store, edit: impl FnOnce(&mut NewBatch)) -> BatchId {
    let mut batch = new_batch(input(store).await);
    edit(&mut batch);
    assert!(matches!(store.create_batch(&batch).await.unwrap(), Creation::Created(_)));
    assert!(store.advance(batch.id, &[State::Validating], State::Planning, 6).await.unwrap());
    assert!(store.reset_plan(batch.id, plan()).await.unwrap());
    batch.id
}

/// A queued batch with chunks of these sizes, one share.
pub(crate) async fn queued(store: &impl Store, sizes: &[i32]) -> BatchId {
    let chunks: Vec<_> = sizes.iter().zip(0..).map(|(&size, number)| new_chunk(number, size)).collect();
    queued_with(store, &chunks).await
}

async fn queued_with(store: &impl Store, chunks: &[NewChunk]) -> BatchId {
    let id = planning(store).await;
    activate(store, id, chunks).await;
    id
}

async fn activate(store: &impl Store, id: BatchId, chunks: &[NewChunk]) {
    store.add_chunks(id, plan(), chunks).await.unwrap();
    let total = chunks.iter().map(|chunk| i64::from(chunk.size)).sum();
    assert!(store.activate(id, &planned(chunks.len(), total), 7).await.unwrap());
}

/// The plan of every batch that is planned once.
fn plan() -> PlanId {
    uuid::Uuid::from_u128(7).into()
}

fn planned(chunks: usize, total: i64) -> Planned {
    Planned {
        id: plan(),
        total,
        chunks: i64::try_from(chunks).unwrap(),
        plan: v1::Plan { requests: total, ..Default::default() },
        provisional: false,
        line_errors: Vec::new(),
        line_error_count: 0,
        rejected: None,
    }
}

fn new_chunk(number: i32, size: i32) -> NewChunk {
    NewChunk {
        number,
        group: 0,
        share: 0,
        share_head: number == 0,
        stealable: true,
        model: "m".into(),
        kinds: 0b10,
        context: 100,
        size,
    }
}

fn wanted(executor: ExecutorId) -> Wanted {
    Wanted {
        lease: LeaseId::now(),
        executor,
        engine: "gpu0".into(),
        lane: 3,
        models: vec![offer("other", 0), offer("m", 100)],
        kind: 0b10,
        warm: None,
        now: 50,
        deadline: 50 + TTL,
    }
}

/// A model that may pin its digest.
fn offer(model: &str, context: i64) -> Offer {
    Offer { model: model.into(), context, digest: format!("{model}1"), pins: true }
}

/// Claims a chunk: the lease and what was claimed.
pub(super) async fn claim(store: &impl Store, executor: ExecutorId) -> Option<(Held, Claim)> {
    claim_with(store, wanted(executor)).await
}

/// As [`claim`], of whoever comes.
pub(crate) async fn claimed_by_any(store: &impl Store) -> Option<(Held, Claim)> {
    claim(store, ExecutorId::now()).await
}

async fn claim_with(store: &impl Store, wanted: Wanted) -> Option<(Held, Claim)> {
    let claim = store.claim(std::slice::from_ref(&wanted)).await.unwrap().pop().unwrap()?;
    Some((Held { lease: wanted.lease, epoch: claim.epoch, started: false }, claim))
}

/// A segment of successes, one piece for each (chunk, indexes).
pub(super) fn segment(pieces: &[(i32, &[i32])]) -> NewSegment {
    let record = |&index: &i32| Record { index, succeeded: true, usage: v1::Usage::default() };
    let piece = |(&(chunk, indexes), position): (&(i32, &[i32]), i64)| NewPiece {
        chunk,
        offset: position * 100,
        bytes: 100,
        records: indexes.iter().map(record).collect(),
    };
    let pieces: Vec<_> = pieces.iter().zip(0..).map(piece).collect();
    NewSegment { id: SegmentId::now(), bytes: i64::try_from(pieces.len()).unwrap() * 100, pieces }
}

async fn batch(store: &impl Store, id: BatchId) -> Batch {
    store.batch(id).await.unwrap().unwrap()
}

async fn state(store: &impl Store, id: BatchId) -> State {
    batch(store, id).await.state
}
