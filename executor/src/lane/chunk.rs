//! One chunk, request by request, in the payload's order.

use caravan_proto::v1::{PayloadRequest, Strategy, Usage, request_result::Outcome};
use caravan_request::EngineKind;
use serde_json::{Map, Value};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::{
    End, Lane,
    attempt::{Answered, Asked, Unanswered},
    outcome,
};
use crate::{
    conversation::{self, Conversation},
    engine::{Call, Response},
    gate::{Need, Pass},
    lease::Lease,
    metrics, usage,
};

/// Code of a request that does not fit the context.
const TOO_LONG: &str = "context_length_exceeded";

/// The growing chat of a chunk, where its strategy is that.
struct Chat {
    conversation: Conversation,
    shared_messages: usize,
}

// === impl Lane ===

impl Lane {
    /// Runs what is open of `lease`.
    pub(super) async fn chunk(&mut self, lease: &Lease) -> End {
        if lease.open.is_empty() {
            return End::HandBack("nothing_left");
        }
        let unit = std::sync::Arc::clone(&self.unit);
        let need = Need {
            model: lease.payload.model.clone(),
            context: u64::try_from(lease.payload.context).unwrap_or(0),
            batch: u64::try_from(lease.payload.batch_tokens).unwrap_or(0),
            embedding: lease.endpoint.is_embedding() && unit.engine.kind() == EngineKind::Ollama,
        };
        let pass = match self.enter(&unit, need).await {
            Ok(pass) => pass,
            Err(end) => return end,
        };
        let mut chat = Chat::of(lease);
        self.warmth = lease.warmth.clone();
        for (place, index) in lease.open.iter().enumerate() {
            let Some(request) = lease.request(*index) else { return End::HandBack("range_outside_payload") };
            if self.shutdown.is_triggered() {
                return End::HandBack("drain");
            }
            if self.pace.is_time(lease.open.len() - place, self.limits.prefetch()) {
                self.ledger.want(&self.id, &lease.warmth);
            }
            let span = tracing::debug_span!("request", index, line = request.line);
            if let Err(end) =
                self.request(lease, &pass, chat.as_mut(), *index, request).instrument(span).await
            {
                return end;
            }
        }
        if let Some(chat) = chat.filter(|chat| chat.conversation.restarts() > 0) {
            tracing::info!(
                restarts = chat.conversation.restarts(),
                "conversation began anew as its context was full"
            );
        }
        End::Finished
    }

    /// Runs one request and posts its result.
    async fn request(
        &mut self,
        lease: &Lease,
        pass: &Pass<'_>,
        chat: Option<&mut Chat>,
        index: i32,
        request: &PayloadRequest,
    ) -> Result<(), End> {
        let start = Instant::now();
        let (outcome, usage) = match caravan_request::merge(&lease.payload.shared, &request.body) {
            Ok(body) => self.ask(lease, pass, chat, request, body).await?,
            Err(error) => (outcome::error("invalid_request", error.to_string()), None),
        };
        let took = start.elapsed();
        self.pace.observe(took);
        let ended = outcome::name(&outcome);
        tracing::debug!(outcome = ended, ?took, "request ended");
        metrics::request_ended(ended, took);
        self.ledger.post(outcome::result(lease, index, request, outcome, usage));
        Ok(())
    }

    /// Asks the engine, in the chat so far if there is one.
    async fn ask(
        &mut self,
        lease: &Lease,
        pass: &Pass<'_>,
        mut chat: Option<&mut Chat>,
        request: &PayloadRequest,
        body: Map<String, Value>,
    ) -> Result<(Outcome, Option<Usage>), End> {
        loop {
            let mut body = body.clone();
            if let Some(chat) = chat.as_deref_mut() {
                chat.make_room(lease, pass, request);
                chat.conversation.weave(&mut body, chat.shared_messages);
            }
            let call = call(lease, pass, chat.as_deref(), request, &body);
            let (failure, spent) = match self.answer(&Asked { lease, pass, call: &call }).await {
                Ok(Answered { response, usage }) => {
                    if let Some(chat) = chat {
                        let tokens =
                            response.prompt_tokens.zip(response.completion_tokens).map_or(0, |(p, c)| p + c);
                        chat.conversation.push(&body, chat.shared_messages, &response.text, tokens);
                    }
                    return Ok((outcome::answered(&response), Some(usage)));
                }
                Err(Unanswered::Ended(failure, spent)) => (failure, spent),
                Err(Unanswered::Chunk(end)) => return Err(end),
            };
            match chat.as_deref_mut() {
                Some(chat) if failure.code == TOO_LONG && !chat.conversation.is_empty() => chat.restart(),
                _ => return Ok((outcome::failed(failure), spent)),
            }
        }
    }

    /// The tokens of an answer; from now on the slot holds its prompt.
    pub(super) fn account(&mut self, call: &Call<'_>, response: &Response) -> Usage {
        let prompt = usage::prompt_text(call.body);
        let embedding = call.endpoint.is_embedding();
        let usage = usage::of(response, call.model, &prompt, call.prompt_tokens, &self.warm, embedding);
        self.warm.remember(call.model, prompt, &response.text);
        metrics::tokens(&usage);
        let tokens = usage.prompt_tokens.saturating_add(usage.completion_tokens);
        self.unit.speed.add(Instant::now(), u64::try_from(tokens).unwrap_or(0));
        usage
    }
}

fn call<'a>(
    lease: &'a Lease,
    pass: &Pass<'_>,
    chat: Option<&Chat>,
    request: &PayloadRequest,
    body: &'a Map<String, Value>,
) -> Call<'a> {
    let planned = u64::try_from(request.prompt_tokens).unwrap_or(0);
    Call {
        endpoint: lease.endpoint,
        model: &lease.payload.model,
        body,
        set: pass.set,
        prompt_tokens: chat
            .map_or(planned, |chat| chat.conversation.prompt_tokens(request, lease.payload.prefix_tokens)),
        answer_tokens: u64::try_from(lease.payload.answer_tokens).unwrap_or(0),
    }
}

// === impl Chat ===

impl Chat {
    /// A chat from the shared prompt on: exchanges that are committed are not replayed.
    fn of(lease: &Lease) -> Option<Self> {
        let grows = lease.payload.strategy() == Strategy::Conversation && lease.endpoint.is_chat();
        grows.then(|| Self {
            conversation: Conversation::default(),
            shared_messages: conversation::shared_messages(&lease.payload.shared),
        })
    }

    /// Begins anew if the engine's own counts say that the next exchange does not fit.
    fn make_room(&mut self, lease: &Lease, pass: &Pass<'_>, request: &PayloadRequest) {
        let prompt = self.conversation.prompt_tokens(request, lease.payload.prefix_tokens);
        let answer = u64::try_from(lease.payload.answer_tokens).unwrap_or(0).max(1);
        if pass.set.context > 0 && !self.conversation.is_empty() && prompt + answer > pass.set.context {
            self.restart();
        }
    }

    fn restart(&mut self) {
        self.conversation.restart();
        metrics::conversation_restarted();
    }
}
