//! The driver of OpenAI-compatible servers: llama-server and vLLM. Their model and context are
//! fixed at their start, so loading only checks.

mod native;
pub(super) mod request;
pub(super) mod response;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use caravan_request::EngineKind;
use url::Url;

use super::answer::Stamp;
use super::connection::{Connection, Error, Options};
use super::{
    Call, Class, Description, Engine, Failure, Loaded, Model, ReloadSet, Response, bare, same_model,
};
use wire::{Listed, Models, Props, Version};

/// One OpenAI-compatible server.
#[derive(Debug)]
pub struct OpenAi {
    connection: Connection,
    /// Context of one slot by model, as last described; bounded by the models that it has.
    contexts: Mutex<HashMap<String, u64>>,
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
        Ok(Self { connection: Connection::new(&base, options)?, contexts: Mutex::default() })
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
        let models: Vec<_> = listed.data.into_iter().map(|model| describe_model(model, &props)).collect();
        let contexts =
            models.iter().filter_map(|model| Some((bare(&model.name).to_owned(), model.max_context?)));
        *self.contexts.lock().unwrap_or_else(PoisonError::into_inner) = contexts.collect();
        Ok(Description { version, slots: props.total_slots, models })
    }

    async fn load(&self, model: &str, set: ReloadSet) -> Result<(), Failure> {
        let description = self.describe().await?;
        let Some(found) = description.models.iter().find(|found| same_model(&found.name, model)) else {
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

    async fn run(&self, call: &Call<'_>) -> Result<Response, Failure> {
        let context = self.context(call.model).unwrap_or(call.set.context);
        let request = request::translate(call, context)?;
        let deadline = self.connection.options().answer_deadline(request.tokens);
        let reply = self.connection.post(request.path, &request.body, deadline).await?;
        response::read(call, &reply, Stamp::now())
    }
}

fn describe_model(listed: Listed, props: &Props) -> Model {
    let context = listed.max_model_len.or(props.default_generation_settings.n_ctx);
    let loaded = context.map(|context| Loaded { context, ..Loaded::default() });
    Model {
        name: listed.id,
        digest: String::new(),
        max_context: context,
        chat: true,
        embedding: true,
        loaded,
    }
}
