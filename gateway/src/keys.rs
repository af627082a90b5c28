//! Keys of those who call, of which the planner is asked.

use std::time::Duration;

use caravan_proto::{
    access::Roles,
    v1::{Key, VerifyKeyRequest},
};
use caravan_service::identity::{KeyHash, Keys, Principal};
use tonic::{Code, Request, Status};

use crate::upstream::{Upstream, failure, is_of_the_gateway, refused};

/// A caller waits no longer for the planner's word on its key.
const LIMIT: Duration = Duration::from_secs(10);

/// Asks the planner, in the gateway's own name.
pub(crate) struct KeyHolders {
    planner: Upstream,
}

// === impl KeyHolders ===

impl KeyHolders {
    pub(crate) fn new(planner: Upstream) -> Self {
        Self { planner }
    }
}

#[tonic::async_trait]
impl Keys for KeyHolders {
    async fn holder(&self, sha256: &KeyHash) -> Result<Option<Principal>, Status> {
        let mut request = Request::new(VerifyKeyRequest { sha256: sha256.to_vec() });
        request.set_timeout(LIMIT);
        match self.planner.credentials().verify_key(request).await {
            Ok(answer) => Ok(principal(answer.into_inner().key.unwrap_or_default())),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            // Asked in its own name, it is the gateway that may not.
            Err(status) if is_of_the_gateway(&status) || status.code() == Code::PermissionDenied => {
                Err(refused(&status, "this gateway cannot ask of keys at the moment"))
            }
            Err(status) => Err(failure(status)),
        }
    }
}

fn principal(key: Key) -> Option<Principal> {
    let tenant = key.tenant.parse().ok()?;
    Some(Principal::new(tenant, &key.prefix, key.roles().collect::<Roles>()))
}
