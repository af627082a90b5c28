//! What a calibration was measured on: it holds for that and for nothing else.

use caravan_proto::v1;
use serde::{Deserialize, Serialize};

/// What was measured on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) host: String,
    pub(crate) model: String,
    pub(crate) model_digest: String,
    /// As the contract numbers them.
    pub(crate) engine_kind: i32,
    pub(crate) engine_version: String,
    /// Product names; empty for a CPU.
    pub(crate) gpu: String,
    pub(crate) driver: String,
    /// Empty if not known.
    pub(crate) kv_type: String,
    pub(crate) swa_full: bool,
    /// Of what measured: another version may measure otherwise.
    pub(crate) caravan_version: String,
}

// === impl Identity ===

impl Identity {
    /// Of `model` on `engine`, as its executor describes it.
    pub(crate) fn of(host: &str, engine: &v1::Engine, model: &v1::Model) -> Self {
        Self {
            host: host.to_owned(),
            model: model.name.clone(),
            model_digest: model.digest.clone(),
            engine_kind: engine.kind,
            engine_version: engine.version.clone(),
            gpu: engine.gpu.clone(),
            driver: engine.driver.clone(),
            kv_type: engine.kv_type.clone(),
            swa_full: engine.swa_full,
            caravan_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}
