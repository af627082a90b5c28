//! `/api/embed` and `/v1/embeddings`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use crate::engine::{Ask, Engine, Failure, Format, Message, Overflow, Prompt};
use crate::tokens::{hash, mix};

use super::body::Fields;
use super::deliver::fail;
use super::line::NATIVE_ERRORS;
use super::runner_options::RunnerOptions;
use super::v1;

/// Length of an embedding when a request names none.
const DIMENSIONS: u64 = 8;

/// Embeddings of all inputs, and the tokens of these.
struct Embedded {
    vectors: Vec<Vec<f64>>,
    tokens: usize,
    total: Duration,
    load: Duration,
    cached: Option<usize>,
}

pub(super) async fn embed(State(engine): State<Arc<Engine>>, body: Bytes) -> Response {
    match Box::pin(run(&engine, &body)).await {
        Ok((model, done)) => {
            let mut answer = json!({"model": model, "embeddings": done.vectors,
                "total_duration": done.total.as_nanos() as u64, "load_duration": done.load.as_nanos() as u64,
                "prompt_eval_count": done.tokens});
            if let Some(cached) = done.cached {
                answer["prompt_eval_cached_count"] = json!(cached);
            }
            super::json(200, super::JSON, answer.to_string())
        }
        Err(failure) => fail(&NATIVE_ERRORS, &failure),
    }
}

pub(super) async fn v1_embeddings(State(engine): State<Arc<Engine>>, body: Bytes) -> Response {
    match Box::pin(run(&engine, &body)).await {
        Ok((model, done)) => {
            let one = |(index, vector)| json!({"object": "embedding", "embedding": vector, "index": index});
            let data: Vec<Value> = done.vectors.iter().enumerate().map(one).collect();
            let usage = json!({"prompt_tokens": done.tokens, "total_tokens": done.tokens});
            let answer = json!({"object": "list", "data": data, "model": model, "usage": usage});
            super::json(200, "application/json", format!("{answer}\n"))
        }
        Err(failure) => fail(&v1::errors(&engine), &failure),
    }
}

async fn run(engine: &Arc<Engine>, body: &[u8]) -> Result<(String, Embedded), Failure> {
    let mut fields = Fields::read("EmbedRequest", body)?;
    let inputs = match fields.value("input") {
        None => Vec::new(),
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(texts)) if texts.iter().all(Value::is_string) => {
            texts.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        Some(_) => return Err(Failure::new(400, "invalid input type")),
    };
    let truncate = fields.bool("truncate")?.unwrap_or(true);
    let keep_alive = fields.keep_alive()?;
    let options = fields.object("options")?;
    let dimensions = fields.value("dimensions").and_then(|value| value.as_u64()).filter(|asked| *asked > 0);
    let dimensions = dimensions.unwrap_or(DIMENSIONS).min(65_536);
    let model = fields.model()?;
    let Some(found) = engine.library.find(&model) else {
        return Err(Failure::new(404, format!("model {model:?} not found, try pulling it first")));
    };
    let mut set = RunnerOptions::read(&engine.options, &found, true, &options)?.set;
    set.embedding = true;
    if !found.embedding {
        // The real thing unloads the chat runner for this and loads one that then refuses.
        engine.scheduler.unload(&set.model);
        return Err(Failure::no_embeddings(engine.options.is_v0_33()));
    }
    let vectors = inputs.iter().map(|input| vector(input, dimensions)).collect();
    let mut embedded =
        Embedded { vectors, tokens: 0, total: Duration::ZERO, load: Duration::ZERO, cached: None };
    let started = Instant::now();
    if inputs.is_empty() {
        engine.scheduler.load(set.clone(), keep_alive).await?;
    }
    for input in inputs {
        let in_flight = engine.stats.arrived();
        let fault = engine.faults.pick([input.as_str()].into_iter());
        if fault.is_some() {
            engine.stats.faulted();
        }
        let overflow = Overflow { truncate, shift: true, native: false };
        let message = Message { role: "user".into(), content: input };
        let prompt = Prompt::raw(&engine.options, &message.content, set.context, overflow)
            .map_err(|_| Failure::embed_too_long())?;
        embedded.tokens += prompt.len().max(1);
        let ask = Ask {
            set: set.clone(),
            keep_alive,
            prompt,
            question: message.content,
            format: Format::Text,
            num_predict: 1,
            stops: Vec::new(),
            overflow,
            fault,
            in_flight,
        };
        let mut generation = Box::pin(engine.begin(ask)).await?;
        generation.finish().await?;
        embedded.load += generation.load;
        embedded.cached = generation.reported_cached().map(|cached| cached + embedded.cached.unwrap_or(0));
    }
    embedded.total = started.elapsed();
    Ok((model, embedded))
}

/// A vector of length 1, the same for the same text.
fn vector(text: &str, dimensions: u64) -> Vec<f64> {
    let seed = hash(text.as_bytes());
    let number = |at| (mix(seed, at) >> 11) as f64 / (1_u64 << 52) as f64 - 1.0;
    let raw: Vec<f64> = (0..dimensions).map(number).collect();
    let length = raw.iter().map(|x| x * x).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    raw.into_iter().map(|x| x / length).collect()
}
