//! What models read text with: vocabularies that executors send, kept in the object store, and
//! the tokenizers that are built from them.

mod kept;
mod memory;
mod template;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use caravan_proto::v1;
use caravan_tokenize::{Definition, Tokenizer};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::timeout_at};

use crate::{dispatch::Fleet, models, objects::Objects};
use memory::{Memory, Patience};

/// Bytes of a definition at most: the contract's bound.
const MAX_DEFINITION: usize = 20 << 20;

/// How vocabularies are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// A plan waits so long for a vocabulary that an executor was asked for, in milliseconds; then
    /// its tokens are estimated. Default 10 s: reading and sending a large one takes some seconds.
    pub wait_ms: u64,
}

/// Tokenizers by model. Cheap to clone.
///
/// Memory: two built tokenizers, of 10 to 50 MB each, and while one more is built some 100 MB.
#[derive(Clone)]
pub struct Vocabularies {
    inner: Arc<Inner>,
}

struct Inner {
    options: Options,
    objects: Objects,
    fleet: Fleet,
    memory: Mutex<Memory>,
    /// Counts what executors have sent.
    arrivals: watch::Sender<u64>,
    /// Held while a tokenizer is built: one at a time bounds the memory.
    building: tokio::sync::Mutex<()>,
}

/// A model whose tokens can be counted.
#[derive(Clone)]
pub struct Known {
    /// Counts the tokens of a text as the model's engine does.
    pub tokenizer: Arc<dyn Tokenizer>,
    /// What the model's template adds; absent where no engine has told yet.
    pub template: Option<v1::TemplateTokens>,
    /// Tokens that the engine puts before a prompt without a template.
    pub begin_tokens: u64,
    /// `Model.vocabulary` of the engines that it holds for.
    pub key: String,
}

/// Why the tokens of a model cannot be counted; the text goes behind "the tokens of model M are
/// estimated:".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// There is no engine with the model, or none that tells.
    #[error("no engine that has it tells its vocabulary")]
    NotTold,
    /// It was never sent, and whoever has it is not connected to this replica. Another replica may
    /// have its executor, and a plan there makes it known here.
    #[error("no executor that has its vocabulary is connected")]
    NotConnected,
    /// It was asked for, and did not come within `wait_ms`.
    #[error("its vocabulary did not come within {} ms", .0.as_millis())]
    Late(Duration),
    /// The executor cannot read it, or no tokenizer can be built from it.
    #[error("{0}")]
    Unusable(String),
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self { wait_ms: 10_000 }
    }
}

// === impl Vocabularies ===

impl Vocabularies {
    /// Vocabularies in `objects`; those that are not there yet are asked of the executors in `fleet`.
    #[must_use]
    pub fn new(options: Options, objects: Objects, fleet: Fleet) -> Self {
        let (memory, building, arrivals) = Default::default();
        Self { inner: Arc::new(Inner { options, objects, fleet, memory, arrivals, building }) }
    }

    /// The tokenizer of `model` as these engines have it: from memory, from the object store, or from
    /// an executor, which is waited for. Where engines have different vocabularies under one name,
    /// the first that can be had.
    ///
    /// # Errors
    /// If there is none to be had. What cannot be read or built is remembered for ten minutes, and what
    /// came too late for one: the next plan does not wait for it again.
    pub async fn of(&self, engines: &[v1::Engine], model: &str) -> Result<Known, Unknown> {
        let keys = keys(engines, model);
        let mut why = Unknown::NotTold;
        let mut missing = Vec::new();
        for key in keys {
            match self.have(key).await {
                Some(Ok(known)) => {
                    self.complete(&known, engines).await;
                    return Ok(known);
                }
                Some(Err(unusable)) => why = unusable,
                None => missing.push(key),
            }
        }
        if missing.is_empty() {
            return Err(why);
        }
        let known = self.ask(missing).await;
        known.inspect_err(|why| tracing::warn!(model, %why, "tokens are estimated"))
    }

    /// An executor sent a vocabulary.
    pub(crate) async fn arrived(&self, vocabulary: v1::Vocabulary) {
        let key = vocabulary.vocabulary.clone();
        let before = self.kept(&key).await;
        if !vocabulary.unavailable.is_empty() {
            if before.is_none() {
                self.refuse(&key, vocabulary.unavailable);
            }
        } else if vocabulary.definition.len() > MAX_DEFINITION {
            self.refuse(&key, format!("its definition has more than {MAX_DEFINITION} bytes"));
        } else if vocabulary.renderings.is_empty() && before.is_some() {
            // Nothing new, and perhaps less.
        } else if let Err(error) =
            self.inner.objects.put_vocabulary(&kept::name(&key), kept::encode(&vocabulary)).await
        {
            tracing::error!(error = &error as &dyn std::error::Error, "a vocabulary cannot be kept");
        } else {
            tracing::info!(vocabulary = key, bytes = vocabulary.definition.len(), "vocabulary kept");
            // What was built without the template, or refused before, is over.
            self.memory().forget(&key);
        }
        self.inner.arrivals.send_modify(|count| *count += 1);
    }

    /// The tokenizer of a key, if it is here, or why there is none.
    async fn have(&self, key: &str) -> Option<Result<Known, Unknown>> {
        if let Some(known) = self.memory().built(key) {
            return Some(Ok(known));
        }
        if let Some(reason) = self.memory().refused(key) {
            return Some(Err(Unknown::Unusable(reason)));
        }
        let kept = self.kept(key).await?;
        Some(self.build(key, kept).await)
    }

    /// What was sent for a key. What is damaged is not there: it is asked for again.
    async fn kept(&self, key: &str) -> Option<v1::Vocabulary> {
        let found = self.inner.objects.vocabulary(&kept::name(key)).await;
        let failed = |error: &_| {
            tracing::error!(error = error as &dyn std::error::Error, "a vocabulary cannot be read");
        };
        let bytes = found.inspect_err(failed).ok()??;
        let decoded = kept::decode(&bytes, key);
        if decoded.is_none() {
            tracing::error!(vocabulary = key, "a vocabulary that was kept is damaged");
        }
        decoded
    }

    async fn build(&self, key: &str, kept: v1::Vocabulary) -> Result<Known, Unknown> {
        let _alone = self.inner.building.lock().await;
        if let Some(known) = self.memory().built(key) {
            return Ok(known);
        }
        let built = tokio::task::spawn_blocking(move || kept::build(kept)).await;
        match built.unwrap_or_else(|_| Err("its tokenizer was not built to the end".to_owned())) {
            Ok(known) => {
                self.memory().keep(known.clone());
                Ok(known)
            }
            Err(reason) => Err(self.refuse(key, reason)),
        }
    }

    /// Asks for these and waits for the first that can be used.
    async fn ask(&self, mut keys: Vec<&str>) -> Result<Known, Unknown> {
        let wait = Duration::from_millis(self.inner.options.wait_ms);
        let deadline = tokio::time::Instant::now() + wait;
        let mut arrivals = self.inner.arrivals.subscribe();
        let mut asked = Vec::new();
        for key in keys.drain(..) {
            if self.inner.fleet.want_vocabulary(key).await {
                asked.push(key);
            }
        }
        let mut why = Unknown::NotConnected;
        while !asked.is_empty() {
            let mut open = Vec::new();
            for key in asked {
                match self.have(key).await {
                    Some(Ok(known)) => return Ok(known),
                    Some(Err(unusable)) => why = unusable,
                    None => open.push(key),
                }
            }
            asked = open;
            if !asked.is_empty() && timeout_at(deadline, arrivals.changed()).await.is_err() {
                let late = Unknown::Late(wait);
                let mut memory = self.memory();
                asked.iter().for_each(|key| memory.refuse(key, late.to_string(), Patience::Late));
                return Err(late);
            }
        }
        Err(why)
    }

    /// Asks, for a later plan, for the template of a model that chats and could not be rendered yet:
    /// now and then, because the whole vocabulary comes with it.
    async fn complete(&self, known: &Known, engines: &[v1::Engine]) {
        let chats = |model: &v1::Model| model.chat && model.vocabulary == known.key;
        let wanted = known.template.is_none() && engines.iter().flat_map(|e| &e.models).any(chats);
        if wanted && self.memory().may_ask(&known.key) {
            self.inner.fleet.want_vocabulary(&known.key).await;
        }
    }

    fn refuse(&self, key: &str, reason: String) -> Unknown {
        tracing::warn!(vocabulary = key, reason, "a vocabulary cannot be used");
        self.memory().refuse(key, reason.clone(), Patience::Unusable);
        Unknown::Unusable(reason)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Nothing panics while it holds this lock.
        self.inner.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keys that engines have for a model, each once, in the engines' order.
fn keys<'e>(engines: &'e [v1::Engine], model: &str) -> Vec<&'e str> {
    let mut keys = Vec::new();
    for known in engines.iter().flat_map(|engine| &engine.models) {
        let key = known.vocabulary.as_str();
        if models::means(model, &known.name) && !key.is_empty() && !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

// === impl Known ===

impl Known {
    /// What a definition alone tells, without template and key. Takes up to a second.
    ///
    /// # Errors
    /// If no tokenizer can be built from it.
    pub(crate) fn of(definition: &Definition) -> Result<Self, caravan_tokenize::Error> {
        let tokenizer = caravan_tokenize::build(definition)?;
        let begin_tokens = definition.begin().map_or(0, |begin| tokenizer.count(&begin));
        Ok(Self { tokenizer, template: None, begin_tokens, key: String::new() })
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { template, key, .. } = self;
        formatter.debug_struct("Known").field("template", template).field("key", key).finish_non_exhaustive()
    }
}
