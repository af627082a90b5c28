//! An engine as the planner sees it.

use caravan_proto::v1;
use tokio::time::Instant;

use super::Unit;
use crate::{
    engine::{Model, same_model},
    gate::Refused,
    ledger::AtWork,
    manage::Managed,
};

// === impl Unit ===

impl Unit {
    /// As it is now. Models that it could not run lately are left out, or shown with the
    /// context that may still fit.
    pub(crate) fn snapshot(&self, at_work: &[AtWork]) -> v1::Engine {
        let health = self.health.now();
        let refused = self.gate.refused();
        let state = match (health.up, &health.description.unfit) {
            (true, _) => v1::engine::State::Ready,
            (false, Some(_)) => v1::engine::State::Unfit,
            (false, None) => v1::engine::State::Down,
        };
        let managed = self.managed.as_deref();
        let launch = managed.map(Managed::launch);
        let models = health.description.models.iter().filter_map(|model| self.model(model, &refused));
        v1::Engine {
            id: self.id.to_string(),
            kind: super::contract_kind(self.engine.kind()).into(),
            models: models.collect(),
            version: health.description.version,
            slots: int32(self.lanes.now()),
            state: state.into(),
            message: refused.iter().fold(health.message, with_refused),
            lanes: at_work.iter().filter(|work| work.lane.engine == self.id).map(lane).collect(),
            tokens_per_second: self.speed.tokens_per_second(Instant::now()),
            managed: managed.is_some(),
            swa_full: launch.as_ref().is_some_and(|launch| launch.swa_full),
            kv_type: launch.and_then(|launch| launch.kv_type).unwrap_or_default(),
            notes: managed.and_then(Managed::note).into_iter().chain(self.notes.all()).collect(),
            ..Default::default()
        }
    }

    fn model(&self, model: &Model, refused: &[Refused]) -> Option<v1::Model> {
        let refused = refused.iter().find(|refused| same_model(&refused.model, &model.name));
        let below = match refused {
            Some(Refused { below: 0, .. }) => return None,
            Some(refused) => Some(refused.below - 1),
            None => None,
        };
        let contexts = [model.max_context, self.max_context, below];
        let loaded = model.loaded.unwrap_or_default();
        Some(v1::Model {
            name: model.name.clone(),
            digest: model.digest.clone(),
            max_context: contexts.into_iter().flatten().min().map_or(0, int64),
            chat: model.chat,
            embedding: model.embedding,
            loaded_context: int64(loaded.context),
            size_bytes: int64(loaded.size),
            size_vram_bytes: int64(loaded.size_vram),
            vocabulary: model.vocabulary.clone(),
            sliding_window: model.sliding_window.map_or(0, int64),
        })
    }
}

fn with_refused(mut message: String, Refused { model, why, below }: &Refused) -> String {
    if !message.is_empty() {
        message.push_str("; ");
    }
    match below {
        0 => message.push_str(&format!("model {model} is not usable here: {why}")),
        _ => {
            message.push_str(&format!("model {model} does not fit with a context of {below} or more: {why}"))
        }
    }
    message
}

fn lane(work: &AtWork) -> v1::Lane {
    v1::Lane {
        index: int32(work.lane.index),
        batch: work.batch.clone(),
        chunk: work.chunk,
        done: int32(work.done),
        total: int32(work.total),
    }
}

/// A count as the contract has it.
fn int32(count: impl TryInto<i32>) -> i32 {
    count.try_into().unwrap_or(i32::MAX)
}

/// A size as the contract has it.
fn int64(size: u64) -> i64 {
    size.try_into().unwrap_or(i64::MAX)
}
