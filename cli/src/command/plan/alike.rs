//! `caravan plan --requests N`: the plan of one conversation batch whose exchanges are all alike.

use caravan_plan::{Arithmetic, Limits, Tokens, arithmetic};
use caravan_proto::v1::StatedTokens;
use serde_json::{Value, json};

use crate::{
    failure::Failure,
    figures::{count, counted, percent},
    stdout,
    table::plain,
};

/// What would be ignored without a file, and is refused.
const OF_FILES: [&str; 19] = [
    "file",
    "profile",
    "tokenizer",
    "lanes",
    "model",
    "strategy",
    "on_invalid",
    "priority",
    "endpoint",
    "metadata",
    "completion_window",
    "max_chunk_requests",
    "max_chunk_seconds",
    "system_file",
    "defaults",
    "param",
    "user_template",
    "format",
    "id_column",
];
const STATED: [&str; 4] = ["max_context", "system_tokens", "exchange_tokens", "user_tokens"];

/// A plan without a file and without a server.
#[derive(Debug, clap::Args)]
// Its name is that of other options, and no two groups of a command may share one.
#[group(skip)]
pub(super) struct Options {
    /// Instead of FILE: compute the plan of so many conversation requests that are all alike, from
    /// the four stated numbers; 0.8 of the context is used, and 0.8 of what fits goes to a chunk.
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..),
        requires_all = STATED,
        conflicts_with_all = OF_FILES,
        help_heading = "Without a server"
    )]
    requests: Option<u64>,
}

// === impl Options ===

impl Options {
    /// Prints the plan.
    pub(super) fn show(&self, stated: &StatedTokens, json: bool) -> Result<(), Failure> {
        let plan = plan(self.requests.unwrap_or_default(), stated).map_err(Failure::Usage)?;
        if json { stdout::line(value(&plan)) } else { stdout::line(text(&plan, stated)) }
    }
}

fn plan(requests: u64, stated: &StatedTokens) -> Result<Arithmetic, String> {
    let StatedTokens { max_context, system_tokens, exchange_tokens, user_tokens } = *stated;
    if user_tokens > exchange_tokens {
        return Err("--user-tokens is part of --exchange-tokens: it cannot be larger".to_owned());
    }
    let tokens = |stated: i64| Tokens(stated.unsigned_abs());
    let [context, system] = [max_context, system_tokens].map(tokens);
    let [exchange, user] = [exchange_tokens, user_tokens].map(tokens);
    let plan = arithmetic(requests, context, system, exchange, user, &Limits::default());
    let plan = plan.map_err(|error| error.to_string())?;
    // What is computed stays at its bound instead of passing it.
    match i64::try_from(plan.prompt_tokens_without.0) {
        Ok(tokens) if tokens < i64::MAX => Ok(plan),
        _ => Err("these numbers come to more prompt tokens than can be counted".to_owned()),
    }
}

fn text(plan: &Arithmetic, stated: &StatedTokens) -> String {
    let mut table = plain();
    let mut row = |name: &str, value: String| {
        table.add_row([name.to_owned(), value]);
    };
    let [context, exchange] = [stated.max_context, stated.exchange_tokens].map(|n| counted(n, "token"));
    row("requests", count(whole(plan.requests)));
    row("usable context", format!("{} of {context}", count(whole(plan.budget.usable.0))));
    row("exchanges that fit", format!("{} of {exchange}", count(whole(plan.exchanges))));
    row("exchanges of a chunk", count(whole(plan.chunk_requests)));
    row("chunks", count(whole(plan.chunks)));
    row("largest context", counted(whole(plan.largest_context.0), "token"));
    row("prompt tokens alone", count(whole(plan.prompt_tokens_without.0)));
    row("prompt tokens planned", count(whole(plan.prompt_tokens_with.0)));
    row("savings", percent(plan.savings()));
    let (evaluated, alone) = (counted(whole(plan.chunks), "time"), count(whole(plan.requests)));
    let saved = percent(plan.prefix_savings());
    row("system prompt evaluated", format!("{evaluated} instead of {alone}: {saved} saved"));
    table.trim_fmt()
}

fn value(plan: &Arithmetic) -> Value {
    json!({
        "requests": plan.requests,
        "usable_context": plan.budget.usable.0,
        "exchanges": plan.exchanges,
        "chunk_requests": plan.chunk_requests,
        "chunks": plan.chunks,
        "largest_context": plan.largest_context.0,
        "prompt_tokens_without": plan.prompt_tokens_without.0,
        "prompt_tokens_with": plan.prompt_tokens_with.0,
        "savings": plan.savings(),
        "prefix_evaluations_without": plan.requests,
        "prefix_evaluations": plan.chunks,
        "prefix_savings": plan.prefix_savings(),
    })
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
