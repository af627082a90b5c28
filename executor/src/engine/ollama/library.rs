//! Ollama's own store of models: pulls, blobs, and models made of blobs.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::engine::{
    Class, Failure,
    acquire::{ModelFile, Progress, Stage, Step},
    connection::Connection,
};

/// Words of a failure, in lower case, and what they mean for an operator.
const MEANINGS: &[(&[&str], &str)] = &[
    (
        &[
            "no such host",
            "connection refused",
            "i/o timeout",
            "network is unreachable",
            "server misbehaving",
        ],
        "the engine cannot reach its registry; upload the model's file instead (`--from FILE.gguf`)",
    ),
    (&["file does not exist"], "the registry does not have it"),
    (&["requires a newer version"], "the engine is too old for it"),
    (&["no space left on device"], "the disk of the engine is full"),
    (&["not in gguf format", "invalid file magic"], "the file is no GGUF"),
    (&["llama-quantize"], "the engine could not check the file"),
    (&["invalid model name"], "the engine does not take this name"),
];

/// A line of a pull or of the making of a model.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line {
    status: String,
    digest: String,
    total: u64,
    completed: u64,
    error: Option<String>,
}

/// Bytes of each layer of a model, of which there are some ten: there, and in all.
#[derive(Debug, Default)]
struct Layers(HashMap<String, (u64, u64)>);

/// Gets a model from the registry.
pub(super) async fn pull(
    connection: &Connection,
    model: &str,
    progress: Progress<'_>,
) -> Result<(), Failure> {
    let body = json!({ "model": model, "stream": true });
    follow(connection, "/api/pull", &body, Stage::Transfer, progress).await
}

/// Sends the file, unless it is there already, and makes a model of it.
pub(super) async fn import(
    connection: &Connection,
    model: &str,
    file: &dyn ModelFile,
    progress: Progress<'_>,
) -> Result<(), Failure> {
    let digest = format!("sha256:{}", file.sha256());
    let blob = format!("/api/blobs/{digest}");
    if !connection.has(&blob).await? {
        connection.upload(&blob, file.bytes(), file.read()).await.map_err(explained)?;
    }
    let body = json!({ "model": model, "files": { "model.gguf": digest }, "stream": true });
    follow(connection, "/api/create", &body, Stage::Import, progress).await
}

/// Reads the engine's lines to their end, which is `success`.
async fn follow(
    connection: &Connection,
    path: &str,
    body: &Value,
    stage: Stage,
    progress: Progress<'_>,
) -> Result<(), Failure> {
    let mut lines = connection.lines(path, body).await.map_err(explained)?;
    let (mut layers, mut done) = (Layers::default(), false);
    while let Some(line) = lines.next().await? {
        let line = Line::of(line)?;
        if let Some(error) = line.error {
            return Err(explained(Failure::own(Class::Model, "model_not_had", error)));
        }
        done = line.status == "success";
        let (completed, total) = layers.take(&line);
        progress(Step { stage, message: line.status, completed, total });
    }
    let broken = || Failure::own(Class::Down, "engine_aborted", "the engine broke off before it was done");
    if done { Ok(()) } else { Err(broken()) }
}

/// The same with what it means first; the engine's own words behind it.
fn explained(failure: Failure) -> Failure {
    if failure.class == Class::Down {
        // Its words are of the way to the engine.
        return failure;
    }
    let words = failure.message.to_lowercase();
    let meaning = MEANINGS.iter().find(|(any, _)| any.iter().any(|part| words.contains(part)));
    match meaning {
        Some((_, meaning)) => Failure { message: format!("{meaning}: {}", failure.message), ..failure },
        None => failure,
    }
}

// === impl Line ===

impl Line {
    fn of(line: Map<String, Value>) -> Result<Self, Failure> {
        serde_json::from_value(Value::Object(line)).map_err(|error| Failure::unreadable(&error))
    }
}

// === impl Layers ===

impl Layers {
    /// Bytes of all layers that were named so far: there, and in all.
    fn take(&mut self, line: &Line) -> (u64, u64) {
        if !line.digest.is_empty() {
            self.0.insert(line.digest.clone(), (line.completed, line.total));
        }
        self.0.values().fold((0, 0), |(there, all), layer| (there + layer.0, all + layer.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a real Ollama said, v0.33.
    #[test]
    fn a_failure_says_what_it_means() {
        for (words, meaning) in [
            (
                "pull model manifest: Get \"https://registry.ollama.ai/v2/library/nope/manifests/1b\": dial tcp: \
                 lookup registry.ollama.ai on 10.0.0.1:53: no such host",
                "--from",
            ),
            (
                "pull model manifest: Get \"https://h/v2/x\": dial tcp 127.0.0.1:1: connect: connection refused",
                "--from",
            ),
            ("pull model manifest: file does not exist", "does not have it"),
            ("supplied file was not in GGUF format", "no GGUF"),
            ("write /m/blobs/x: no space left on device", "full"),
            ("invalid model name", "does not take this name"),
        ] {
            let failure = explained(Failure::own(Class::Model, "model_not_had", words));
            assert!(failure.message.contains(meaning), "{}", failure.message);
            assert!(failure.message.ends_with(words), "{}", failure.message);
        }
        let other = Failure::own(Class::Model, "model_not_had", "something new");
        assert_eq!(explained(other.clone()), other);
    }

    #[test]
    fn layers_are_added_up() {
        let mut layers = Layers::default();
        let line = |digest: &str, completed, total| Line {
            digest: digest.into(),
            completed,
            total,
            ..Line::default()
        };
        assert_eq!(layers.take(&Line::default()), (0, 0));
        assert_eq!(layers.take(&line("a", 5, 10)), (5, 10));
        assert_eq!(layers.take(&line("a", 10, 10)), (10, 10));
        assert_eq!(layers.take(&line("b", 0, 3)), (10, 13));
        assert_eq!(layers.take(&Line::default()), (10, 13));
    }
}
