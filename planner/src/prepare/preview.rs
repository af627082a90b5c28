//! Plans as the contract has them.

use caravan_plan::{Origin, Plan, Strategy, Warning};
use caravan_proto::v1;

use crate::intake::Scanned;

/// Groups that a plan shows.
const SHOWN: usize = 100;

/// The plan for people and programs.
pub(super) fn plan(scanned: &Scanned, plan: &Plan, rejected_lines: u64, notes: Vec<String>) -> v1::Plan {
    let summary = &plan.summary;
    let mut warnings: Vec<String> = summary.warnings.iter().map(Warning::to_string).collect();
    warnings.extend(notes);
    let estimated = summary.estimated_duration;
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
        estimated_duration: estimated.map(|time| prost_types::Duration {
            seconds: signed(time.0 / 1_000_000),
            nanos: i32::try_from(time.0 % 1_000_000 * 1_000).unwrap_or_default(),
        }),
        rejected_lines: signed(rejected_lines),
        groups: groups(scanned, plan),
        group_count: signed(summary.groups),
        warnings,
        reserved_answer_tokens: signed(summary.reserved_answer_tokens.0),
        ..Default::default()
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

fn groups(scanned: &Scanned, plan: &Plan) -> Vec<v1::PlanGroup> {
    let mut largest: Vec<usize> = (0..plan.groups.len()).filter(|i| plan.groups[*i].requests > 0).collect();
    largest.sort_by_key(|index| std::cmp::Reverse(plan.groups[*index].requests));
    let shown = largest.into_iter().take(SHOWN).filter_map(|index| {
        let (group, known) = (plan.groups.get(index)?, scanned.groups.get(index)?);
        Some(v1::PlanGroup {
            model: scanned.models.get(known.model as usize).cloned()?,
            endpoint: known.endpoint.as_str().to_owned(),
            requests: i64::from(group.requests),
            chunks: i64::from(group.chunks),
            prefix_tokens: signed(group.prefix_tokens.0),
            lanes: i32::try_from(group.shares).unwrap_or(i32::MAX),
            ..Default::default()
        })
    });
    shown.collect()
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
