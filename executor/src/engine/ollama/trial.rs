//! Whether a server of unknown version cuts prompts that are too long, by one that is.

use caravan_request::Endpoint;
use serde_json::{Map, json};

use super::{Ollama, request, response, wire::Tag};
use crate::engine::answer::Stamp;
use crate::engine::{Call, Class, Failure, ReloadSet};

/// Code of a server that cuts.
const TRUNCATES: &str = "engine_truncates";

// === impl Ollama ===

impl Ollama {
    /// Sends the model of `tag` a prompt of more words than its context has tokens, once a model. A server
    /// that honours `truncate: false` counts the tokens and refuses: nothing is evaluated. One that does
    /// not evaluates at most one context, and fails.
    pub(super) async fn try_refusal(&self, tag: &Tag, set: ReloadSet, context: u64) -> Result<(), Failure> {
        if context == 0 || self.seen().refusing.contains(&tag.digest) {
            return Ok(());
        }
        let words = usize::try_from(context).unwrap_or(usize::MAX).saturating_add(1);
        let messages = json!([{ "role": "user", "content": "a ".repeat(words) }]);
        let body = Map::from_iter([("messages".to_owned(), messages)]);
        let call = Call { answer_tokens: 1, ..Call::new(Endpoint::OllamaChat, &tag.name, &body, set) };
        let request = request::translate(&call, context)?;
        let deadline = self.connection.options().answer_deadline(context);
        let reply = self.connection.post(request.path, &request.body, deadline).await?;
        match response::read(&call, &reply, true, Stamp::now()) {
            Err(failure) if failure.code == "context_length_exceeded" => {
                self.seen().refusing.insert(tag.digest.clone());
                Ok(())
            }
            Err(failure) if failure.code != "prompt_truncated" => Err(failure),
            _ => {
                let message = "this build of Ollama cuts prompts that are too long without a word: \
                               use release 0.12.6 or newer";
                Err(Failure::own(Class::Model, TRUNCATES, message))
            }
        }
    }
}
