//! A preview without store, engines and server: of a file of this machine, on a profile alone.

#[cfg(test)]
mod tests;

use std::{fs::File, num::NonZeroU32};

use caravan_proto::v1::{self, engine};
use caravan_tokenize::Definition;
use tonic::Status;

use super::{
    Error, Options,
    capacity::Capacity,
    draw::{Draft, Facts, Task},
    preview,
    reject::Rejects,
    spec,
};
use crate::{files::Reader, vocabularies::Known};

/// Models without a profile that a plan names.
const NAMED: usize = 10;

/// What a plan counts on where there is no fleet.
#[derive(Debug, Clone, Default)]
pub struct Offline {
    /// What was measured of the model and its engine.
    pub profile: v1::Profile,
    /// Lanes of all engines like that; those of one if none are given.
    pub lanes: Option<NonZeroU32>,
    /// What texts are counted with; without one their tokens are estimated.
    pub definition: Option<Definition>,
    /// Window of the model's sliding attention, in tokens; 0 if it has none or that is not known.
    pub sliding_window: i64,
}

/// Why a file cannot be planned offline.
#[derive(Debug, thiserror::Error)]
pub enum Unplanned {
    /// The profile lacks what a plan needs.
    #[error("{field} of the profile must be {wanted}")]
    Profile {
        /// Which field.
        field: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
    /// No tokenizer can be built from the definition.
    #[error("the tokenizer cannot be used")]
    Tokenizer(#[from] caravan_tokenize::Error),
    /// The batch is not one that a server takes: INVALID_ARGUMENT, with the field.
    #[error("{}", .0.message())]
    Batch(Box<Status>),
    /// Planning failed.
    #[error(transparent)]
    Prepare(#[from] Error),
}

// === impl Offline ===

impl Offline {
    /// The batch as it would be, without its defaults: what a server with these engines previews, under the
    /// planner's default options. Memory as on the server: some 100 bytes a request.
    ///
    /// # Errors
    /// If profile, tokenizer or batch cannot be used, or the file cannot be read. Lines that are wrong are
    /// no error: the batch tells them.
    pub async fn plan(self, spec: v1::Batch, file: File) -> Result<v1::Batch, Unplanned> {
        let spec = spec::check_fields(spec).map_err(|status| Unplanned::Batch(Box::new(status)))?;
        self.check()?;
        let capacity = self.capacity();
        let known = match self.definition {
            Some(definition) => {
                let building = tokio::task::spawn_blocking(move || Known::of(&definition));
                Some(building.await.map_err(|_| Error::Stopped)??)
            }
            None => None,
        };
        let options = Options::default();
        let input = Reader::local(file).map_err(Error::from)?;
        let model = Some(spec.model.as_str()).filter(|model| !model.is_empty());
        let task = Task { options: &options, spec: &spec, input, kinds: capacity.kinds(model) };
        let mut rejects = Rejects::counted();
        let know = async |models: &[String]| Ok(know(models, &capacity, known.as_ref(), &options));
        let mut draft = task.draw(&mut rejects, know).await?;
        if let Draft::Drawn(drawn) = &mut draft {
            drawn.notes.extend(unknown(&drawn.scanned.models, &capacity, &self.profile.model));
            drawn.engines = capacity.qualified(&drawn.scanned.models);
        }
        Ok(preview::batch(&spec, draft, rejects))
    }

    fn check(&self) -> Result<(), Unplanned> {
        let v1::Profile { model, slots, max_context, .. } = &self.profile;
        let speeds = [
            ("prefill_tokens_per_second", self.profile.prefill_tokens_per_second),
            ("decode_tokens_per_second", self.profile.decode_tokens_per_second),
        ];
        let wrong = |field, wanted| Err(Unplanned::Profile { field, wanted });
        if model.is_empty() {
            return wrong("model", "the name of a model");
        }
        if *slots < 1 && self.lanes.is_none() {
            return wrong("slots", "1 or more, unless lanes are given");
        }
        if *max_context < 1 {
            return wrong("max_context", "1 or more");
        }
        match speeds.into_iter().find(|(_, speed)| !speed.is_finite() || *speed < 0.0) {
            Some((field, _)) => wrong(field, "above 0, or 0 if not measured"),
            None => Ok(()),
        }
    }

    /// A fleet of one engine that is as the profile says.
    fn capacity(&self) -> Capacity {
        let profile = &self.profile;
        let model = v1::Model {
            name: profile.model.clone(),
            digest: profile.model_digest.clone(),
            max_context: profile.max_context,
            sliding_window: self.sliding_window,
            ..Default::default()
        };
        let lanes = self.lanes.map(|lanes| i32::try_from(lanes.get()).unwrap_or(i32::MAX));
        let engine = v1::Engine {
            id: "as profiled".to_owned(),
            kind: profile.engine_kind,
            version: profile.engine_version.clone(),
            slots: lanes.unwrap_or(profile.slots),
            state: engine::State::Ready.into(),
            models: vec![model],
            ..Default::default()
        };
        Capacity::as_profiled(engine, profile.clone())
    }
}

fn know(models: &[String], capacity: &Capacity, known: Option<&Known>, options: &Options) -> Vec<Facts> {
    let each = models.iter().map(|model| {
        let mut counter = capacity.counter(model, options);
        let note = match (capacity.serves(model), known) {
            (true, Some(known)) => counter.know(model, known.clone()),
            (true, None) => {
                Some(format!("The tokens of model {model} are estimated: no tokenizer is given."))
            }
            (false, _) => None,
        };
        Facts { fleet: capacity.fleet(model, options), counter, note }
    });
    each.collect()
}

/// A sentence on the models that the profile is not of, if there are any.
fn unknown(models: &[String], capacity: &Capacity, profiled: &str) -> Option<String> {
    let unknown: Vec<&str> =
        models.iter().map(String::as_str).filter(|model| !capacity.serves(model)).collect();
    let named = unknown.get(..NAMED.min(unknown.len())).filter(|named| !named.is_empty())?.join(", ");
    let more = unknown.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!("The profile is of the model {profiled}: lanes and context are assumed for {named}{more}."))
}
