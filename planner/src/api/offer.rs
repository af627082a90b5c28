//! The models that a fleet has, for those who want to use them.

use std::collections::BTreeMap;

use caravan_proto::v1::{self, engine, executor};

/// Models of engines that answer, by name.
pub(super) fn models(executors: Vec<v1::Executor>) -> Vec<v1::FleetModel> {
    let mut models: BTreeMap<String, v1::FleetModel> = BTreeMap::new();
    let online = executors.into_iter().filter(|executor| executor.state() == executor::State::Online);
    let ready =
        online.flat_map(|executor| executor.engines).filter(|engine| engine.state() == engine::State::Ready);
    for engine in ready {
        for model in engine.models {
            let all = models.entry(model.name.clone()).or_default();
            add(all, engine.slots, model);
        }
    }
    let mut models: Vec<_> = models.into_values().collect();
    for model in &mut models {
        model.digests.sort_unstable();
        model.digests.dedup();
    }
    models
}

fn add(all: &mut v1::FleetModel, slots: i32, one: v1::Model) {
    all.name = one.name;
    all.engines = all.engines.saturating_add(1);
    all.slots = all.slots.saturating_add(slots);
    all.max_context = all.max_context.max(one.max_context);
    all.chat |= one.chat;
    all.embedding |= one.embedding;
    all.digests.extend(Some(one.digest).filter(|digest| !digest.is_empty()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(state: engine::State, models: &[(&str, &str)]) -> v1::Engine {
        let model = |(name, digest): &(&str, &str)| v1::Model {
            name: (*name).to_owned(),
            digest: (*digest).to_owned(),
            max_context: 4096,
            chat: true,
            ..Default::default()
        };
        let models = models.iter().map(model).collect();
        v1::Engine { state: state.into(), slots: 4, models, ..Default::default() }
    }

    fn executor(state: executor::State, engines: Vec<v1::Engine>) -> v1::Executor {
        v1::Executor { state: state.into(), host: "secret".into(), engines, ..Default::default() }
    }

    #[test]
    fn engines_that_answer_are_added_up_by_model() {
        let up = engine(engine::State::Ready, &[("b", "2"), ("a", "1")]);
        let other = engine(engine::State::Ready, &[("a", "0"), ("c", "")]);
        let down = engine(engine::State::Down, &[("d", "4")]);
        let found = models(vec![
            executor(executor::State::Online, vec![up.clone(), down]),
            executor(executor::State::Online, vec![other]),
            executor(executor::State::Offline, vec![up]),
        ]);
        let told: Vec<_> =
            found.iter().map(|m| (&*m.name, m.engines, m.slots, m.digests.join(" "))).collect();
        assert_eq!(told, [("a", 2, 8, "0 1".into()), ("b", 1, 4, "2".into()), ("c", 1, 4, String::new())]);
        assert!(found[0].chat && !found[0].embedding && found[0].max_context == 4096);
    }
}
