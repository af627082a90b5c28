//! A sign of life: what is held, what runs, and what with.

use caravan_proto::v1::WorkHeartbeat;

use super::Session;

// === impl Session ===

impl Session {
    /// Everything as it is now. Profiles that hold for what is there now follow.
    pub(super) fn heartbeat(&self) -> WorkHeartbeat {
        let at_work = self.ledger.at_work();
        let (gpus, gpu_unavailable) = match &*self.gpus.borrow() {
            Ok(gpus) => (gpus.clone(), String::new()),
            Err(why) => (Vec::new(), why.clone()),
        };
        let engines: Vec<_> = self.units.iter().map(|unit| unit.snapshot(&at_work)).collect();
        self.ledger.give_profiles(self.shelf.fresh(&engines));
        WorkHeartbeat { leases: self.ledger.statuses(), engines, gpus, gpu_unavailable }
    }
}
