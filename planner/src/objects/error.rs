use std::{error::Error as StdError, io, iter::successors};

use caravan_proto::error::Reason;
use object_store::path::Path as Key;

use super::seal::Damage;

/// Bytes could not be kept or had.
#[derive(Debug, thiserror::Error)]
#[error("the object store failed")]
pub struct Error(#[from] pub Fault);

/// Why. Found behind whatever error it caused: see [`Fault::behind`].
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// What was read is not what was written.
    #[error("object {object} is damaged: {what}")]
    Damaged {
        /// Its name.
        object: String,
        /// What does not fit.
        what: String,
    },
    /// It was written, and is gone.
    #[error("object {object} is not there")]
    Missing {
        /// Its name.
        object: String,
    },
    /// An object of this name was written before, with other bytes.
    #[error("object {object} is there with other bytes")]
    Taken {
        /// Its name.
        object: String,
    },
    /// No room.
    #[error("there is no space in the object store")]
    Full(#[source] object_store::Error),
    /// No right.
    #[error("the object store refuses access")]
    Denied(#[source] object_store::Error),
    /// Anything else: it does not answer, say.
    #[error("object {object}")]
    Failed {
        /// The name of the object that it was about.
        object: String,
        /// What the store says.
        #[source]
        source: object_store::Error,
    },
}

impl From<Error> for Fault {
    fn from(Error(fault): Error) -> Self {
        fault
    }
}

// === impl Fault ===

impl Fault {
    /// The fault that caused an error, if it was one of the object store.
    #[must_use]
    pub fn behind<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Self> {
        chain(error).find_map(|cause| cause.downcast_ref())
    }

    /// The word for it in a status and as a batch's reason, if somebody has to do something about it.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Damaged { .. } | Self::Missing { .. } => Some(Reason::ObjectDamaged),
            Self::Full(_) => Some(Reason::StorageFull),
            Self::Denied(_) => Some(Reason::StorageDenied),
            Self::Taken { .. } | Self::Failed { .. } => None,
        }
    }

    /// What is wrong, and the way out.
    #[must_use]
    pub fn advice(&self) -> String {
        match self {
            Self::Full(_) => "the object store is full: make room, and work goes on by itself".to_owned(),
            Self::Denied(_) => "the object store refuses to be written: give the planner the right to \
                                read, write, list and delete, and work goes on by itself"
                .to_owned(),
            Self::Damaged { .. } | Self::Missing { .. } => {
                format!("{self}: restore it from a copy, and work goes on by itself")
            }
            Self::Taken { .. } | Self::Failed { .. } => self.to_string(),
        }
    }

    /// The object that it is about, where that is known.
    #[must_use]
    pub fn object(&self) -> Option<&str> {
        match self {
            Self::Damaged { object, .. }
            | Self::Missing { object }
            | Self::Taken { object }
            | Self::Failed { object, .. } => Some(object),
            Self::Full(_) | Self::Denied(_) => None,
        }
    }

    pub(super) fn damaged(key: &Key, damage: &Damage) -> Self {
        let what = match damage {
            Damage::Length => "it was cut off".to_owned(),
            Damage::Block(block) => format!("block {block} does not have its checksum"),
            Damage::Short => "it ends before the bytes that were asked for".to_owned(),
        };
        Self::Damaged { object: key.to_string(), what }
    }

    /// What went wrong with reading `key`.
    pub(super) fn reading(key: &Key, error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::Missing { object: key.to_string() },
            error => Self::of(key, error),
        }
    }

    /// What went wrong with `key`.
    pub(super) fn of(key: &Key, error: object_store::Error) -> Self {
        use io::ErrorKind::{FileTooLarge, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        use object_store::Error::{PermissionDenied as Forbidden, Unauthenticated};
        let of_kind = |kinds: &[io::ErrorKind]| {
            let mut io = chain(&error).filter_map(|cause| cause.downcast_ref::<io::Error>());
            io.any(|cause| kinds.contains(&cause.kind()))
        };
        let says_full = || chain(&error).any(|cause| says_full(&cause.to_string()));
        if of_kind(&[StorageFull, QuotaExceeded, FileTooLarge]) || says_full() {
            Self::Full(error)
        } else if of_kind(&[PermissionDenied, ReadOnlyFilesystem])
            || matches!(error, Forbidden { .. } | Unauthenticated { .. }) && !passes(&error)
        {
            Self::Denied(error)
        } else {
            Self::Failed { object: key.to_string(), source: error }
        }
    }
}

/// S3 has no code of its own for this; servers say it with one of these.
fn says_full(text: &str) -> bool {
    ["507 Insufficient Storage", "StorageFull", "QuotaExceeded", "InsufficientCapacity"]
        .iter()
        .any(|word| text.contains(word))
}

/// A refusal that is over when a clock is right again, or credentials are renewed.
fn passes(error: &object_store::Error) -> bool {
    let words = ["RequestTimeTooSkewed", "ExpiredToken"];
    chain(error).any(|cause| words.iter().any(|word| cause.to_string().contains(word)))
}

fn chain<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    successors(Some(error), |error: &&'e (dyn StdError + 'static)| (*error).source())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(source: impl Into<Box<dyn StdError + Send + Sync>>) -> object_store::Error {
        object_store::Error::Generic { store: "test", source: source.into() }
    }

    #[test]
    fn what_somebody_has_to_mend_is_told_apart() {
        let key = Key::from("a");
        let io = |kind| generic(io::Error::from(kind));
        let of = |error| Fault::of(&key, error).reason();
        assert_eq!(of(io(io::ErrorKind::StorageFull)), Some(Reason::StorageFull));
        assert_eq!(of(io(io::ErrorKind::QuotaExceeded)), Some(Reason::StorageFull));
        assert_eq!(of(generic("status: 507 Insufficient Storage: ")), Some(Reason::StorageFull));
        assert_eq!(of(io(io::ErrorKind::ReadOnlyFilesystem)), Some(Reason::StorageDenied));
        assert_eq!(of(io(io::ErrorKind::TimedOut)), None);
        let missing = object_store::Error::NotFound { path: "a".into(), source: "gone".into() };
        assert_eq!(Fault::reading(&key, missing).reason(), Some(Reason::ObjectDamaged));
    }

    #[test]
    fn a_fault_is_found_behind_the_errors_that_it_caused() {
        let fault = Fault::Full(generic("full"));
        let error = crate::results::Error::Files(crate::files::Error::Objects(Error(fault)));
        assert!(matches!(Fault::behind(&error), Some(Fault::Full(_))));
        assert!(Fault::behind(&io::Error::other("x")).is_none());
    }
}
