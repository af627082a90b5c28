//! What a user may say of a batch, for `submit` and `plan`.

use std::{collections::HashMap, path::Path, time::Duration};

use caravan_proto::v1::{Batch, ChunkLimits, OnInvalid, StatedTokens, Strategy};
use caravan_request::Endpoint;
use clap::ValueEnum;

use crate::{defaults, failure::Failure, input::Input, rows, span};

/// Policy of a batch; what is left out is the server's to decide.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct BatchOptions {
    /// Model of every line; lines that name another one are invalid.
    #[arg(long)]
    model: Option<String>,
    /// How requests share their prompt.
    #[arg(long, value_enum)]
    strategy: Option<StrategyName>,
    /// What a line that fails validation does.
    #[arg(long, value_enum, value_name = "POLICY")]
    on_invalid: Option<OnInvalidName>,
    /// -100 to 100; higher first.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    priority: i32,
    /// URL that every line must name, e.g. /v1/chat/completions; with defaults or rows, that
    /// by default, and lines may leave it out.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// A label of your own; may be given again.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    metadata: Vec<(String, String)>,
    /// Expire the batch after this time, e.g. 24h.
    #[arg(long, value_name = "TIME", value_parser = span::parse)]
    completion_window: Option<Duration>,
    /// Remove the batch and its files this time after its end, e.g. 30d.
    #[arg(long, value_name = "TIME", value_parser = span::parse)]
    retention: Option<Duration>,
    /// Tell the batch's end there, by a signed POST.
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
    /// Requests in a chunk, at most.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    max_chunk_requests: Option<i32>,
    /// Planned seconds of a chunk, at most.
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    max_chunk_seconds: Option<f64>,
    /// Context of one slot in tokens, stated instead of measured.
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(i64).range(1..))]
    max_context: Option<i64>,
    /// Tokens of the shared prompt, stated instead of counted.
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(i64).range(1..))]
    system_tokens: Option<i64>,
    /// Tokens of one request with its answer, stated instead of counted.
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(i64).range(1..))]
    exchange_tokens: Option<i64>,
    /// Tokens of one request without its answer, stated instead of counted.
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(i64).range(1..))]
    user_tokens: Option<i64>,
    #[command(flatten)]
    defaults: defaults::Options,
    #[command(flatten)]
    rows: rows::Options,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum StrategyName {
    /// Every request stands alone.
    Independent,
    /// One growing chat a chunk: a request sees the exchanges before it.
    Conversation,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OnInvalidName {
    /// One bad line fails the whole batch before anything runs.
    #[value(name = "reject_batch", alias = "reject-batch")]
    RejectBatch,
    /// Bad lines go to the error file, the others run.
    #[value(name = "reject_line", alias = "reject-line")]
    RejectLine,
}

// === impl BatchOptions ===

impl BatchOptions {
    /// The input at `path`, and the batch over it, but for the input's name on the server.
    pub(crate) async fn read(&self, path: &Path) -> Result<(Input, Batch), Failure> {
        let mut batch = self.batch();
        let endpoint = self.endpoint.as_deref().map_or(Ok(Endpoint::ChatCompletions), known)?;
        let rows = self.rows.rows(path, endpoint)?;
        if self.defaults.are_given() || rows.is_some() {
            // Lines that leave out their URL go to the batch's.
            batch.endpoint = endpoint.as_str().to_owned();
            batch.defaults = self.defaults.text(endpoint)?;
        }
        Ok((Input::open(path, rows).await?, batch))
    }

    fn batch(&self) -> Batch {
        let strategy = match self.strategy {
            Some(StrategyName::Independent) => Strategy::Independent,
            Some(StrategyName::Conversation) => Strategy::Conversation,
            None => Strategy::Unspecified,
        };
        let on_invalid = match self.on_invalid {
            Some(OnInvalidName::RejectBatch) => OnInvalid::RejectBatch,
            Some(OnInvalidName::RejectLine) => OnInvalid::RejectLine,
            None => OnInvalid::Unspecified,
        };
        Batch {
            strategy: strategy.into(),
            on_invalid: on_invalid.into(),
            priority: self.priority,
            endpoint: self.endpoint.clone().unwrap_or_default(),
            model: self.model.clone().unwrap_or_default(),
            metadata: self.metadata.iter().cloned().collect::<HashMap<_, _>>(),
            chunk_limits: self.chunk_limits(),
            stated_tokens: self.stated_tokens(),
            completion_window: self.completion_window.and_then(|window| window.try_into().ok()),
            retention: self.retention.and_then(|time| time.try_into().ok()),
            webhook: self.webhook.clone().unwrap_or_default(),
            ..Default::default()
        }
    }

    fn chunk_limits(&self) -> Option<ChunkLimits> {
        (self.max_chunk_requests.is_some() || self.max_chunk_seconds.is_some()).then(|| ChunkLimits {
            max_requests: self.max_chunk_requests.unwrap_or_default(),
            max_seconds: self.max_chunk_seconds.unwrap_or_default(),
        })
    }

    /// The numbers that are stated, if any are.
    pub(crate) fn stated_tokens(&self) -> Option<StatedTokens> {
        let stated = StatedTokens {
            max_context: self.max_context.unwrap_or_default(),
            system_tokens: self.system_tokens.unwrap_or_default(),
            exchange_tokens: self.exchange_tokens.unwrap_or_default(),
            user_tokens: self.user_tokens.unwrap_or_default(),
        };
        (stated != StatedTokens::default()).then_some(stated)
    }
}

fn known(url: &str) -> Result<Endpoint, Failure> {
    let known = Endpoint::ALL.map(Endpoint::as_str).join(", ");
    Endpoint::parse(url).ok_or_else(|| Failure::Usage(format!("--endpoint must be one of {known}")))
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) =
        text.split_once('=').ok_or_else(|| format!("`{text}` is not of the form KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    if number.is_finite() && number > 0.0 { Ok(number) } else { Err("must be above 0".to_owned()) }
}
