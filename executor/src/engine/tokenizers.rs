//! Files that vocabularies are read from: a model's GGUF, or a `tokenizer.json`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use caravan_tokenize::{Definition, Metadata, Vocabulary};
use sha2::{Digest as _, Sha256};

use super::{Class, Facts, Failure, same_model};

/// Bytes of a `tokenizer.json` that are read at most: the largest known have some 35 MB.
const MAX_JSON: u64 = 64 << 20;
/// What a GGUF file begins with.
const GGUF: &[u8; 4] = b"GGUF";

/// The files that are configured, by model.
#[derive(Debug, Clone, Default)]
pub struct Tokenizers(BTreeMap<String, PathBuf>);

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source(PathBuf);

/// A file as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Names what it holds: the SHA-256 of its path, size and time of change.
    pub(super) key: String,
    /// Of the model, if the file is its GGUF.
    pub(super) sliding_window: Option<u64>,
}

// === impl Tokenizers ===

impl Tokenizers {
    /// These files; nothing is read yet.
    #[must_use]
    pub fn new(files: BTreeMap<String, PathBuf>) -> Self {
        Self(files)
    }

    pub(super) fn of(&self, model: &str) -> Option<Source> {
        let (_, path) = self.0.iter().find(|(name, _)| same_model(name, model))?;
        Some(Source(path.clone()))
    }
}

/// Whether `path` looks like something that a vocabulary can be read from.
///
/// # Errors
/// If it cannot be read, or begins neither as a GGUF file nor as a JSON object.
pub(crate) fn check(path: &Path) -> io::Result<()> {
    let mut start = Vec::new();
    File::open(path)?.take(GGUF.len() as u64).read_to_end(&mut start)?;
    if start == GGUF || start.trim_ascii_start().starts_with(b"{") {
        return Ok(());
    }
    Err(io::Error::other("neither a GGUF file nor a tokenizer.json"))
}

// === impl Source ===

impl Source {
    pub(super) fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Whether it is the file that a process in some directory calls `path`.
    pub(super) fn ends_with(&self, path: &Path) -> bool {
        self.0.ends_with(path)
    }

    /// Names what the file holds now; none if it cannot be read.
    pub(super) async fn key(&self) -> Option<String> {
        let path = self.0.clone();
        tokio::task::spawn_blocking(move || key(&path)).await.ok()?.ok()
    }

    /// The file as it is now; `known` is how it was found before. None if it cannot be read: a
    /// server may name a file of another host.
    pub(super) async fn find(&self, known: Option<&Found>) -> Option<Found> {
        let (path, known) = (self.0.clone(), known.cloned());
        let found = tokio::task::spawn_blocking(move || find(&path, known)).await.ok()?;
        let failed = |error: &io::Error| tracing::debug!(file = %self.0.display(), %error, "not readable");
        found.inspect_err(failed).ok()
    }

    /// What a GGUF file says of its model; nothing but its size of any other file.
    pub(super) async fn facts(&self) -> Result<Facts, Failure> {
        let path = self.0.clone();
        let reading = move || {
            let metadata = if is_gguf(&path)? { Metadata::from_gguf(&path)? } else { Metadata::default() };
            let file_bytes = fs::metadata(&path)?.len();
            Ok::<_, caravan_tokenize::Error>(Facts { metadata, file_bytes, ..Facts::default() })
        };
        let read = tokio::task::spawn_blocking(reading).await;
        let read = read.unwrap_or_else(|_| Ok(Facts::default()));
        read.map_err(|error| Failure::own(Class::Model, "no_facts", format!("{}: {error}", self.0.display())))
    }

    /// The definition that it holds, encoded. Takes up to some seconds and some 100 MB while it
    /// runs; nothing is kept.
    pub(super) async fn read(&self) -> Result<Vec<u8>, Failure> {
        let path = self.0.clone();
        let reading = move || read(&path).map_err(|error| none(&format!("{}: {error}", path.display())));
        tokio::task::spawn_blocking(reading).await.unwrap_or_else(|_| Err(none("its reader was stopped")))
    }
}

/// There is no vocabulary, and why.
pub(super) fn none(why: &str) -> Failure {
    Failure::own(Class::Model, "no_vocabulary", why)
}

fn find(path: &Path, known: Option<Found>) -> io::Result<Found> {
    let (is_gguf, key) = (is_gguf(path)?, key(path)?);
    if let Some(known) = known.filter(|known| known.key == key) {
        return Ok(known);
    }
    let metadata = if is_gguf { Metadata::from_gguf(path).ok() } else { None };
    Ok(Found { key, sliding_window: metadata.and_then(|metadata| metadata.sliding_window()) })
}

fn key(path: &Path) -> io::Result<String> {
    let about = fs::metadata(path)?;
    let changed = about.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut hash = Sha256::new();
    hash.update(path.as_os_str().as_encoded_bytes());
    hash.update(about.len().to_le_bytes());
    hash.update(changed.as_nanos().to_le_bytes());
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn is_gguf(path: &Path) -> io::Result<bool> {
    let mut start = Vec::new();
    File::open(path)?.take(GGUF.len() as u64).read_to_end(&mut start)?;
    Ok(start == GGUF)
}

fn read(path: &Path) -> Result<Vec<u8>, caravan_tokenize::Error> {
    let definition = if is_gguf(path)? {
        Definition::Vocabulary(Vocabulary::from_gguf(path)?)
    } else {
        let mut json = String::new();
        let size = File::open(path)?.take(MAX_JSON + 1).read_to_string(&mut json)? as u64;
        if size > MAX_JSON {
            let what = "the size of a tokenizer.json";
            return Err(caravan_tokenize::Error::TooLarge { what, found: size, limit: MAX_JSON });
        }
        Definition::TokenizerJson(json)
    };
    definition.encode()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_changes_gets_another_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokenizer.json");
        let source = Source::new(&path);
        assert_eq!(source.find(None).await, None);
        fs::write(&path, "{}").unwrap();
        let first = source.find(None).await.unwrap();
        assert_eq!(source.find(Some(&first)).await.unwrap(), first);
        fs::write(&path, r#"{"a": 1}"#).unwrap();
        assert_ne!(source.find(Some(&first)).await.unwrap().key, first.key);
        let definition = Definition::decode(&source.read().await.unwrap()).unwrap();
        assert_eq!(definition, Definition::TokenizerJson(r#"{"a": 1}"#.into()));
    }

    #[test]
    fn only_what_looks_like_a_vocabulary_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        for (name, bytes, good) in [
            ("a.gguf", b"GGUF\x03".as_slice(), true),
            ("b.json", b"\n {\"a\":1}", true),
            ("c.bin", b"\x00\x01", false),
            ("d.json", b"", false),
        ] {
            let path = directory.path().join(name);
            fs::write(&path, bytes).unwrap();
            assert_eq!(check(&path).is_ok(), good, "{name}");
        }
        assert!(check(&directory.path().join("none")).is_err());
    }

    #[test]
    fn a_model_is_found_with_and_without_its_tag() {
        let files = Tokenizers::new([("m".to_owned(), "/a".into())].into());
        assert_eq!(files.of("m:latest"), Some(Source::new("/a")));
        assert_eq!(files.of("m:7b"), None);
    }
}
