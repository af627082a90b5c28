//! Engines as Caravan needs them, whatever API they speak.
//!
//! A driver has two pure halves, `request` (the client's body to the engine's) and `response`
//! (the engine's answer, checked, to the form of the endpoint), and one that talks.

pub mod acquire;
mod answer;
mod body;
mod classify;
mod connection;
mod failure;
mod guard;
#[cfg(test)]
mod honoured;
mod image;
mod lines;
mod llama_server;
pub mod ollama;
pub mod openai;
mod render;
#[cfg(test)]
mod replay;
pub(crate) mod tokenizers;

pub(crate) use caravan_proto::model::{bare, means as same_model};
pub use connection::{Error, Options};
pub use tokenizers::Tokenizers;

use std::{fmt, time::Duration};

use acquire::{ModelFile, Progress};
use async_trait::async_trait;
use caravan_request::{Endpoint, EngineKind};
use caravan_tokenize::Metadata;
use serde::Serialize;
use serde_json::{Map, Value};

/// One inference server on this host. Every answer is checked by the driver: a
/// `Response` is what the client asked for, never a truncated or aborted one.
#[async_trait]
pub trait Engine: Send + Sync + fmt::Debug + 'static {
    /// Which API it speaks.
    fn kind(&self) -> EngineKind;

    /// What it is and which models it has; also tells whether it answers at all.
    async fn describe(&self) -> Result<Description, Failure>;

    /// Loads `model` with exactly this reload set and checks that the engine honoured it.
    /// Engines whose models are fixed at their start only check.
    async fn load(&self, model: &str, set: ReloadSet) -> Result<(), Failure>;

    /// Gives the model's memory back, once nothing uses it. Engines whose models are fixed at their
    /// start do nothing.
    async fn unload(&self, model: &str) -> Result<(), Failure>;

    /// What the engine tells of a model without loading it.
    async fn facts(&self, model: &str) -> Result<Facts, Failure>;

    /// Requests that it runs in parallel with `model` as it is loaded now; none if it does not tell.
    async fn slots(&self, _model: &str) -> Option<u32> {
        None
    }

    /// Requests that it has now, whoever sent them; none if it does not tell.
    async fn requests(&self) -> Option<u32> {
        None
    }

    /// Gets `model` from the engine's own registry, also where it has one of that name. Takes as long
    /// as it makes progress. The failure's message is a sentence for an operator.
    async fn pull(&self, model: &str, progress: Progress<'_>) -> Result<(), Failure>;

    /// Makes `model` of a file, in place of what that name stands for. As `pull` else. The same file
    /// gives the same digest on engines of the same version.
    async fn import(&self, model: &str, file: &dyn ModelFile, progress: Progress<'_>) -> Result<(), Failure>;

    /// Runs one request to its end. Dropping the future cancels it at the engine.
    async fn run(&self, call: &Call<'_>) -> Result<Response, Failure>;

    /// What `model` reads text with: a `caravan_tokenize::Definition`, encoded. Read anew each
    /// time, which takes up to some seconds and some 100 MB; nothing of it is kept. Loads nothing.
    async fn vocabulary(&self, model: &str) -> Result<Vec<u8>, Failure>;

    /// What `model`'s template makes of `chat` where it is loaded with `set`, up to where the answer
    /// begins; none if this server does not tell. May load the model, as a request does.
    async fn render(&self, model: &str, set: ReloadSet, chat: &[Turn]) -> Result<Option<String>, Failure>;
}

/// What is known of a model that is not loaded.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Facts {
    /// GGUF metadata; empty where it cannot be had.
    pub metadata: Metadata,
    /// The template in force: Go's or Jinja; empty if the engine does not tell.
    pub template: String,
    /// As the engine has them, e.g. `completion`, `vision`.
    pub capabilities: Vec<String>,
    /// Bytes of the model's file; 0 if not known.
    pub file_bytes: u64,
}

/// One message of a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Turn {
    /// `system`, `user` or `assistant`.
    pub role: &'static str,
    /// Its text.
    pub content: &'static str,
}

/// What an engine says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Description {
    /// Its version; empty if it does not say.
    pub version: String,
    /// Requests it runs in parallel, where it says.
    pub slots: Option<u32>,
    /// Models it has, loaded or not.
    pub models: Vec<Model>,
    /// Why it cannot be used though it answers, if that is so: a sentence with the way out.
    pub unfit: Option<String>,
}

// === impl Description ===

impl Description {
    /// `model`, if it has it.
    pub(crate) fn model(&self, model: &str) -> Option<&Model> {
        self.models.iter().find(|known| same_model(&known.name, model))
    }
}

/// One model on an engine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Model {
    /// As requests name it.
    pub name: String,
    /// Digest, where the engine tells.
    pub digest: String,
    /// The model's hard context of one slot, in tokens, where the engine tells.
    pub max_context: Option<u64>,
    /// Answers chats and completions.
    pub chat: bool,
    /// Embeds.
    pub embedding: bool,
    /// Names what it reads text with; empty if that cannot be had. Models of one key have one
    /// vocabulary and one template.
    pub vocabulary: String,
    /// Window of its sliding-window attention, in tokens, where it has one and the engine tells.
    pub sliding_window: Option<u64>,
    /// How it is loaded now, if it is.
    pub loaded: Option<Loaded>,
}

/// How a model is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Loaded {
    /// Context of one slot, in tokens.
    pub context: u64,
    /// Bytes in total, as the engine says; 0 if it does not.
    pub size: u64,
    /// Bytes of that in VRAM.
    pub size_vram: u64,
}

/// The options whose change makes an engine reload its model (design: reload set).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ReloadSet {
    /// Context of one slot, in tokens; 0 leaves it to the engine.
    pub context: u64,
    /// Prompt tokens that it evaluates at once (Ollama's `num_batch`); 0 leaves it to the engine.
    /// Of no effect on an engine whose models are fixed at its start.
    pub batch: u64,
    /// Loaded to embed: Ollama reloads a chat model for that, and back for the next chat.
    /// Never set for an engine whose models are fixed at its start.
    pub embedding: bool,
}

/// One request for an engine.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// The endpoint that the client named; the answer is given in its form.
    pub endpoint: Endpoint,
    /// The model to run it on.
    pub model: &'a str,
    /// The whole body as the client would have sent it (shared part merged in).
    pub body: &'a Map<String, Value>,
    /// The reload set that is active.
    pub set: ReloadSet,
    /// Prompt tokens as planned, for the context guard and the answer's limit; 0 if not known.
    pub prompt_tokens: u64,
    /// Prompt tokens that it has at the least, for the context guard; 0 if not known.
    pub least_prompt_tokens: u64,
    /// Answer tokens to allow where the body states none; 0: up to the context's end.
    pub answer_tokens: u64,
}

// === impl Call ===

impl<'a> Call<'a> {
    /// A call of whose tokens nothing is known.
    #[must_use]
    pub fn new(endpoint: Endpoint, model: &'a str, body: &'a Map<String, Value>, set: ReloadSet) -> Self {
        Self { endpoint, model, body, set, prompt_tokens: 0, least_prompt_tokens: 0, answer_tokens: 0 }
    }

    /// Most tokens that the answer may have, as the body states or the plan allows; none if neither does.
    #[must_use]
    pub fn answer_limit(&self) -> Option<u64> {
        let options = self.body.get("options").and_then(|options| options.get("num_predict"));
        let fields = ["max_tokens", "max_completion_tokens"].map(|field| self.body.get(field));
        let stated = fields.into_iter().chain([options]).flatten().filter_map(Value::as_u64);
        let stated = stated.filter(|count| *count > 0).min();
        stated.or((self.answer_tokens > 0).then_some(self.answer_tokens))
    }
}

/// A checked answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// HTTP status of the answer, in the form of the endpoint: 200.
    pub status: u16,
    /// Body in the form of the endpoint.
    pub body: Value,
    /// The answer's text, for structured output and growing chats; empty for embeddings.
    pub text: String,
    /// Tokens of the prompt, as the engine counted them.
    pub prompt_tokens: Option<u64>,
    /// Of those, taken from the cache, where the engine tells.
    pub cached_tokens: Option<u64>,
    /// Tokens of the answer, as the engine counted them.
    pub completion_tokens: Option<u64>,
    /// The answer met its token limit or the context's end.
    pub length_limited: bool,
    /// Times as the engine took them.
    pub timings: Timings,
}

/// Times of one answer, where the engine tells. Under load they are wall time shared with other slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timings {
    /// Loading and scheduling.
    pub load: Option<Duration>,
    /// Evaluating what of the prompt was not cached.
    pub prompt: Option<Duration>,
    /// Generating the answer.
    pub answer: Option<Duration>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{class:?}: {message}")]
pub struct Failure {
    /// What to do about it.
    pub class: Class,
    /// Stable code for the request's error line, e.g. `context_length_exceeded`.
    pub code: &'static str,
    /// The engine's own sentence, or ours.
    pub message: String,
    /// HTTP status of a refusal, never 200: absent where the engine did not refuse (an answer
    /// that failed its checks, a request that was never sent, no answer at all).
    pub status: Option<u16>,
    /// The engine's error body in the form of the endpoint; present where `status` is and an
    /// endpoint was called.
    pub body: Option<Value>,
}

/// What a failure means. One table (`classify`) gives it for every known answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Permanent for the request: it goes to the error file with the engine's status and body.
    Request,
    /// Permanent for the model on this host: hand the lease back, take no more of it here.
    Model,
    /// Try again here after a pause; counts against the request's tries.
    Retry,
    /// The engine's runner died while the request was on a slot: try again, the request is a suspect.
    Suspect,
    /// The engine's runner died while the request only waited, or too many wait for it: try again,
    /// nothing is counted.
    Bystander,
    /// The engine does not answer: wait, probe, count nothing.
    Down,
}
