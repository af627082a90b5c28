//! How many requests an engine runs at once, where it does not say.

use caravan_simulated_engine::{Options as Sim, Running, SimulatedEngine};

use super::*;
use crate::{
    Liveness,
    engine::{self, ollama::Ollama},
    gate::Need,
    unit::Unit,
};

const MODEL: &str = "simulated";

fn unit(sim: &Running, slots: Slots) -> Unit {
    let url: url::Url = sim.url().parse().unwrap();
    let options = entry(url.as_str(), slots);
    let engine = Arc::new(Ollama::new(&url, engine::Options::default()).unwrap());
    Unit::new(0, engine, &options, &Limits::default(), Liveness::default())
}

async fn found(sim: &Running, slots: Slots, model: &str, embedding: bool) -> u32 {
    let unit = unit(sim, slots);
    let need = Need { model: model.into(), context: 1_024, batch: 0, embedding };
    let pass = unit.gate.enter(need).await.unwrap();
    unit.suit(&ledger(), &pass).await.unwrap();
    unit.lanes.now()
}

#[tokio::test]
async fn slots_that_nobody_tells_are_tried_out() {
    for slots in [1, 2, 3, 8] {
        let sim = SimulatedEngine::start(Sim { slots, answer_ms: 60, ..Sim::default() }).unwrap();
        assert_eq!(found(&sim, Slots::Auto, MODEL, false).await as usize, slots);
        let most = sim.stats().max_in_flight;
        assert!(most <= 2 * slots.max(1) as u64, "{most} tried on {slots} slots");
    }
}

#[tokio::test]
async fn what_is_tried_is_bounded_and_what_is_configured_is_not_tried() {
    let sim = SimulatedEngine::start(Sim { slots: 40, answer_ms: 60, ..Sim::default() }).unwrap();
    assert_eq!(found(&sim, Slots::Auto, MODEL, false).await, Liveness::default().most_slots);
    let tried = sim.stats().requests;
    assert_eq!(found(&sim, "3".parse().unwrap(), MODEL, false).await, 3);
    assert_eq!(sim.stats().requests, tried);
}

#[tokio::test]
async fn what_embeds_runs_one_at_a_time() {
    let sim = Sim { embedding_models: vec!["embedder".into()], ..Sim::default() };
    let sim = SimulatedEngine::start(sim).unwrap();
    assert_eq!(found(&sim, Slots::Auto, "embedder", true).await, 1);
}
