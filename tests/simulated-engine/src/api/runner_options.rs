//! The field `options`: which reload the model, which shape the answer, which are of the wrong type.

use serde_json::{Map, Value};

use crate::engine::{Failure, ReloadSet};
use crate::library::{Model, short_name};
use crate::options::Options;

const INTEGERS: [&str; 10] = [
    "num_ctx",
    "num_batch",
    "num_gpu",
    "main_gpu",
    "num_thread",
    "draft_num_predict",
    "num_keep",
    "seed",
    "num_predict",
    "top_k",
];
const FLOATS: [&str; 7] =
    ["top_p", "min_p", "typical_p", "temperature", "repeat_penalty", "presence_penalty", "frequency_penalty"];

/// What a request's options come to.
#[derive(Debug)]
pub(super) struct RunnerOptions {
    pub(super) set: ReloadSet,
    pub(super) num_predict: i64,
    pub(super) stops: Vec<String>,
}

// === impl RunnerOptions ===

impl RunnerOptions {
    /// Reads `given`; unknown options are ignored.
    ///
    /// # Errors
    /// 500: one is of the wrong type.
    pub(super) fn read(
        options: &Options,
        model: &Model,
        shift: bool,
        given: &Map<String, Value>,
    ) -> Result<Self, Failure> {
        let wrong =
            |key: &str, kind: &str| Failure::new(500, format!("option \"{key}\" must be of type {kind}"));
        for (key, value) in given {
            let key = key.as_str();
            match key {
                _ if INTEGERS.contains(&key) && !value.is_number() => return Err(wrong(key, "integer")),
                _ if FLOATS.contains(&key) && !value.is_number() => return Err(wrong(key, "float32")),
                "use_mmap" if !value.is_boolean() => return Err(wrong(key, "boolean")),
                "stop" if !value.is_array() => return Err(wrong(key, "array")),
                _ => {}
            }
        }
        let number =
            |key: &str| given.get(key).and_then(|value| value.as_i64().or(value.as_f64().map(|v| v as i64)));
        let context =
            number("num_ctx").and_then(|asked| usize::try_from(asked).ok()).filter(|asked| *asked > 0);
        let set = ReloadSet {
            model: short_name(&model.name).to_owned(),
            digest: model.digest.clone(),
            embedding: false,
            context: context.unwrap_or(options.default_context()).clamp(4, options.max_context.max(4)),
            num_batch: number("num_batch"),
            num_gpu: number("num_gpu"),
            main_gpu: number("main_gpu"),
            use_mmap: given.get("use_mmap").and_then(Value::as_bool),
            num_thread: number("num_thread"),
            draft_num_predict: number("draft_num_predict"),
            shift: options.is_v0_33().then_some(shift),
        };
        let stops = given.get("stop").and_then(Value::as_array).into_iter().flatten();
        let stops = stops.filter_map(Value::as_str).map(str::to_owned).collect();
        Ok(Self { set, num_predict: number("num_predict").unwrap_or(-1), stops })
    }
}
