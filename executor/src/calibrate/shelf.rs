//! The profiles of this host: kept as files, and given to planners where they hold.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use caravan_proto::{
    json::{from_value, to_value},
    profile::difference,
    v1::{Engine, Profile},
};
use sha2::{Digest as _, Sha256};

use super::log;
use crate::engine::same_model;

/// Files that are read at most: engines of a host have tens of models.
const MOST: usize = 1_000;
/// Bytes of one: known ones have some 10 KiB.
const MAX_BYTES: u64 = 1 << 20;

/// The profiles of this host.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    /// Where they are kept; none keeps them in memory only.
    directory: Option<PathBuf>,
    kept: Mutex<Vec<Kept>>,
}

#[derive(Debug)]
struct Kept {
    profile: Profile,
    /// Whether the planner has it.
    given: bool,
    /// Why it holds for no engine, as last logged.
    told: Option<String>,
}

// === impl Shelf ===

impl Shelf {
    /// With what is in `directory`. A file that is no profile is left alone, with a line in the log.
    ///
    /// # Errors
    /// If the directory can neither be read nor made.
    pub(crate) fn open(directory: Option<PathBuf>) -> io::Result<Self> {
        let Some(directory) = directory else { return Ok(Self::default()) };
        fs::create_dir_all(&directory)?;
        let mut paths: Vec<PathBuf> = fs::read_dir(&directory)?.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        let read = |path: &PathBuf| match read(path) {
            Ok(profile) => Some(Kept { profile, given: false, told: None }),
            Err(why) => {
                tracing::warn!(file = %path.display(), why, "not a profile");
                None
            }
        };
        let kept = Mutex::new(paths.iter().take(MOST).filter_map(read).collect());
        Ok(Self { directory: Some(directory), kept })
    }

    /// Keeps a profile in place of one of the same engine, GPU and model; a planner gets it.
    ///
    /// # Errors
    /// If its file cannot be written. Then it is kept until the process ends.
    pub(crate) fn keep(&self, profile: Profile) -> io::Result<()> {
        let name = file_name(&profile);
        let text = format!("{:#}\n", to_value(&profile));
        {
            let mut kept = self.kept();
            kept.retain(|other| file_name(&other.profile) != name);
            kept.push(Kept { profile, given: false, told: None });
        }
        let Some(directory) = &self.directory else { return Ok(()) };
        log::write(&directory.join(&name), text.as_bytes())
    }

    /// Profiles that hold for one of `engines` and that the planner does not have yet. Why another one holds
    /// for none is logged once.
    pub(crate) fn fresh(&self, engines: &[Engine]) -> Vec<Profile> {
        let mut fresh = Vec::new();
        for kept in self.kept().iter_mut().filter(|kept| !kept.given) {
            let reasons: Vec<Option<String>> =
                engines.iter().map(|engine| mismatch(&kept.profile, engine)).collect();
            if reasons.iter().any(Option::is_none) {
                kept.given = true;
                fresh.push(kept.profile.clone());
            } else if let Some(why) = reasons.into_iter().flatten().next()
                // Until an engine has answered, it has no models.
                && engines.iter().all(|engine| !engine.models.is_empty())
                && kept.told.as_ref() != Some(&why)
            {
                tracing::info!(model = kept.profile.model, why, "profile not used");
                kept.told = Some(why);
            }
        }
        fresh
    }

    /// Whether one of `model` holds for `engine`.
    pub(crate) fn holds(&self, model: &str, engine: &Engine) -> bool {
        let kept = self.kept();
        let mut of_model = kept.iter().filter(|kept| same_model(&kept.profile.model, model));
        of_model.any(|kept| mismatch(&kept.profile, engine).is_none())
    }

    /// Another planner has none of them.
    pub(crate) fn give_again(&self) {
        self.kept().iter_mut().for_each(|kept| kept.given = false);
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why `profile` does not hold for `engine` as it is now; none if it does.
fn mismatch(profile: &Profile, engine: &Engine) -> Option<String> {
    match engine.models.iter().find(|model| same_model(&model.name, &profile.model)) {
        Some(model) => {
            difference(profile, engine, model).map(|difference| format!("it was measured {difference}"))
        }
        None => Some(format!("the engine has no model {}", profile.model)),
    }
}

fn read(path: &Path) -> Result<Profile, String> {
    let size = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > MAX_BYTES {
        return Err(format!("it has {size} bytes"));
    }
    let text = fs::read(path).map_err(|error| error.to_string())?;
    let json = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    from_value(&json).map_err(|error| error.to_string())
}

/// The model's name for a person, and a hash of what else makes it another profile.
fn file_name(profile: &Profile) -> String {
    let readable = profile.model.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' });
    let mut hash = Sha256::new();
    for part in [&profile.model, &profile.gpu, &profile.kv_type] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.update(profile.engine_kind.to_le_bytes());
    let hex: String = hash.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{hex}.json", readable.take(100).collect::<String>())
}

#[cfg(test)]
mod tests {
    use caravan_proto::v1::Model;

    use super::*;

    fn engine(version: &str) -> Engine {
        let model = Model { name: "m/x:1".into(), digest: "d".into(), ..Default::default() };
        Engine { version: version.into(), models: vec![model], ..Default::default() }
    }

    fn profile(version: &str) -> Profile {
        Profile {
            model: "m/x:1".into(),
            model_digest: "d".into(),
            engine_version: version.into(),
            ..Default::default()
        }
    }

    #[test]
    fn profiles_are_found_again_and_given_once_where_they_hold() {
        let directory = tempfile::tempdir().unwrap();
        let at = || Some(directory.path().join("profiles"));
        let shelf = Shelf::open(at()).unwrap();
        shelf.keep(profile("1")).unwrap();
        let again = Shelf::open(at()).unwrap();
        assert_eq!(again.fresh(&[Engine::default()]), [], "an engine that has not answered");
        assert_eq!(again.fresh(&[engine("2")]), []);
        assert_eq!(again.fresh(&[engine("2"), engine("1")]), [profile("1")]);
        assert_eq!(again.fresh(&[engine("1")]), []);
        again.give_again();
        assert_eq!(again.fresh(&[engine("1")]), [profile("1")]);
        again.keep(profile("2")).unwrap();
        assert_eq!(again.fresh(&[engine("2")]), [profile("2")], "in place of the older one");
        assert_eq!(fs::read_dir(directory.path().join("profiles")).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_profile_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a.json"), "{\"models\": 1}").unwrap();
        fs::write(directory.path().join("b.json"), "{").unwrap();
        fs::write(directory.path().join("c.txt"), "{}").unwrap();
        let shelf = Shelf::open(Some(directory.path().to_owned())).unwrap();
        assert_eq!(shelf.fresh(&[engine("1")]), []);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
        assert!(Shelf::open(Some(directory.path().join("c.txt"))).is_err());
    }
}
