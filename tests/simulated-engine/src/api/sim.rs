//! The control of the simulation over HTTP: faults, statistics, deaths.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;

use crate::engine::Engine;
use crate::fault::Rule;
use crate::stats::Snapshot;

/// One rule or a list of them.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Rules {
    Many(Vec<Rule>),
    One(Box<Rule>),
}

pub(super) async fn add_faults(State(engine): State<Arc<Engine>>, Json(rules): Json<Rules>) -> StatusCode {
    let rules = match rules {
        Rules::Many(rules) => rules,
        Rules::One(rule) => vec![*rule],
    };
    rules.into_iter().for_each(|rule| engine.faults.add(rule));
    StatusCode::NO_CONTENT
}

pub(super) async fn clear_faults(State(engine): State<Arc<Engine>>) -> StatusCode {
    engine.faults.clear();
    StatusCode::NO_CONTENT
}

pub(super) async fn stats(State(engine): State<Arc<Engine>>) -> Json<Snapshot> {
    Json(engine.stats.snapshot())
}

pub(super) async fn reset(State(engine): State<Arc<Engine>>) -> StatusCode {
    engine.stats.reset();
    engine.faults.clear();
    StatusCode::NO_CONTENT
}

/// Kills the runner.
pub(super) async fn crash(State(engine): State<Arc<Engine>>) -> StatusCode {
    engine.scheduler.crash();
    StatusCode::NO_CONTENT
}

/// Stops the runner in the middle of whatever it does.
pub(super) async fn freeze(State(engine): State<Arc<Engine>>) -> StatusCode {
    engine.scheduler.freeze(true);
    StatusCode::NO_CONTENT
}

/// Lets a frozen runner go on.
pub(super) async fn thaw(State(engine): State<Arc<Engine>>) -> StatusCode {
    engine.scheduler.freeze(false);
    StatusCode::NO_CONTENT
}

/// An eviction that never ends.
pub(super) async fn deadlock(State(engine): State<Arc<Engine>>) -> StatusCode {
    engine.scheduler.deadlock(true);
    StatusCode::NO_CONTENT
}

/// The end of a deadlock.
pub(super) async fn release(State(engine): State<Arc<Engine>>) -> StatusCode {
    engine.scheduler.deadlock(false);
    StatusCode::NO_CONTENT
}

/// Kills the process; there is no answer.
pub(super) async fn exit(State(engine): State<Arc<Engine>>) -> StatusCode {
    engine.process.die();
    std::future::pending().await
}
