//! What chat and generate have in common: the fields, the checks, the way to a generation.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::engine::{Ask, Engine, Failure, Format, Generation, KeepAlive, Message, Overflow, Prompt, Sizes};
use crate::library::{Model, full_name, short_name};

use super::body::Fields;
use super::runner_options::RunnerOptions;

/// The fields of a native request that are not its text.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) model: String,
    pub(super) stream: bool,
    pub(super) keep_alive: KeepAlive,
    pub(super) overflow: Overflow,
    pub(super) format: Option<Value>,
    pub(super) options: Map<String, Value>,
    pub(super) logprobs: bool,
    pub(super) render_only: bool,
    pub(super) tools: bool,
    pub(super) think: bool,
}

/// The text of a request.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) messages: Vec<Message>,
    pub(super) images: bool,
    /// No template: the only message is the prompt.
    pub(super) raw: bool,
}

// === impl Common ===

impl Common {
    pub(super) fn take(fields: &mut Fields) -> Result<Self, Failure> {
        let think = match fields.value("think") {
            None | Some(Value::Bool(false)) => false,
            Some(Value::Bool(true) | Value::String(_)) => true,
            Some(_) => return Err(Failure::new(400, "think must be a boolean or string")),
        };
        Ok(Self {
            keep_alive: fields.keep_alive()?,
            stream: fields.bool("stream")?.unwrap_or(true),
            overflow: Overflow {
                truncate: fields.bool("truncate")?.unwrap_or(true),
                shift: fields.bool("shift")?.unwrap_or(true),
                native: false,
            },
            format: fields.value("format"),
            options: fields.object("options")?,
            logprobs: fields.bool("logprobs")?.unwrap_or(false),
            render_only: fields.bool("_debug_render_only")?.unwrap_or(false),
            tools: !fields.array("tools", "api.Tools")?.is_empty(),
            think,
            model: fields.model()?,
        })
    }

    /// Whether the model is there and can do what is asked.
    pub(super) fn check(&self, engine: &Engine, deed: &str) -> Result<(), Failure> {
        if self.found(engine)?.embedding {
            return Err(Failure::new(400, format!("{:?} does not support {deed}", self.model)));
        }
        if self.tools && !engine.options.tools {
            let full = full_name(&self.model);
            return Err(Failure::new(
                400,
                format!("registry.ollama.ai/library/{full} does not support tools"),
            ));
        }
        if self.think && !engine.options.thinking {
            return Err(Failure::new(400, format!("{:?} does not support thinking", self.model)));
        }
        Ok(())
    }

    /// Loads or unloads the model, as a request without text does; says which.
    pub(super) async fn load(&self, engine: &Engine) -> Result<&'static str, Failure> {
        if self.keep_alive == Some(Duration::ZERO) {
            engine.scheduler.unload(short_name(&self.model));
            return Ok("unload");
        }
        let options = self.runner_options(engine)?;
        engine.scheduler.load(options.set, self.keep_alive).await?;
        Ok("load")
    }

    /// The generation of an answer to `text`, its prompt evaluated.
    pub(super) async fn begin(&self, engine: &Arc<Engine>, text: Text) -> Result<Generation, Failure> {
        let in_flight = engine.stats.arrived();
        let fault = engine.faults.pick(text.messages.iter().map(|message| message.content.as_str()));
        if fault.is_some() {
            engine.stats.faulted();
        }
        let options = self.runner_options(engine)?;
        let overflow = self.overflow(engine)?;
        let format = format_of(self.format.as_ref())?;
        if text.images && !engine.options.vision {
            return Err(Failure::no_images(engine.options.is_v0_33()));
        }
        let prompt = self.render(engine, &text, options.set.context, overflow)?;
        let question = text.messages.into_iter().rev().find(|message| message.role == "user");
        let ask = Ask {
            set: options.set,
            keep_alive: self.keep_alive,
            prompt,
            question: question.map(|message| message.content).unwrap_or_default(),
            format,
            num_predict: options.num_predict,
            stops: options.stops,
            overflow,
            fault,
            in_flight,
        };
        Box::pin(engine.begin(ask)).await
    }

    fn runner_options(&self, engine: &Engine) -> Result<RunnerOptions, Failure> {
        let model = self.found(engine)?;
        let options = RunnerOptions::read(&engine.options, &model, self.overflow.shift, &self.options)?;
        Sizes::of(&engine.options, &options.set, engine.options.slots_for(false))?;
        Ok(options)
    }

    fn found(&self, engine: &Engine) -> Result<Model, Failure> {
        engine.library.find(&self.model).ok_or_else(|| Failure::model_not_found(&self.model))
    }

    /// What this model on this release makes of what was asked.
    fn overflow(&self, engine: &Engine) -> Result<Overflow, Failure> {
        let native = self.found(engine)?.native;
        if engine.options.always_truncates() {
            return Ok(Overflow { truncate: true, shift: true, native });
        }
        Ok(Overflow { native, ..self.overflow })
    }

    fn render(
        &self,
        engine: &Engine,
        text: &Text,
        context: usize,
        overflow: Overflow,
    ) -> Result<Prompt, Failure> {
        let v0_33 = engine.options.is_v0_33();
        let rendered = match text.messages.as_slice() {
            [message] if text.raw => Prompt::raw(&engine.options, &message.content, context, overflow),
            messages => Prompt::render(&engine.options, messages, context, overflow),
        };
        match rendered {
            Ok(prompt) if prompt.len() == 0 && !v0_33 => Err(Failure::no_input()),
            Err(failure) if !v0_33 && failure == Failure::cannot_truncate() => {
                // The old runner did not survive this.
                engine.scheduler.crash();
                Err(Failure::runner_stopped())
            }
            rendered => rendered,
        }
    }
}

/// What `format` asks for; an empty string asks for nothing.
fn format_of(format: Option<&Value>) -> Result<Format, Failure> {
    match format {
        None => Ok(Format::Text),
        Some(Value::String(text)) if text.is_empty() => Ok(Format::Text),
        Some(Value::String(text)) if text == "json" => Ok(Format::Json),
        Some(schema @ Value::Object(_)) => Ok(Format::Schema(schema.clone())),
        Some(other) => Err(Failure::invalid_format(&other.to_string())),
    }
}
