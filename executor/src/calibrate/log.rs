//! What was measured so far, kept in a file so that a run that was cut off goes on where it was.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    Error,
    identity::Identity,
    measurement::{Burst, Load, Measurement, Reuse, Template},
};

/// Hex digits of a state file's name.
const NAME: usize = 16;

/// The measurements of one identity. Bounded by what one run measures.
#[derive(Debug)]
pub(crate) struct Log {
    /// Where it is kept; none keeps nothing.
    path: Option<PathBuf>,
    state: State,
}

#[derive(Debug, Serialize, Deserialize)]
struct State {
    identity: Identity,
    /// Time that was spent, in seconds.
    seconds: f64,
    measurements: Vec<Measurement>,
}

// === impl Log ===

impl Log {
    /// What is kept in `directory` for `identity`; nothing of another one is taken up.
    ///
    /// # Errors
    /// If the directory cannot be made or read.
    pub(crate) fn open(directory: Option<&Path>, identity: Identity) -> Result<Self, Error> {
        let path = directory.map(|directory| directory.join(format!("{}.json", key(&identity))));
        let kept = match &path {
            None => None,
            Some(path) => read(path).map_err(|source| Error::State { path: path.clone(), source })?,
        };
        let fresh = || State { identity: identity.clone(), seconds: 0.0, measurements: Vec::new() };
        let state = kept.filter(|kept| kept.identity == identity).unwrap_or_else(fresh);
        Ok(Self { path, state })
    }

    /// Adds one, and keeps it; `seconds` more were spent until now.
    ///
    /// # Errors
    /// If it cannot be kept.
    pub(crate) fn push(&mut self, measurement: Measurement, seconds: f64) -> Result<(), Error> {
        self.state.measurements.push(measurement);
        self.state.seconds += seconds;
        match &self.path {
            Some(path) => {
                let written = serde_json::to_vec(&self.state)
                    .map_err(io::Error::from)
                    .and_then(|bytes| write(path, &bytes));
                written.map_err(|source| Error::State { path: path.clone(), source })
            }
            None => Ok(()),
        }
    }

    /// Nothing is left to do: the next run measures anew.
    pub(crate) fn close(&self) {
        if let Some(path) = &self.path
            && let Err(error) = fs::remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, file = %path.display(), "state not removed");
        }
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.state.identity
    }

    /// Time that all runs together spent, in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        self.state.seconds
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.state.measurements.is_empty()
    }

    pub(crate) fn loads(&self) -> impl DoubleEndedIterator<Item = &Load> {
        self.each(|one| if let Measurement::Load(load) = one { Some(load) } else { None })
    }

    pub(crate) fn bursts(&self) -> impl DoubleEndedIterator<Item = &Burst> {
        self.each(|one| if let Measurement::Burst(burst) = one { Some(burst) } else { None })
    }

    pub(crate) fn reuses(&self) -> impl DoubleEndedIterator<Item = &Reuse> {
        self.each(|one| if let Measurement::Reuse(reuse) = one { Some(reuse) } else { None })
    }

    /// The last one.
    pub(crate) fn template(&self) -> Option<&Template> {
        self.each(|one| if let Measurement::Template(template) = one { Some(template) } else { None }).last()
    }

    fn each<'a, T>(
        &'a self,
        pick: impl FnMut(&'a Measurement) -> Option<T> + 'a,
    ) -> impl DoubleEndedIterator<Item = T> {
        self.state.measurements.iter().filter_map(pick)
    }
}

fn key(identity: &Identity) -> String {
    let text = serde_json::to_string(identity).unwrap_or_default();
    let hash = Sha256::digest(text.as_bytes());
    let mut hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    hex.truncate(NAME);
    hex
}

/// None if there is none, or none that can be read: what is damaged is measured again.
fn read(path: &Path) -> io::Result<Option<State>> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)
            .inspect_err(|error| tracing::warn!(%error, file = %path.display(), "state not read"))
            .ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whole or not at all.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = path.with_extension("partial");
    fs::write(&partial, bytes)?;
    fs::rename(&partial, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(context: u64) -> Measurement {
        Measurement::Load(Load { slots: 2, context, ..Load::default() })
    }

    #[test]
    fn what_was_measured_is_found_again_by_its_identity_alone() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().join("deeper");
        let one = Identity { model: "m".into(), ..Identity::default() };
        let mut log = Log::open(Some(&at), one.clone()).unwrap();
        assert!(log.is_empty());
        log.push(load(2_048), 1.5).unwrap();
        log.push(load(4_096), 2.0).unwrap();
        let again = Log::open(Some(&at), one.clone()).unwrap();
        assert_eq!(again.loads().map(|load| load.context).collect::<Vec<_>>(), [2_048, 4_096]);
        assert_eq!(again.seconds(), 3.5);
        let other = Identity { driver: "581".into(), ..one.clone() };
        assert!(Log::open(Some(&at), other).unwrap().is_empty());
        again.close();
        assert!(Log::open(Some(&at), one).unwrap().is_empty());
    }

    #[test]
    fn a_damaged_file_is_measured_again_and_no_directory_keeps_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let identity = Identity::default();
        fs::write(directory.path().join(format!("{}.json", key(&identity))), "{").unwrap();
        assert!(Log::open(Some(directory.path()), identity.clone()).unwrap().is_empty());
        let mut log = Log::open(None, identity).unwrap();
        log.push(load(1), 0.0).unwrap();
        log.close();
        assert_eq!(log.loads().count(), 1);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Log::open(Some(&file), Identity::default()).unwrap_err();
        assert!(matches!(error, Error::State { .. }), "{error}");
    }
}
