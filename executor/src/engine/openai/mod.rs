//! The driver of OpenAI-compatible servers: llama-server and vLLM. Their model and context are
//! fixed at their start, so loading only checks.

mod native;
pub(super) mod request;
pub(super) mod response;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vocabulary_tests;
mod wire;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use caravan_request::{Endpoint, EngineKind};
use serde_json::{Map, json};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::acquire::{ModelFile, Progress};
use super::answer::Stamp;
use super::connection::{Connection, Error, Options};
use super::tokenizers::{self, Found, Source, Tokenizers};
use super::{
    Call, Class, Description, Engine, Facts, Failure, Loaded, Model, ReloadSet, Response, Turn, bare,
    llama_server,
};
use crate::processes;
use wire::{Applied, Listed, Models, Props, Version};

/// One OpenAI-compatible server.
#[derive(Debug)]
pub struct OpenAi {
    connection: Connection,
    /// Its port, if it is on this host.
    port: Option<u16>,
    /// Context of one slot by model, as last described; bounded by the models that it has.
    contexts: Mutex<HashMap<String, u64>>,
    tokenizers: Tokenizers,
    /// The files that vocabularies are read from, by model, as last described.
    files: Mutex<HashMap<String, (Source, Found)>>,
}

// === impl OpenAi ===

impl OpenAi {
    /// A driver for the server at `url`, with or without a final `/v1`; touches no network.
    ///
    /// # Errors
    /// If the URL is not http, or the HTTP client cannot be set up.
    pub fn new(url: &Url, options: Options) -> Result<Self, Error> {
        let mut base = url.clone();
        let path = url.path().trim_end_matches('/');
        base.set_path(path.strip_suffix("/v1").unwrap_or(path));
        let connection = Connection::new(&base, options)?;
        let (contexts, tokenizers, files) = Default::default();
        Ok(Self { connection, port: processes::loopback_port(&base), contexts, tokenizers, files })
    }

    /// The same with files that models' prompts are counted with.
    #[must_use]
    pub fn with_tokenizers(self, tokenizers: Tokenizers) -> Self {
        Self { tokenizers, ..self }
    }

    fn file(&self, model: &str) -> Option<(Source, Found)> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).get(bare(model)).cloned()
    }

    /// The file to read the model's vocabulary from: the one that is named for it, else that of
    /// the one model of a llama-server, if it is on this host.
    async fn find(&self, model: &str, own: Option<&str>) -> Option<(Source, Found)> {
        let known = self.file(model);
        let source = match self.tokenizers.of(model) {
            Some(named) => named,
            None => self.own_file(Path::new(own?), known.as_ref()).await?,
        };
        let known = known.filter(|(before, _)| *before == source);
        let found = source.find(known.as_ref().map(|(_, found)| found)).await?;
        Some((source, found))
    }

    /// The file that the server calls `path`: relative, where it was started with a relative one, to a
    /// directory that it does not tell. The one that was found before is not looked for again.
    async fn own_file(&self, path: &Path, known: Option<&(Source, Found)>) -> Option<Source> {
        if path.is_absolute() {
            return Some(Source::new(path));
        }
        if let Some((before, _)) = known.filter(|(before, _)| before.ends_with(path))
            && before.key().await.is_some()
        {
            return Some(before.clone());
        }
        let port = self.port?;
        let directory = move || processes::listening(port).and_then(processes::directory);
        Some(Source::new(tokio::task::spawn_blocking(directory).await.ok()??.join(path)))
    }

    /// Finds the files of `models` and describes them.
    async fn describe_files(&self, models: &mut [Model], props: &Props) {
        let own = (models.len() == 1 && !props.model_path.is_empty()).then_some(props.model_path.as_str());
        let mut files = HashMap::new();
        for model in models {
            if let Some((source, found)) = self.find(&model.name, own).await {
                model.vocabulary = key(&found, &props.chat_template);
                model.sliding_window = found.sliding_window;
                files.insert(bare(&model.name).to_owned(), (source, found));
            }
        }
        *self.files.lock().unwrap_or_else(PoisonError::into_inner) = files;
    }

    fn context(&self, model: &str) -> Option<u64> {
        self.contexts.lock().unwrap_or_else(PoisonError::into_inner).get(bare(model)).copied()
    }

    /// llama-server's properties; default for a server that has none. While it loads, it lists
    /// its models already but has no properties yet: then it is not up.
    async fn props(&self) -> Result<Props, Failure> {
        let reply = self.connection.get("/props").await?;
        if reply.is_success() || reply.status == 503 { reply.read() } else { Ok(Props::default()) }
    }

    /// vLLM's version; empty for a server that does not say.
    async fn version(&self) -> Result<String, Failure> {
        let reply = self.connection.get("/version").await?;
        Ok(reply.read::<Version>().unwrap_or_default().version)
    }
}

#[async_trait]
impl Engine for OpenAi {
    fn kind(&self) -> EngineKind {
        EngineKind::OpenAi
    }

    /// These servers do not tell whether a model chats or embeds: both are taken for possible.
    async fn describe(&self) -> Result<Description, Failure> {
        let listed: Models = self.connection.get("/v1/models").await?.read()?;
        let props = self.props().await?;
        let version =
            if props.build_info.is_empty() { self.version().await? } else { props.build_info.clone() };
        let mut models: Vec<_> = listed.data.into_iter().map(|model| describe_model(model, &props)).collect();
        self.describe_files(&mut models, &props).await;
        let contexts =
            models.iter().filter_map(|model| Some((bare(&model.name).to_owned(), model.max_context?)));
        *self.contexts.lock().unwrap_or_else(PoisonError::into_inner) = contexts.collect();
        Ok(Description { version, slots: props.total_slots, models, unfit: None })
    }

    async fn load(&self, model: &str, set: ReloadSet) -> Result<(), Failure> {
        let description = self.describe().await?;
        let Some(found) = description.model(model) else {
            return Err(Failure::own(Class::Model, "model_not_found", format!("model {model} not found")));
        };
        match found.max_context {
            Some(context) if context < set.context => {
                let message = format!("asked for a context of {}, started with {context}", set.context);
                Err(Failure::own(Class::Model, "context_not_honoured", message))
            }
            _ => Ok(()),
        }
    }

    async fn slots(&self, _: &str) -> Option<u32> {
        self.props().await.ok()?.total_slots
    }

    async fn requests(&self) -> Option<u32> {
        llama_server::requests(&self.connection).await
    }

    /// Its model stays for as long as it runs.
    async fn unload(&self, _: &str) -> Result<(), Failure> {
        Ok(())
    }

    /// Only of a model whose GGUF file is on this host.
    async fn facts(&self, model: &str) -> Result<Facts, Failure> {
        let props = self.props().await?;
        let template = props.chat_template;
        match self.file(model) {
            Some((source, _)) => Ok(Facts { template, ..source.facts().await? }),
            None => Ok(Facts { template, ..Facts::default() }),
        }
    }

    async fn pull(&self, _: &str, _: Progress<'_>) -> Result<(), Failure> {
        Err(Failure::fixed_model())
    }

    async fn import(&self, _: &str, _: &dyn ModelFile, _: Progress<'_>) -> Result<(), Failure> {
        Err(Failure::fixed_model())
    }

    async fn run(&self, call: &Call<'_>) -> Result<Response, Failure> {
        let context = self.context(call.model).unwrap_or(call.set.context);
        let request = request::translate(call, context)?;
        let deadline = self.connection.options().answer_deadline(request.tokens);
        let reply = self.connection.post(request.path, &request.body, deadline).await?;
        response::read(call, &reply, Stamp::now())
    }

    async fn vocabulary(&self, model: &str) -> Result<Vec<u8>, Failure> {
        match self.file(model) {
            Some((source, _)) => source.read().await,
            None => Err(tokenizers::none("the server names no file with it that is on this host")),
        }
    }

    /// llama-server renders without a slot; vLLM does not render.
    async fn render(&self, model: &str, set: ReloadSet, chat: &[Turn]) -> Result<Option<String>, Failure> {
        let body = Map::from_iter([("messages".to_owned(), json!(chat))]);
        let endpoint = Endpoint::ChatCompletions;
        let call = Call::new(endpoint, model, &body, set);
        let request = request::translate(&call, set.context)?;
        let deadline = self.connection.options().probe_deadline();
        let reply = self.connection.post("/apply-template", &request.body, deadline).await?;
        if reply.status == 404 {
            return Ok(None);
        }
        Ok(Some(reply.read::<Applied>()?.prompt))
    }
}

/// The key of a vocabulary that is read from a file: the hash of the file, as found, and of the
/// server's template.
fn key(found: &Found, template: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(found.key.as_bytes());
    hash.update(template.as_bytes());
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn describe_model(listed: Listed, props: &Props) -> Model {
    let context = listed.max_model_len.or(props.default_generation_settings.n_ctx);
    let loaded = context.map(|context| Loaded { context, ..Loaded::default() });
    Model { name: listed.id, max_context: context, chat: true, embedding: true, loaded, ..Model::default() }
}
