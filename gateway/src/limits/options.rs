use std::{collections::BTreeMap, num::NonZeroU32};

use caravan_proto::Tenant;
use caravan_service::config;
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
    /// Bytes a second of all uploads together, as they come over the wire. Who sends more is read more slowly. At least
    /// 1 MiB, and a thirtieth of that for each of `streams`: a client's message of 1 MiB is through in 30 s, half of
    /// the time after which a silent upload is ended.
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
    /// What serde cannot check; `section` is where the options stand in the file.
    ///
    /// # Errors
    /// If uploads would be too slow to be told from silent ones.
    pub(crate) fn check(&self, section: &str) -> Result<(), config::Error> {
        let tenants =
            self.tenants.keys().map(|tenant| (format!("{section}.tenants.{tenant}"), self.of(tenant)));
        let all = (section.to_owned(), self.but(Own::default()));
        for (section, limits) in tenants.chain([all]) {
            let streams = limits.streams.map_or(0, NonZeroU32::get).max(30);
            let least = u64::from(streams) * (1 << 20) / 30;
            let enough = limits.upload_bytes_per_second.is_none_or(|rate| u64::from(rate.get()) >= least);
            let wanted = format!("at least {least}, or 0 for no limit");
            config::check(enough, &format!("{section}.upload_bytes_per_second"), &wanted)?;
        }
        Ok(())
    }

    /// The limits of a tenant.
    pub(super) fn of(&self, tenant: &Tenant) -> Of {
        self.but(self.tenants.get(tenant).copied().unwrap_or_default())
    }

    fn but(&self, own: Own) -> Of {
        let limit = |own: Option<u32>, all| NonZeroU32::new(own.unwrap_or(all));
        Of {
            requests_per_second: limit(own.requests_per_second, self.requests_per_second),
            streams: limit(own.streams, self.streams),
            upload_bytes_per_second: limit(own.upload_bytes_per_second, self.upload_bytes_per_second),
        }
    }
}
