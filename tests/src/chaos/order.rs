//! The batches of a run: what each asks for, when it comes, and what its client does.

use caravan_proto::v1::{Batch, ChunkLimits, Strategy};
use serde_json::json;

use super::{config::ANSWER_TOKENS, engine::POISON};
use crate::{Input, MODEL};

/// Requests of a chunk at most: several chunks a lane, so that something is always on its way.
pub(super) const CHUNK: usize = 20;
/// Prompts that requests of a batch share.
const PROMPTS: usize = 4;
/// Words of a shared prompt: with them an input takes a moment to upload.
const WORDS: usize = 120;

/// One batch and its client.
#[derive(Debug)]
pub(super) struct Order {
    /// Begins the `custom_id` and the marker of all of its requests.
    pub(super) name: &'static str,
    pub(super) input: Input,
    pub(super) policy: Batch,
    /// Comes when this share of all requests is final.
    pub(super) comes_at: f64,
    /// Is cancelled when this share of its own requests is final.
    pub(super) cancelled_at: Option<f64>,
    /// Its client breaks the upload off in the middle and resumes it.
    pub(super) breaks_off: bool,
    /// Its client streams results too.
    pub(super) streams: bool,
    /// The line that kills its engine.
    pub(super) poisoned: Option<u64>,
}

/// The batches of `requests` requests in all.
pub(super) fn orders(requests: usize) -> Vec<Order> {
    let part = |percent: usize| requests * percent / 100;
    let rest = requests - part(40) - part(20) - part(25);
    let shared = Order { streams: true, ..order("shared", part(40), true) };
    let urgent = Order { comes_at: 0.1, ..order("urgent", part(20), false) };
    let late = Order { comes_at: 0.35, breaks_off: true, ..order("late", part(25), false) };
    let dropped = Order { comes_at: 0.1, cancelled_at: Some(0.4), ..order("dropped", rest, false) };
    let talk = Batch { priority: 50, strategy: Strategy::Conversation.into(), ..urgent.policy.clone() };
    vec![
        shared,
        Order { policy: talk, ..urgent },
        Order { policy: Batch { priority: 10, ..late.policy.clone() }, ..late },
        Order { policy: Batch { priority: 20, ..dropped.policy.clone() }, streams: true, ..dropped },
    ]
}

fn order(name: &'static str, requests: usize, is_poisoned: bool) -> Order {
    let poisoned = is_poisoned.then_some(requests / 3);
    let mut input = Input::new();
    for index in 0..requests {
        let (system, id) = (prompt(name, index % PROMPTS), format!("{name}-{index}"));
        let poison = if poisoned == Some(index) { POISON } else { "" };
        let question = format!("marker={id} what is {index}? {poison}");
        // Unequal answers: a few tokens, up to all that there are.
        let tokens = [1, 3, 8, 15][index % 4] * ANSWER_TOKENS / 15;
        let body = json!({"model": MODEL, "max_tokens": tokens, "messages": [
            {"role": "system", "content": system}, {"role": "user", "content": question},
        ]});
        input = input.request(&id, "/v1/chat/completions", body, Some(&question));
    }
    let limits = ChunkLimits { max_requests: CHUNK as i32, max_seconds: 0.0 };
    Order {
        name,
        input,
        policy: Batch { chunk_limits: Some(limits), ..Batch::default() },
        comes_at: 0.0,
        cancelled_at: None,
        breaks_off: false,
        streams: false,
        poisoned: poisoned.map(|index| index as u64 + 1),
    }
}

fn prompt(name: &str, number: usize) -> String {
    let words = (0..WORDS).map(|word| format!("{name}{}", word * (number + 1)));
    format!("Prompt {number}: {}", words.collect::<Vec<_>>().join(" "))
}
