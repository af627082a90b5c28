//! Calibration of a model before its first request, where that is allowed.

use std::{collections::HashSet, path::PathBuf, sync::Arc};

use tokio::sync::Mutex;
use url::Url;

use crate::{
    calibrate::{self, Logged, Subject, shelf::Shelf},
    engine::bare,
    ledger::Ledger,
    options::{EngineOptions, Options},
    unit::Unit,
    vram::Vram,
};

/// Calibrates the models of one engine, each before it is first used: one at a time, with nothing else on
/// the engine.
#[derive(Debug)]
pub(crate) struct FirstUse {
    place: usize,
    unit: Arc<Unit>,
    vram: Arc<Vram>,
    shelf: Arc<Shelf>,
    ledger: Arc<Ledger>,
    options: calibrate::Options,
    host: String,
    url: Option<Url>,
    nvml: PathBuf,
    /// Models that need none, or had theirs, well or not. Held while one is calibrated: the others wait.
    settled: Mutex<HashSet<String>>,
}

// === impl FirstUse ===

impl FirstUse {
    /// For the engine at `place` of `options`; none if it is not allowed.
    pub(crate) fn new(
        options: &Options,
        place: usize,
        engine: &EngineOptions,
        unit: &Arc<Unit>,
        vram: &Arc<Vram>,
        shelf: &Arc<Shelf>,
        ledger: &Arc<Ledger>,
    ) -> Option<Self> {
        options.calibration.first_use.then(|| Self {
            place,
            unit: Arc::clone(unit),
            vram: Arc::clone(vram),
            shelf: Arc::clone(shelf),
            ledger: Arc::clone(ledger),
            options: options.calibration_of(engine),
            host: options.host_name(),
            url: engine.url.clone(),
            nvml: options.nvml_library.clone(),
            settled: Mutex::default(),
        })
    }

    /// Sees to it that `model` is calibrated. An engine that is at work is not kept from it: then a later
    /// chunk sees to it. Cut off when dropped; what was measured is kept where there is a directory for it.
    pub(crate) async fn of(&self, model: &str) {
        let mut settled = self.settled.lock().await;
        if settled.contains(bare(model)) {
            return;
        }
        let engine = self.vram.tell(self.place, self.unit.snapshot(&[]));
        if !self.shelf.holds(model, &engine) {
            let Some(_held) = self.unit.gate.hold() else { return };
            tracing::info!(engine = &*self.unit.id, model, "calibrating before its first use");
            self.calibrate(model).await;
        }
        settled.insert(bare(model).to_owned());
    }

    async fn calibrate(&self, model: &str) {
        let (url, host) = (self.url.as_ref(), self.host.clone());
        let subject = Subject::running(&self.unit, model, url, &self.nvml, host);
        match calibrate::calibrate(subject, &self.options, &Logged).await {
            Ok(profile) => {
                if let Err(error) = self.shelf.keep(profile) {
                    tracing::warn!(model, %error, "its profile is kept until the process ends");
                }
                self.ledger.report();
            }
            Err(error) => tracing::warn!(model, %error, "not calibrated"),
        }
    }
}
