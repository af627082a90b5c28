//! Profiles: what calibration measured, which engines it holds for, and what follows for them.

mod check;
mod context;
mod speed;

pub use check::{Wrong, check};

use caravan_proto::{
    name::ProfileId,
    profile::{Difference, difference},
    v1,
};

use crate::{
    clock, models,
    store::{self, Store},
};

pub(crate) use context::cap;
pub(crate) use speed::of_lanes;

/// Why a profile is not kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// A field cannot be used.
    #[error(transparent)]
    Wrong(#[from] Wrong),
    /// There is one of the same engine, GPU and model that was measured later.
    #[error("a profile of the same engine, GPU and model was measured later")]
    Older,
    /// Rows.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Keeps a profile in place of an older one of the same engine, GPU and model; gives what is kept. One
/// without a time was measured now.
pub(crate) async fn keep(store: &dyn Store, profile: v1::Profile) -> Result<v1::Profile, Refusal> {
    check(&profile)?;
    let now = store.now().await?;
    // From a clock that is fast, it could never be replaced.
    let measured = profile.measure_time.map_or(now, clock::micros).min(now);
    let detail = v1::Profile { name: String::new(), measure_time: None, ..profile };
    let kept = store.put_profile(&store::Profile { id: ProfileId::now(), detail, measured }).await?;
    if kept.measured > measured { Err(Refusal::Older) } else { Ok(view(kept)) }
}

/// A profile as the contract has it.
pub(crate) fn view(profile: store::Profile) -> v1::Profile {
    let (name, measure_time) = (profile.id.name(), Some(clock::timestamp(profile.measured)));
    v1::Profile { name, measure_time, ..profile.detail }
}

/// The profile that holds for a model on an engine: the first that differs in nothing.
pub(crate) fn valid<'p>(
    profiles: &'p [v1::Profile],
    engine: &v1::Engine,
    model: &v1::Model,
) -> Option<&'p v1::Profile> {
    of_model(profiles, model).find(|profile| difference(profile, engine, model).is_none())
}

/// The difference of the profile that comes closest to holding for a model on an engine. None if there is no
/// profile of the model, or one holds.
pub(crate) fn closest(
    profiles: &[v1::Profile],
    engine: &v1::Engine,
    model: &v1::Model,
) -> Option<Difference> {
    let differences = of_model(profiles, model).map(|profile| difference(profile, engine, model));
    differences.collect::<Option<Vec<_>>>()?.into_iter().max_by_key(Difference::likeness)
}

fn of_model<'p>(profiles: &'p [v1::Profile], model: &v1::Model) -> impl Iterator<Item = &'p v1::Profile> {
    profiles.iter().filter(|profile| models::means(&profile.model, &model.name))
}
