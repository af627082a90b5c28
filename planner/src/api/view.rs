//! Rows as the contract has them.

use caravan_proto::v1;

use crate::{
    clock::{self, timestamp},
    results,
    store::{Batch, File, Pin, State},
};

pub(super) fn file(file: &File) -> v1::File {
    let state = if file.ready { v1::file::State::Ready } else { v1::file::State::Uploading };
    v1::File {
        name: file.id.name(),
        filename: file.filename.clone(),
        purpose: file.purpose.into(),
        state: state.into(),
        size_bytes: file.size,
        sha256: file.sha256.clone(),
        create_time: Some(timestamp(file.created)),
    }
}

/// The whole batch, but for its defaults.
pub(super) fn batch(batch: Batch) -> v1::Batch {
    let report = results::report(&batch);
    let (reason, message) = reason(&batch);
    let purge_time = purge(&batch);
    let Batch { spec, plan, line_errors, .. } = batch;
    v1::Batch {
        name: batch.id.name(),
        state: batch.state.into(),
        state_reason: reason,
        state_message: message,
        requests: Some(batch.requests),
        chunks: Some(batch.chunks),
        usage: Some(batch.usage),
        plan,
        pinned_models: batch.pins.into_iter().map(pinned).collect(),
        output_file: batch.outputs.output.map(|id| id.name()).unwrap_or_default(),
        error_file: batch.outputs.error.map(|id| id.name()).unwrap_or_default(),
        line_errors,
        line_error_count: batch.line_error_count,
        create_time: Some(timestamp(batch.created)),
        plan_time: batch.planned.map(timestamp),
        start_time: batch.started.map(timestamp),
        last_commit_time: batch.last_commit.map(timestamp),
        end_time: batch.ended.map(timestamp),
        revision: batch.revision,
        report,
        expire_time: batch.deadline.map(timestamp),
        purge_time,
        retried_from: batch.retry.map(|retry| retry.of.name()).unwrap_or_default(),
        ..spec
    }
}

/// When it is removed, if it is.
fn purge(batch: &Batch) -> Option<prost_types::Timestamp> {
    Some(timestamp(batch.ended?.saturating_add(clock::length(batch.spec.retention?))))
}

/// Why it is in its state: of one that is to be paused, that.
fn reason(batch: &Batch) -> (String, String) {
    if batch.held && matches!(batch.state, State::Validating | State::Planning) {
        return ("PAUSE_REQUESTED".into(), "the batch stands paused once it is planned".into());
    }
    (batch.reason.clone(), batch.message.clone())
}

fn pinned(Pin { model, digest }: Pin) -> v1::PinnedModel {
    v1::PinnedModel { model, digest }
}

/// A batch for a list: without what can be long.
pub(super) fn short(batch: Batch) -> v1::Batch {
    v1::Batch { plan: None, line_errors: Vec::new(), ..self::batch(batch) }
}

/// Whether a batch in this state has ended.
pub(super) fn ended(state: State) -> bool {
    matches!(state, State::Completed | State::Failed | State::Cancelled | State::Expired)
}
