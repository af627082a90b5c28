//! Plans and previews as the contract has them.

use caravan_plan::{Micros, Origin, Plan, Reuse, Strategy, Warning};
use caravan_prefix::volatile;
use caravan_proto::v1;

use super::{
    draw::{Draft, Drawn},
    reject::Rejects,
};
use crate::store::State;

/// Groups that a plan shows.
const SHOWN: usize = 100;
/// Volatile prefixes that it shows.
const VOLATILE: usize = 20;
/// Bytes of text for a token, where only an order of magnitude is needed.
const BYTES_PER_TOKEN: u64 = 4;

/// The batch as it would be, without its defaults.
pub(super) fn batch(spec: &v1::Batch, draft: Draft, rejects: Rejects) -> v1::Batch {
    let mut batch = v1::Batch { line_errors: rejects.shown, defaults: String::new(), ..spec.clone() };
    batch.line_error_count = signed(rejects.errors);
    let total = match draft {
        Draft::Drawn(drawn) => {
            batch.state = State::Queued.into();
            batch.plan = Some(plan(&drawn, rejects.lines));
            let chunks = signed(drawn.plan.chunks.len() as u64);
            batch.chunks = Some(v1::ChunkCounts { total: chunks, done: 0, running: 0 });
            drawn.scanned.total
        }
        Draft::Fatal { total, error } => {
            (batch.state, batch.state_reason) = (State::Failed.into(), error.code.as_str().to_uppercase());
            batch.state_message = error.message;
            batch.line_error_count += 1;
            total
        }
        Draft::Invalid { total } => {
            (batch.state, batch.state_reason) = (State::Failed.into(), "INVALID_LINES".into());
            batch.state_message = format!("invalid lines: {} of {total}", rejects.lines);
            total
        }
    };
    let failed = signed(rejects.lines);
    batch.requests = Some(v1::RequestCounts { total: signed(total), succeeded: 0, failed });
    batch
}

/// The plan for people and programs.
pub(super) fn plan(drawn: &Drawn, rejected_lines: u64) -> v1::Plan {
    let plan = &drawn.plan;
    let summary = &plan.summary;
    let warnings = summary.warnings.iter().map(Warning::to_string).chain(drawn.notes.iter().cloned());
    v1::Plan {
        origin: origin(summary.origin).into(),
        requests: signed(summary.requests),
        chunks: signed(plan.chunks.len() as u64),
        largest_chunk: i64::from(summary.largest_chunk),
        largest_context: signed(summary.largest_context.0),
        prompt_tokens_without: signed(summary.prompt_tokens_without.0),
        prompt_tokens_with: signed(summary.prompt_tokens_with.0),
        savings: summary.savings(),
        prefix_evaluations: signed(summary.prefix_evaluations),
        token_basis: basis(plan).into(),
        lanes: i32::try_from(summary.lanes).unwrap_or(i32::MAX),
        estimated_duration: summary.estimated_duration.map(duration),
        rejected_lines: signed(rejected_lines),
        groups: groups(drawn),
        group_count: signed(summary.groups),
        warnings: warnings.collect(),
        reserved_answer_tokens: signed(summary.reserved_answer_tokens.0),
        output_tokens: signed(summary.output_tokens.0),
        output_basis: output_basis(plan).into(),
        chunk_histogram: bins(plan),
        volatile_prefixes: drawn.scanned.volatile.iter().take(VOLATILE).map(volatile_prefix).collect(),
        engines: drawn.engines.iter().take(SHOWN).cloned().collect(),
        engine_count: signed(drawn.engines.len() as u64),
        lane_time: summary.lane_time.map(duration),
        payload_bytes: signed(summary.payload.0),
        allowed_answer_tokens: signed(summary.allowed_tokens.0),
        unstated_requests: signed(summary.unstated_requests),
    }
}

fn duration(time: Micros) -> prost_types::Duration {
    prost_types::Duration {
        seconds: signed(time.0 / 1_000_000),
        nanos: i32::try_from(time.0 % 1_000_000 * 1_000).unwrap_or_default(),
    }
}

fn bins(plan: &Plan) -> Vec<v1::ChunkBin> {
    let bin = |bin: &caravan_plan::ChunkBin| v1::ChunkBin {
        max_requests: bin.max_requests.into(),
        chunks: bin.chunks.into(),
    };
    plan.summary.chunk_bins.iter().map(bin).collect()
}

fn output_basis(plan: &Plan) -> v1::Basis {
    if plan.summary.output_learned { v1::Basis::Measured } else { v1::Basis::Estimated }
}

fn volatile_prefix(finding: &volatile::Finding) -> v1::VolatilePrefix {
    v1::VolatilePrefix {
        field: format!("body.{}", finding.field()),
        offset: finding.offset.into(),
        kind: match finding.kind {
            volatile::Kind::DateTime => "time",
            volatile::Kind::Id => "id",
            volatile::Kind::Number => "number",
            volatile::Kind::Other => "text",
        }
        .to_owned(),
        requests: finding.requests.into(),
        tokens: signed(finding.lost / BYTES_PER_TOKEN),
    }
}

/// Why engines do not reuse the prefix of a group of this model.
fn not_reused(drawn: &Drawn, model: usize, reuse: Reuse) -> String {
    const WAY_OUT: &str = "LLAMA_ARG_SWA_FULL=1 reuses it, for more memory";
    match reuse {
        Reuse::Kept => String::new(),
        Reuse::WithinWindow { window } => {
            format!("the prefix is not longer than the model's sliding window of {window} tokens: {WAY_OUT}")
        }
        Reuse::BeyondBatch { largest } => {
            format!(
                "what follows the prefix is longer than {largest} tokens, the largest num_batch: {WAY_OUT}"
            )
        }
        Reuse::Refuted { point } => {
            let point = point as usize;
            let length = drawn.fleets.get(model).and_then(|fleet| fleet.reuse.get(point));
            let length = length.map_or(0, |point| point.prefix.0);
            let needs = drawn.needs.get(model).and_then(|needs| needs.get(point));
            let needs = needs
                .filter(|needs| !needs.is_empty())
                .map_or(String::new(), |n| format!("; what it needs: {n}"));
            format!("calibration saw a prefix of {length} tokens evaluated anew with every request{needs}")
        }
    }
}

/// How requests share their prompt, as the contract has it.
pub(super) fn strategy(strategy: Strategy) -> v1::Strategy {
    match strategy {
        Strategy::Independent => v1::Strategy::Independent,
        Strategy::Conversation => v1::Strategy::Conversation,
    }
}

fn basis(plan: &Plan) -> v1::Basis {
    let summary = &plan.summary;
    match summary.estimated_requests {
        0 => v1::Basis::Measured,
        some if some == summary.requests => v1::Basis::Estimated,
        _ => v1::Basis::Mixed,
    }
}

fn origin(origin: Origin) -> v1::plan::Origin {
    match origin {
        Origin::Stated => v1::plan::Origin::Stated,
        Origin::Profile => v1::plan::Origin::Profile,
        Origin::Reported => v1::plan::Origin::Reported,
        Origin::Configured => v1::plan::Origin::Configured,
    }
}

fn groups(drawn: &Drawn) -> Vec<v1::PlanGroup> {
    let plan = &drawn.plan;
    let mut largest: Vec<usize> = (0..plan.groups.len()).filter(|i| plan.groups[*i].requests > 0).collect();
    largest.sort_by_key(|index| std::cmp::Reverse(plan.groups[*index].requests));
    let shown = largest.into_iter().take(SHOWN).filter_map(|index| {
        let (group, known) = (plan.groups.get(index)?, drawn.groups.get(index)?);
        Some(v1::PlanGroup {
            model: drawn.scanned.models.get(known.class.model as usize).cloned()?,
            endpoint: known.class.endpoint.as_str().to_owned(),
            requests: i64::from(group.requests),
            chunks: i64::from(group.chunks),
            prefix_tokens: signed(group.prefix_tokens.0),
            lanes: i32::try_from(group.shares).unwrap_or(i32::MAX),
            shared_messages: i32::try_from(known.shared_messages).unwrap_or(i32::MAX),
            not_reused: not_reused(drawn, known.class.model as usize, group.reuse),
        })
    });
    shown.collect()
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
