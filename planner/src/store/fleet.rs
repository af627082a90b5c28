//! Rows of the fleet: who was seen, and what was measured.

use caravan_proto::{
    name::{ExecutorId, ProfileId},
    v1,
};

use super::Micros;

/// An executor as last seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Executor {
    /// Its id.
    pub id: ExecutorId,
    /// What it said of itself.
    pub detail: v1::Executor,
    /// When.
    pub last_seen: Micros,
}

/// A calibrated profile.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Its id.
    pub id: ProfileId,
    /// What was measured.
    pub detail: v1::Profile,
    /// When.
    pub measured: Micros,
}
