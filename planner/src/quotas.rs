//! How much each tenant may have under way.

use std::{collections::BTreeMap, num::NonZeroU64, time::Duration};

use caravan_proto::{Tenant, error::Reason};
use serde::{Deserialize, Serialize};
use tonic::Status;

use crate::store::{Exceeded, Quota};

/// When a batch may be created again: batches end in minutes rather than in seconds.
const RETRY: Duration = Duration::from_secs(30);

/// How much of all that is under way may be one tenant's. 0 is no limit, which is the default of each: an
/// installation of one tenant has nobody to share with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Batches that have not ended.
    pub open_batches: u64,
    /// Prompt tokens of all requests that are planned and not final, each counted alone. A batch is counted once it is
    /// planned, and no new one is taken while there are as many or more: those that wait to be planned may go beyond.
    pub queued_tokens: u64,
    /// Tenants with limits of their own.
    pub tenants: BTreeMap<Tenant, Own>,
}

/// Limits of one tenant. What is left out is as for everybody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Own {
    /// See [`Options::open_batches`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_batches: Option<u64>,
    /// See [`Options::queued_tokens`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queued_tokens: Option<u64>,
}

impl Options {
    /// What a tenant may have.
    pub(crate) fn of(&self, tenant: &Tenant) -> Quota {
        let own = self.tenants.get(tenant).copied().unwrap_or_default();
        let limit = |own: Option<u64>, all| NonZeroU64::new(own.unwrap_or(all));
        Quota {
            open_batches: limit(own.open_batches, self.open_batches),
            queued_tokens: limit(own.queued_tokens, self.queued_tokens),
        }
    }
}

/// What a client is told whose batch would be too much.
pub(crate) fn refusal(exceeded: Exceeded) -> Status {
    let (limit, value, message) = match exceeded {
        Exceeded::OpenBatches { limit } => {
            let message = format!(
                "the tenant has as many batches that have not ended as it may, {limit} (`quotas.open_batches` of the \
                 planner): wait for one to end, or cancel one"
            );
            ("open_batches", limit, message)
        }
        Exceeded::QueuedTokens { limit, queued } => {
            let message = format!(
                "requests with {queued} prompt tokens wait or run, and the tenant may have {limit} \
                 (`quotas.queued_tokens` of the planner): come again when some are final"
            );
            ("queued_tokens", limit, message)
        }
    };
    Reason::QuotaExceeded.limit(message, limit, value.get(), RETRY)
}
