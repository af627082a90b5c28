//! The driver of Ollama's native API. `/v1` of the same server is never used: it cannot say
//! `num_ctx` or `keep_alive`, and always truncates.

mod chat;
mod library;
#[cfg(test)]
mod recordings;
pub(super) mod request;
mod response;
mod runner;
#[cfg(test)]
mod tests;
mod trial;
mod version;
#[cfg(test)]
mod vocabulary_tests;
mod wire;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use caravan_request::{Endpoint, EngineKind};
use caravan_tokenize::{Definition, Metadata, Vocabulary};
use serde_json::{Map, Value, json};
use url::Url;

use super::acquire::{ModelFile, Progress};
use super::answer::Stamp;
use super::connection::{Connection, Error, Options};
use super::tokenizers::{self, Tokenizers};
use super::{
    Call, Class, Description, Engine, Facts, Failure, Loaded, Model, ReloadSet, Response, Turn, bare,
    llama_server, same_model,
};
use runner::Runner;
use version::{Has, Version};
use wire::{Ps, Rendered, Show, Tag, Tags, Traits};

/// Tokens that a context is padded up to a multiple of when the model is loaded.
const CONTEXT_PAD: u64 = 256;

/// How often `/api/ps` is asked whether an unload is done.
const UNLOAD_LOOK: Duration = Duration::from_millis(50);

/// One Ollama process.
#[derive(Debug)]
pub struct Ollama {
    url: Url,
    connection: Connection,
    tokenizers: Tokenizers,
    partial_offload: bool,
    seen: Mutex<Seen>,
}

/// What was learned of it; bounded by the models that it has.
#[derive(Debug, Default)]
struct Seen {
    /// As last described.
    version: Option<Version>,
    /// Digests of models that were found to refuse prompts that are too long, by a server of unknown
    /// version.
    refusing: HashSet<String>,
    shown: wire::Shown,
    /// Context of one slot by model, as last loaded here.
    contexts: HashMap<String, u64>,
    /// Its runner, if that was found.
    runner: Option<Arc<Connection>>,
}

// === impl Ollama ===

impl Ollama {
    /// A driver for the Ollama at `url`; touches no network.
    ///
    /// # Errors
    /// If the URL is not http, or the HTTP client cannot be set up.
    pub fn new(url: &Url, options: Options) -> Result<Self, Error> {
        let connection = Connection::new(url, options)?;
        let (tokenizers, partial_offload, seen) = Default::default();
        Ok(Self { url: url.clone(), connection, tokenizers, partial_offload, seen })
    }

    /// The same with files that models' prompts are counted with.
    #[must_use]
    pub fn with_tokenizers(self, tokenizers: Tokenizers) -> Self {
        Self { tokenizers, ..self }
    }

    /// The same, where a model serves too of which a part is on the CPU.
    #[must_use]
    pub fn with_partial_offload(self, partial_offload: bool) -> Self {
        Self { partial_offload, ..self }
    }

    /// The key of a model's vocabulary: its digest, which stands for its template as well, with that
    /// of the file that is named for it.
    async fn key(&self, tag: &Tag) -> String {
        let Some(file) = self.tokenizers.of(&tag.name) else { return tag.digest.clone() };
        file.key().await.map_or_else(String::new, |key| format!("{}-{key}", tag.digest))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ps(&self) -> Result<Ps, Failure> {
        self.connection.get("/api/ps").await?.read()
    }

    /// What `/api/show` says of a model, asked once a digest.
    async fn traits(&self, tag: &Tag) -> Result<Traits, Failure> {
        if let Some(traits) = self.seen().shown.get(&tag.digest) {
            return Ok(*traits);
        }
        let deadline = self.connection.options().probe_deadline();
        let reply = self.connection.post("/api/show", &json!({ "model": tag.name }), deadline).await?;
        let traits = reply.read::<Show>()?.traits();
        self.seen().shown.insert(tag.digest.clone(), traits);
        Ok(traits)
    }

    async fn tags(&self) -> Result<Vec<Tag>, Failure> {
        let tags: Tags = self.connection.get("/api/tags").await?.read()?;
        // Only what this host runs itself.
        Ok(tags.models.into_iter().filter(|tag| tag.remote_host.is_empty()).collect())
    }

    /// Undoes a load that put a part of the model on the CPU, unless that is wanted.
    async fn partly_loaded(&self, model: &str, loaded: Loaded) -> Result<(), Failure> {
        let Loaded { size, size_vram, context } = loaded;
        tracing::warn!(model, size, size_vram, context, "model is partly on the CPU");
        if self.partial_offload {
            return Ok(());
        }
        if let Err(failure) = self.unload(model).await {
            tracing::warn!(model, %failure, "not unloaded");
        }
        let message = format!(
            "with a context of {context} only {} of {} MiB are in VRAM, the rest would run on the CPU: it needs a \
             smaller max_context, fewer slots (OLLAMA_NUM_PARALLEL), or partial_offload = true",
            size_vram >> 20,
            size >> 20
        );
        Err(Failure::own(Class::Model, Failure::LOAD_OUT_OF_MEMORY, message))
    }

    /// Loads once and says how the model is loaded then.
    async fn load_once(&self, model: &str, set: ReloadSet, traits: Traits) -> Result<Loaded, Failure> {
        let request = request::load(model, set, traits);
        let deadline = self.connection.options().load_deadline();
        let reply = self.connection.post(request.path, &request.body, deadline).await?;
        let body: Map<String, Value> = reply.read().map_err(of_the_model)?;
        if let Some(error) = body.get("error") {
            return Err(of_the_model(Failure::refused(500, &error.to_string(), None)));
        }
        let missing = || Failure::own(Class::Retry, "model_not_loaded", "loaded, but not listed by /api/ps");
        self.ps().await?.find(model).ok_or_else(missing)
    }
}

#[async_trait]
impl Engine for Ollama {
    fn kind(&self) -> EngineKind {
        EngineKind::Ollama
    }

    async fn describe(&self) -> Result<Description, Failure> {
        let wire::Version { version } = self.connection.get("/api/version").await?.read()?;
        let ps = self.ps().await?;
        let tags = self.tags().await?;
        let mut models = Vec::with_capacity(tags.len());
        for tag in &tags {
            match self.traits(tag).await {
                Ok(traits) => {
                    let key = self.key(tag).await;
                    models.push(describe_model(tag, traits, key, ps.find(&tag.name)));
                }
                Err(failure) if failure.class == Class::Down => return Err(failure),
                // Deleted in between, or damaged: the others still answer.
                Err(failure) => tracing::warn!(model = tag.name, %failure, "model cannot be shown"),
            }
        }
        let unfit = version::unfit(&version);
        let mut seen = self.seen();
        seen.version = Some(Version::parse(&version));
        seen.shown.retain(|digest, _| tags.iter().any(|tag| tag.digest == *digest));
        seen.contexts.retain(|name, _| tags.iter().any(|tag| same_model(&tag.name, name)));
        seen.refusing.retain(|digest| tags.iter().any(|tag| tag.digest == *digest));
        drop(seen);
        Ok(Description { version, slots: None, models, unfit })
    }

    /// A context that Ollama capped to the model's own is taken as it is: no host has more.
    async fn load(&self, model: &str, set: ReloadSet) -> Result<(), Failure> {
        let tags = self.tags().await?;
        let Some(tag) = tags.iter().find(|tag| same_model(&tag.name, model)) else {
            return Err(Failure::own(Class::Model, "model_not_found", format!("model {model} not found")));
        };
        let traits = self.traits(tag).await.map_err(of_the_model)?;
        let mut loaded = self.load_once(model, set, traits).await?;
        if !honours(set, traits, loaded) {
            // Somebody else's request may have reloaded it in between.
            loaded = self.load_once(model, set, traits).await?;
        }
        if !honours(set, traits, loaded) {
            let message = format!("asked for a context of {}, loaded with {}", set.context, loaded.context);
            return Err(Failure::own(Class::Model, "context_not_honoured", message));
        }
        if loaded.context < set.context {
            tracing::warn!(
                model,
                asked = set.context,
                got = loaded.context,
                "context capped to the model's own"
            );
        }
        if 0 < loaded.size_vram && loaded.size_vram < loaded.size {
            self.partly_loaded(model, loaded).await?;
        }
        self.seen().contexts.insert(bare(model).to_owned(), loaded.context);
        let version = self.seen().version;
        let doubtful = version.is_some_and(|version| version.refuses_long_prompts() == Has::Perhaps);
        if doubtful && traits.chat && !set.embedding {
            self.try_refusal(tag, set, loaded.context).await?;
        }
        Ok(())
    }

    /// As the command line of its runner says, where that can be read.
    async fn slots(&self, _: &str) -> Option<u32> {
        let found = Runner::of(&self.url).await;
        let options = *self.connection.options();
        let runner = found.as_ref().and_then(|runner| Connection::new(&runner.url()?, options).ok());
        self.seen().runner = runner.map(Arc::new);
        found.map(|runner| runner.slots)
    }

    /// As its runner says, if that was found.
    async fn requests(&self) -> Option<u32> {
        let known = self.seen().runner.clone();
        if known.is_none() {
            self.slots("").await;
        }
        let runner = self.seen().runner.clone()?;
        let requests = llama_server::requests(&runner).await;
        if requests.is_none() {
            // A load gives it another port.
            self.seen().runner = None;
        }
        requests
    }

    /// Waits until it is gone from `/api/ps`: Ollama answers at once and unloads when nothing uses it.
    async fn unload(&self, model: &str) -> Result<(), Failure> {
        let deadline = self.connection.options().load_deadline();
        let body = json!({ "model": model, "prompt": "", "stream": false, "keep_alive": 0 });
        let reply = self.connection.post("/api/generate", &body, deadline).await?;
        let _answer: Map<String, Value> = reply.read().map_err(of_the_model)?;
        let end = tokio::time::Instant::now() + deadline;
        while self.ps().await?.find(model).is_some() {
            if tokio::time::Instant::now() >= end {
                return Err(Failure::own(Class::Retry, "model_not_unloaded", "still listed by /api/ps"));
            }
            tokio::time::sleep(UNLOAD_LOOK).await;
        }
        Ok(())
    }

    async fn facts(&self, model: &str) -> Result<Facts, Failure> {
        let deadline = self.connection.options().answer_deadline(0);
        let body = json!({ "model": model, "verbose": true });
        let show: Show = self.connection.post("/api/show", &body, deadline).await?.read()?;
        let tags = self.tags().await?;
        let file_bytes = tags.iter().find(|tag| same_model(&tag.name, model)).map_or(0, |tag| tag.size);
        let Show { model_info, template, capabilities } = show;
        Ok(Facts { metadata: Metadata::from_model_info(&model_info), template, capabilities, file_bytes })
    }

    async fn pull(&self, model: &str, progress: Progress<'_>) -> Result<(), Failure> {
        library::pull(&self.connection, model, progress).await
    }

    async fn import(&self, model: &str, file: &dyn ModelFile, progress: Progress<'_>) -> Result<(), Failure> {
        library::import(&self.connection, model, file, progress).await
    }

    async fn run(&self, call: &Call<'_>) -> Result<Response, Failure> {
        let (known, counts_prompt) = {
            let seen = self.seen();
            (
                seen.contexts.get(bare(call.model)).copied(),
                seen.version.is_none_or(Version::counts_whole_prompts),
            )
        };
        let context = if call.set.context > 0 { call.set.context } else { known.unwrap_or_default() };
        let request = request::translate(call, context)?;
        let deadline = self.connection.options().answer_deadline(request.tokens);
        let reply = self.connection.post(request.path, &request.body, deadline).await?;
        response::read(call, &reply, counts_prompt, Stamp::now())
    }

    /// With `verbose`, `/api/show` gives all of the vocabulary: 16 MB for the largest known, and not
    /// more than `max_body_bytes`.
    async fn vocabulary(&self, model: &str) -> Result<Vec<u8>, Failure> {
        if let Some(file) = self.tokenizers.of(model) {
            return file.read().await;
        }
        let deadline = self.connection.options().answer_deadline(0);
        let body = json!({ "model": model, "verbose": true });
        let reply = self.connection.post("/api/show", &body, deadline).await?;
        let reading = move || {
            let show: Show = reply.read()?;
            drop(reply);
            let read = |info| definition(info)?.encode();
            read(show.model_info).map_err(|error| tokenizers::none(&error.to_string()))
        };
        let read = tokio::task::spawn_blocking(reading).await;
        read.unwrap_or_else(|_| Err(tokenizers::none("its reader was stopped")))
    }

    /// As a request would be sent, but for one token at most: a release that does not know
    /// `_debug_render_only` answers instead.
    async fn render(&self, model: &str, set: ReloadSet, chat: &[Turn]) -> Result<Option<String>, Failure> {
        let body = Map::from_iter([
            ("messages".to_owned(), json!(chat)),
            ("options".to_owned(), json!({ "num_predict": 1 })),
        ]);
        let endpoint = Endpoint::OllamaChat;
        let call = Call::new(endpoint, model, &body, set);
        let mut request = request::translate(&call, set.context)?;
        request.body["_debug_render_only"] = json!(true);
        let deadline = self.connection.options().load_deadline();
        let reply = self.connection.post(request.path, &request.body, deadline).await?;
        Ok(reply.read::<Rendered>()?.debug_info.map(|info| info.rendered_template))
    }
}

/// GGUF allows a model's own `tokenizer.json` in its metadata, which serves where the vocabulary
/// itself is not there.
fn definition(mut info: Map<String, Value>) -> Result<Definition, caravan_tokenize::Error> {
    match (Vocabulary::from_model_info(&info), info.remove("tokenizer.huggingface.json")) {
        (Err(caravan_tokenize::Error::Missing(_)), Some(Value::String(json))) => {
            Ok(Definition::TokenizerJson(json))
        }
        (found, _) => found.map(Definition::Vocabulary),
    }
}

fn describe_model(tag: &Tag, traits: Traits, vocabulary: String, loaded: Option<Loaded>) -> Model {
    Model {
        name: tag.name.clone(),
        digest: tag.digest.clone(),
        max_context: traits.max_context,
        chat: traits.chat,
        embedding: traits.embedding,
        vocabulary,
        sliding_window: traits.sliding_window,
        loaded,
    }
}

/// While a model is loaded no request is at fault: what a request would be blamed for is the model's.
fn of_the_model(failure: Failure) -> Failure {
    match failure.class {
        Class::Request | Class::Suspect => Failure { class: Class::Model, ..failure },
        _ => failure,
    }
}

/// Loaded as asked: exactly, padded up, or capped to the model's own context.
fn honours(set: ReloadSet, traits: Traits, loaded: Loaded) -> bool {
    let asked = set.context;
    let padded = asked.next_multiple_of(CONTEXT_PAD);
    let capped = traits.max_context.is_some_and(|max| max < asked && loaded.context >= max);
    asked == 0 || loaded.context == asked || loaded.context == padded || capped
}
