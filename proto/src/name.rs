//! Resource names: `collection/prefix_` and 32 hex digits of a UUIDv7.

use std::{fmt, marker::PhantomData, str::FromStr};

use uuid::Uuid;

/// Says how a kind of resource is named.
pub trait Resource: Copy + Eq + Ord + 'static {
    /// Collection in the resource name, e.g. `batches`.
    const COLLECTION: &'static str;
    /// Prefix of the id, e.g. `batch_`.
    const PREFIX: &'static str;
}

/// The id of a resource: a UUIDv7, so that ids sort by the time they were made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id<R> {
    uuid: Uuid,
    of: PhantomData<fn() -> R>,
}

/// A text that names no resource of the kind wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a name of the form {wanted}")]
pub struct Error {
    given: String,
    wanted: String,
}

macro_rules! resources {
    ($($(#[$doc:meta])* $kind:ident, $alias:ident, $collection:literal, $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $kind {}
        impl Resource for $kind {
            const COLLECTION: &'static str = $collection;
            const PREFIX: &'static str = $prefix;
        }
        $(#[$doc])*
        pub type $alias = Id<$kind>;
    )*};
}

resources! {
    /// A batch.
    Batch, BatchId, "batches", "batch_";
    /// A file.
    File, FileId, "files", "file_";
    /// An executor process.
    Executor, ExecutorId, "executors", "executor_";
    /// A calibrated profile.
    Profile, ProfileId, "profiles", "profile_";
    /// A lease.
    Lease, LeaseId, "leases", "lease_";
    /// A segment.
    Segment, SegmentId, "segments", "segment_";
    /// One planning of a batch; it may be planned anew.
    Plan, PlanId, "plans", "plan_";
    /// An API key.
    Key, KeyId, "keys", "key_";
}

// === impl Id ===

impl<R: Resource> Id<R> {
    /// A new id, later than all before it.
    #[must_use]
    pub fn now() -> Self {
        Uuid::now_v7().into()
    }

    /// The UUID alone, as stored.
    #[must_use]
    pub fn uuid(self) -> Uuid {
        self.uuid
    }

    /// The resource name, e.g. `batches/batch_0190…`.
    #[must_use]
    pub fn name(self) -> String {
        format!("{}/{self}", R::COLLECTION)
    }
}

impl<R> From<Uuid> for Id<R> {
    fn from(uuid: Uuid) -> Self {
        Self { uuid, of: PhantomData }
    }
}

impl<R: Resource> fmt::Display for Id<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", R::PREFIX, self.uuid.simple())
    }
}

impl<R: Resource> fmt::Debug for Id<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<R: Resource> FromStr for Id<R> {
    type Err = Error;

    /// Takes the name or the bare id.
    fn from_str(given: &str) -> Result<Self, Error> {
        let id = given.strip_prefix(R::COLLECTION).and_then(|rest| rest.strip_prefix('/')).unwrap_or(given);
        id.strip_prefix(R::PREFIX)
            .filter(|hex| hex.len() == 32 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
            .and_then(|hex| Uuid::try_parse(hex).ok())
            .map(Into::into)
            .ok_or_else(|| Error {
                given: given.chars().take(128).collect(),
                wanted: format!("{}/{}… (32 hex digits)", R::COLLECTION, R::PREFIX),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_its_bare_id_are_the_same() {
        let id = BatchId::now();
        assert_eq!(id.name().parse(), Ok(id));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().len(), "batch_".len() + 32);
    }

    #[test]
    fn other_names_are_refused() {
        for bad in ["", "batch_", "file_0190a000000070008000000000000000", "batches/../batch_1", "batch_ZZ"] {
            assert!(bad.parse::<BatchId>().is_err(), "{bad}");
        }
    }
}
