use std::fmt;

use anyhow::Context as _;
use caravan_proto::v1::{Batch, CreateProfileRequest, Engine, Profile, TemplateTokens, batch::State};
use caravan_simulated_engine::{Options, Running, SimulatedEngine, text_of};
use serde_json::json;

use crate::{Input, MODEL, Up};

/// A batch whose time is predicted: how many engines, prefixes and requests.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Engines.
    pub engines: usize,
    /// Different prompts that requests share.
    pub prefixes: usize,
    /// Words of each.
    pub prefix_words: usize,
    /// Requests.
    pub requests: usize,
}

/// What a plan said, and what came, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Predicted {
    /// `Plan.estimated_duration`.
    pub predicted: f64,
    /// From the first lease to the last commit.
    pub actual: f64,
}

// === impl Shape ===

impl Shape {
    /// One prefix and many, on one engine and on two, few requests and many.
    pub const ALL: [Self; 5] = [
        Self { engines: 1, prefixes: 1, prefix_words: 400, requests: 120 },
        Self { engines: 1, prefixes: 16, prefix_words: 800, requests: 128 },
        Self { engines: 2, prefixes: 1, prefix_words: 800, requests: 200 },
        Self { engines: 2, prefixes: 30, prefix_words: 400, requests: 240 },
        Self { engines: 1, prefixes: 3, prefix_words: 100, requests: 17 },
    ];

    /// Requests of unequal length on equally many words of every prefix.
    fn input(self, answer_tokens: usize) -> Input {
        let each = |input: Input, index: usize| {
            let system = text_of(&format!("p{}", index % self.prefixes), self.prefix_words);
            let question = text_of(&format!("q{index}"), 10 + index * 7 % 60);
            let body = json!({"model": MODEL, "max_tokens": answer_tokens, "messages": [
                {"role": "system", "content": system}, {"role": "user", "content": question},
            ]});
            input.request(&format!("r{index}"), "/v1/chat/completions", body, Some(&question))
        };
        (0..self.requests).fold(Input::new(), each)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { engines, prefixes, prefix_words, requests } = self;
        write!(f, "{requests} on {prefixes} × {prefix_words} words, {engines} engines")
    }
}

/// A profile of a simulated engine, as the engine is.
#[must_use]
pub fn profile_of(engine: &Engine, options: &Options) -> Profile {
    let digest = engine.models.iter().find(|model| model.name.starts_with(MODEL));
    let digest = digest.map(|model| model.digest.clone()).unwrap_or_default();
    Profile {
        model: MODEL.to_owned(),
        model_digest: digest,
        engine_kind: engine.kind,
        engine_version: engine.version.clone(),
        gpu: engine.gpu.clone(),
        driver: engine.driver.clone(),
        kv_type: engine.kv_type.clone(),
        slots: engine.slots,
        max_context: 8_192,
        prefill_tokens_per_second: options.prefill,
        decode_tokens_per_second: options.decode,
        request_seconds: std::time::Duration::from_millis(options.answer_ms).as_secs_f64(),
        template: Some(TemplateTokens::default()),
        ..Profile::default()
    }
}

/// Runs a batch of this shape on simulated engines with a profile of what they are.
///
/// # Errors
/// If something does not come up, or not every request is answered.
pub async fn predict(shape: Shape, options: &Options) -> anyhow::Result<Predicted> {
    let engines = (0..shape.engines).map(|_| SimulatedEngine::start(options.clone()));
    let engines: Vec<Running> = engines.collect::<Result<_, _>>()?;
    let urls: Vec<String> = engines.iter().map(Running::url).collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let up = Up::start(&urls, options.slots, "").await?;
    let api = up.api()?;
    api.serves_on(MODEL, shape.engines).await?;
    let profile = profile_of(&api.engine().await?, options);
    api.fleet().create_profile(CreateProfileRequest { profile: Some(profile) }).await?;

    let input = shape.input(options.answer_tokens);
    let batch = api.ended(&api.create(&input, Batch::default()).await?.name).await?;
    anyhow::ensure!(batch.state() == State::Completed, "{batch:?}");
    api.audit(&input, &batch).await?;
    let seconds = batch.report.and_then(|report| report.seconds).context("no time was predicted")?;
    Ok(Predicted { predicted: seconds.predicted, actual: seconds.actual })
}
