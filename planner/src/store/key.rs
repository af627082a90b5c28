//! API keys as rows.

use caravan_proto::{Tenant, access::Roles, name::KeyId};
pub use caravan_service::identity::KeyHash;

use super::Micros;

/// A key to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Its id.
    pub id: KeyId,
    /// How it begins.
    pub prefix: String,
    /// SHA-256 of the whole key.
    pub sha256: KeyHash,
    /// Whose files and batches it is for.
    pub tenant: Tenant,
    /// What it may be used for.
    pub roles: Roles,
    /// What people call it.
    pub name: String,
    /// When it was made.
    pub created: Micros,
    /// From when on it is of no use, if ever.
    pub expires: Option<Micros>,
}

/// A key, without what would let somebody find it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its id.
    pub id: KeyId,
    /// How it begins.
    pub prefix: String,
    /// Whose files and batches it is for.
    pub tenant: Tenant,
    /// What it may be used for.
    pub roles: Roles,
    /// What people call it.
    pub name: String,
    /// When it was made.
    pub created: Micros,
    /// About when it was used last.
    pub last_used: Option<Micros>,
    /// From when on it is of no use, if ever.
    pub expires: Option<Micros>,
    /// When it was revoked.
    pub revoked: Option<Micros>,
}

// === impl Key ===

impl Key {
    /// Whether it lets anybody in at `now`.
    #[must_use]
    pub fn is_good(&self, now: Micros) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|expires| now < expires)
    }
}
