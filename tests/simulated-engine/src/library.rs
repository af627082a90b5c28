//! The models that an engine has, and the blobs that models are created from.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::options::Options;

/// When the models that an engine starts with were last changed.
const MODIFIED: &str = "2026-01-01T00:00:00Z";
/// What a model's file begins with.
const GGUF: &[u8] = b"GGUF";

/// A model that the engine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Model {
    /// With its tag.
    pub(crate) name: String,
    pub(crate) embedding: bool,
    /// 64 hex digits: the same for the same content, whatever its name.
    pub(crate) digest: String,
    /// Bytes of its files.
    pub(crate) size: u64,
    pub(crate) modified: String,
    /// Renders with a template of its own instead of Ollama's.
    pub(crate) native: bool,
    /// As it was given when the model was created.
    pub(crate) template: Option<String>,
}

/// Models and blobs. Of a blob its size and its first bytes are kept, whatever its length.
#[derive(Debug)]
pub(crate) struct Library {
    held: Mutex<Held>,
    /// What `/api/pull` can get.
    registry: Vec<Model>,
}

#[derive(Debug)]
struct Held {
    models: Vec<Model>,
    blobs: HashMap<String, Blob>,
}

/// What is known of an uploaded file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blob {
    pub(crate) size: u64,
    pub(crate) is_gguf: bool,
}

/// A file on its way in.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    hash: Sha256,
    size: u64,
    start: Vec<u8>,
}

// === impl Library ===

impl Library {
    pub(crate) fn new(options: &Options) -> Self {
        let made = |names: &[String], embedding: bool| -> Vec<Model> {
            names.iter().map(|name| Model::given(options, name, embedding)).collect()
        };
        let mut models = made(&options.models, false);
        let native = |model| Model { native: true, ..model };
        models.extend(made(&options.native_models, false).into_iter().map(native));
        models.extend(made(&options.embedding_models, true));
        let held = Held { models, blobs: HashMap::new() };
        Self { held: Mutex::new(held), registry: made(&options.registry, false) }
    }

    /// The model called `name`, with or without `:latest`.
    pub(crate) fn find(&self, name: &str) -> Option<Model> {
        let name = full_name(name);
        self.lock().models.iter().find(|model| model.name == name).cloned()
    }

    /// All models, those that were there from the start in their order, others before them.
    pub(crate) fn models(&self) -> Vec<Model> {
        self.lock().models.clone()
    }

    /// The model that a pull of `name` would get.
    pub(crate) fn in_registry(&self, name: &str) -> Option<Model> {
        let name = full_name(name);
        self.registry.iter().find(|model| model.name == name).cloned()
    }

    /// Adds `model`, in the place of one with its name.
    pub(crate) fn add(&self, model: Model) {
        let mut held = self.lock();
        held.models.retain(|known| known.name != model.name);
        held.models.insert(0, model);
    }

    /// Whether there was such a model.
    pub(crate) fn remove(&self, name: &str) -> bool {
        let name = full_name(name);
        let mut held = self.lock();
        let before = held.models.len();
        held.models.retain(|model| model.name != name);
        held.models.len() < before
    }

    pub(crate) fn blob(&self, digest: &str) -> Option<Blob> {
        self.lock().blobs.get(digest).copied()
    }

    pub(crate) fn add_blob(&self, digest: String, blob: Blob) {
        self.lock().blobs.insert(digest, blob);
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Model ===

impl Model {
    fn given(options: &Options, name: &str, embedding: bool) -> Self {
        let name = full_name(name);
        let revision = options.revision.to_string();
        Self {
            digest: sha256(["given", &name, &revision]),
            name,
            embedding,
            size: options.weights,
            modified: MODIFIED.into(),
            native: false,
            template: None,
        }
    }

    /// A model of the file `digest` with what was said beside it, `about`.
    pub(crate) fn created(
        name: &str,
        digest: &str,
        blob: Blob,
        template: Option<String>,
        about: &Value,
    ) -> Self {
        let said = template.as_deref().unwrap_or_default();
        Self {
            name: full_name(name),
            embedding: false,
            digest: sha256(["created", digest, said, &about.to_string()]),
            size: blob.size,
            modified: Timestamp::now().to_string(),
            native: false,
            template,
        }
    }

    /// The same model under another name.
    pub(crate) fn named(self, name: &str) -> Self {
        Self { name: full_name(name), modified: Timestamp::now().to_string(), ..self }
    }
}

// === impl Upload ===

impl Upload {
    pub(crate) fn take(&mut self, part: &[u8]) {
        self.hash.update(part);
        self.size += part.len() as u64;
        let missing = GGUF.len().saturating_sub(self.start.len()).min(part.len());
        self.start.extend_from_slice(&part[..missing]);
    }

    /// Its digest, as Ollama writes it, and what is kept of it.
    pub(crate) fn end(self) -> (String, Blob) {
        let digest = format!("sha256:{}", hex(self.hash));
        (digest, Blob { size: self.size, is_gguf: self.start == GGUF })
    }
}

/// A name with its tag.
pub(crate) fn full_name(name: &str) -> String {
    if name.contains(':') { name.to_owned() } else { format!("{name}:latest") }
}

/// A name without the tag that goes without saying.
pub(crate) fn short_name(name: &str) -> &str {
    name.strip_suffix(":latest").unwrap_or(name)
}

/// Of the parts, told apart.
fn sha256<const N: usize>(parts: [&str; N]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hex(hash)
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_digest_is_of_the_content() {
        let blob = Blob { size: 8, is_gguf: true };
        let made = |name: &str, file: &str, template: &str| {
            Model::created(name, file, blob, Some(template.into()), &json!({})).digest
        };
        assert_eq!(made("a", "sha256:1", "t"), made("b", "sha256:1", "t"));
        assert_ne!(made("a", "sha256:1", "t"), made("a", "sha256:2", "t"));
        assert_ne!(made("a", "sha256:1", "t"), made("a", "sha256:1", "u"));
        let given = |revision| {
            Library::new(&Options { revision, ..Options::default() }).find("simulated").unwrap().digest
        };
        assert_eq!((given(0), given(0).len()), (given(0), 64));
        assert_ne!(given(0), given(1));
    }

    #[test]
    fn an_upload_is_hashed_piece_by_piece() {
        let mut upload = Upload::default();
        for part in [&b"GG"[..], b"", b"UF", b" and more"] {
            upload.take(part);
        }
        let (digest, blob) = upload.end();
        let mut whole = Upload::default();
        whole.take(b"GGUF and more");
        assert_eq!(digest, whole.end().0);
        assert!(blob.is_gguf && blob.size == 13);
    }
}
