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
use crate::{
    files::Reader,
    profiles::{self, Wrong},
    vocabularies::Known,
};

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
    /// The profile cannot be used.
    #[error(transparent)]
    Profile(#[from] Wrong),
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

    /// As for a profile that a server is sent, but that the kind of engine may be open, and the slots if lanes
    /// are given. The context is not: no engine tells it.
    fn check(&self) -> Result<(), Wrong> {
        let mut profile = self.profile.clone();
        if profile.engine_kind == 0 {
            profile.engine_kind = engine::Kind::Ollama.into();
        }
        if self.lanes.is_some() {
            profile.slots = profile.slots.max(1);
        }
        profiles::check(&profile)?;
        match profile.max_context {
            1.. => Ok(()),
            _ => Err(Wrong { field: "max_context".to_owned(), wanted: "1 or more" }),
        }
    }

    /// One engine that is as the profile says, or as many such engines side by side, taken for one.
    fn capacity(&self) -> Capacity {
        let profile = self.side_by_side();
        let model = v1::Model {
            name: profile.model.clone(),
            digest: profile.model_digest.clone(),
            max_context: profile.max_context,
            sliding_window: self.sliding_window,
            ..Default::default()
        };
        let engine = v1::Engine {
            id: "as profiled".to_owned(),
            kind: profile.engine_kind,
            version: profile.engine_version.clone(),
            slots: profile.slots,
            state: engine::State::Ready.into(),
            models: vec![model],
            gpu: profile.gpu.clone(),
            driver: profile.driver.clone(),
            kv_type: profile.kv_type.clone(),
            swa_full: profile.swa_full,
            ..Default::default()
        };
        Capacity::as_profiled(engine, profile)
    }

    /// The profile of all engines together: each has its part of the lanes at work.
    fn side_by_side(&self) -> v1::Profile {
        let mut profile = self.profile.clone();
        let one = i64::from(profile.slots.max(1));
        let all = self.lanes.map_or(one, |lanes| i64::from(lanes.get()));
        let narrow = |slots: i64| i32::try_from(slots).unwrap_or(i32::MAX);
        if all > one {
            for point in &mut profile.speeds {
                point.slots = narrow(i64::from(point.slots) * all / one);
            }
        }
        profile.slots = narrow(all);
        profile
    }
}

fn know(models: &[String], capacity: &Capacity, known: Option<&Known>, options: &Options) -> Vec<Facts> {
    let each = models.iter().map(|model| {
        let mut facts = capacity.facts(model, options);
        let note = match (capacity.serves(model), known) {
            (true, Some(known)) => facts.counter.know(model, known.clone()),
            (true, None) => {
                Some(format!("The tokens of model {model} are estimated: no tokenizer is given."))
            }
            (false, _) => None,
        };
        facts.notes.extend(note);
        facts
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
