//! One chunk, request by request, in the payload's order.

use caravan_proto::v1::{PayloadRequest, Strategy, Usage, request_result::Outcome};
use caravan_request::EngineKind;
use serde_json::{Map, Value};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::{
    End, Lane,
    attempt::{Answered, Asked, Came, Unanswered},
    outcome,
};
use crate::{
    conversation::{self, Conversation},
    engine::Call,
    gate::{Need, Pass},
    lease::Lease,
    metrics,
    unit::Lesson,
    usage,
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
        if let Some(first_use) = self.first_use.clone().filter(|_| lease.endpoint.is_chat())
            && self.unless_draining(first_use.of(&need.model)).await.is_none()
        {
            return End::HandBack("drain");
        }
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
            if !self.ledger.is_open(&self.id) {
                return End::HandBack("lane_closed");
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
        let answered = matches!(outcome, Outcome::Response(_));
        let provenance = answered.then(|| self.unit.provenance(&lease.payload.model));
        self.ledger.post(outcome::result(lease, index, request, outcome, usage, provenance));
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
                let planned = call(lease, pass, Some(&*chat), request, &body);
                chat.make_room(self.safe_context(lease, pass), &planned);
                chat.conversation.weave(&mut body, chat.shared_messages);
            }
            let call = call(lease, pass, chat.as_deref(), request, &body);
            let (failure, spent) = match self.answer(&Asked { lease, pass, call: &call }).await {
                Ok(Answered { response, usage }) => {
                    if let Some(chat) = chat {
                        let prompt = response.prompt_tokens.unwrap_or(call.prompt_tokens);
                        let answer = response.completion_tokens.or(call.answer_limit()).unwrap_or(0);
                        chat.conversation.push(&body, chat.shared_messages, &response.text, (prompt, answer));
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

    /// Tokens that a conversation may come to: what its chunk was planned with, though the model may be
    /// loaded with more; else what it is loaded with.
    fn safe_context(&self, lease: &Lease, pass: &Pass<'_>) -> Option<u64> {
        let planned = u64::try_from(lease.payload.context).unwrap_or(0);
        let known = [planned, pass.set.context].into_iter().find(|context| *context > 0);
        known.or_else(|| self.unit.loaded_context(&pass.model))
    }

    /// The tokens of an answer; from now on the slot holds its prompt.
    pub(super) fn account(&mut self, asked: &Asked<'_>, came: &Came) -> Usage {
        let Asked { pass, call, .. } = asked;
        let response = &came.response;
        let prompt = usage::prompt_text(call.body);
        let shared = if call.endpoint.is_embedding() {
            0
        } else {
            self.warm.shared(call.model, &prompt, response.prompt_tokens.unwrap_or(call.prompt_tokens))
        };
        let usage = usage::of(response, call.prompt_tokens, shared);
        self.warm.remember(call.model, prompt, &response.text);
        metrics::tokens(&usage);
        let tokens = usage.prompt_tokens.saturating_add(usage.completion_tokens);
        self.unit.speed.add(Instant::now(), u64::try_from(tokens).unwrap_or(0));
        let Came { took, all_busy, .. } = *came;
        self.unit.learn(&self.ledger, &Lesson { pass, response, usage: &usage, shared, took, all_busy });
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
    let start = Conversation::default();
    let conversation = chat.map_or(&start, |chat| &chat.conversation);
    let prompt = conversation.expect(request, lease.payload.prefix_tokens);
    Call {
        prompt_tokens: prompt.tokens,
        least_prompt_tokens: prompt.least,
        answer_tokens: u64::try_from(lease.payload.answer_tokens).unwrap_or(0),
        ..Call::new(lease.endpoint, &lease.payload.model, body, pass.set)
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

    /// Begins anew if the engine's own counts say that the next exchange does not fit into `context`
    /// tokens.
    fn make_room(&mut self, context: Option<u64>, call: &Call<'_>) {
        let needed = call.prompt_tokens + call.answer_limit().unwrap_or(1);
        if !self.conversation.is_empty() && context.is_some_and(|context| needed > context) {
            self.restart();
        }
    }

    fn restart(&mut self) {
        self.conversation.restart();
        metrics::conversation_restarted();
    }
}
