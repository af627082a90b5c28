use std::{collections::BTreeMap, num::NonZeroU32};

use caravan_proto::Tenant;
use serde::{Deserialize, Serialize};

/// What one tenant may take of this gateway; each gateway counts for itself. 0 is no limit, which is the default
/// of each: an installation of one tenant has nobody to share with, and the bounds of the ports hold anyway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Calls a second, over gRPC and HTTP together. As many as that may come at once.
    pub requests_per_second: u32,
    /// Streams at once: uploads, downloads, watches and results.
    pub streams: u32,
    /// Bytes a second of all uploads together, as they come over the wire. Who sends more is read more slowly.
    pub upload_bytes_per_second: u32,
    /// Tenants with limits of their own.
    pub tenants: BTreeMap<Tenant, Own>,
}

/// Limits of one tenant. What is left out is as for everybody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Own {
    /// See [`Options::requests_per_second`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u32>,
    /// See [`Options::streams`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<u32>,
    /// See [`Options::upload_bytes_per_second`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload_bytes_per_second: Option<u32>,
}

/// What holds for one tenant; none where there is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Of {
    pub(super) requests_per_second: Option<NonZeroU32>,
    pub(super) streams: Option<NonZeroU32>,
    pub(super) upload_bytes_per_second: Option<NonZeroU32>,
}

// === impl Options ===

impl Options {
    /// The limits of a tenant.
    pub(super) fn of(&self, tenant: &Tenant) -> Of {
        let own = self.tenants.get(tenant).copied().unwrap_or_default();
        let limit = |own: Option<u32>, all| NonZeroU32::new(own.unwrap_or(all));
        Of {
            requests_per_second: limit(own.requests_per_second, self.requests_per_second),
            streams: limit(own.streams, self.streams),
            upload_bytes_per_second: limit(own.upload_bytes_per_second, self.upload_bytes_per_second),
        }
    }
}
