//! A sign of life: what is held, what runs, and what with.

use caravan_proto::v1::{self, WorkHeartbeat};

use super::Session;
use crate::ledger::AtWork;

// === impl Session ===

impl Session {
    /// Everything as it is now. Profiles that hold for what is there now follow.
    pub(super) fn heartbeat(&self) -> WorkHeartbeat {
        let at_work = self.ledger.at_work();
        let (gpus, gpu_unavailable) = match self.vram.gpus() {
            Ok(gpus) => (gpus, String::new()),
            Err(why) => (Vec::new(), why),
        };
        let engines = self.engines(&at_work);
        self.ledger.give_profiles(self.shelf.fresh(&engines));
        WorkHeartbeat { leases: self.ledger.statuses(), engines, gpus, gpu_unavailable }
    }

    /// Every engine, with what it has of the VRAM.
    pub(super) fn engines(&self, at_work: &[AtWork]) -> Vec<v1::Engine> {
        let units = self.units.iter().enumerate();
        units.map(|(place, unit)| self.vram.tell(place, unit.snapshot(at_work))).collect()
    }
}
