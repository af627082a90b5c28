//! Engines that are away, that die, and that are not there at all.

use caravan_proto::v1::{Batch, batch::State, engine};
use caravan_simulated_engine::{Fault, Options, Rule, SimulatedEngine};
use caravan_tests::{Fleet, Input, Up, until};

/// Probes of an engine that is down follow each other soon.
const IMPATIENT: &str = "[roles.executor.limits]\nlongest_pause_millis = 200\n\
                         [roles.planner.lease]\nttl_ms = 1500\n";

fn answered(batch: &Batch) -> i64 {
    batch.requests.unwrap_or_default().succeeded
}

#[tokio::test]
async fn a_batch_waits_for_an_engine_that_is_down_at_start() -> anyhow::Result<()> {
    // A port on which nobody listens until the engine does.
    let options =
        Options { listen: SimulatedEngine::start(Options::default())?.address(), ..Options::default() };
    let up = Up::start(&[&format!("http://{}", options.listen)], 4, IMPATIENT).await?;
    let (api, input) = (up.api()?, Input::chats(20, "s"));
    let batch = api.create(&input, Batch::default()).await?.name;
    let waits = |batch: &Batch| batch.state() == State::Queued && !batch.state_reason.is_empty();
    let waiting = api.when(&batch, "says why it waits", waits).await?;
    assert_eq!(waiting.state_reason, "NO_ENGINE_FOR_MODEL");
    let down = async || {
        let listed = api.fleet().list_executors(caravan_proto::v1::ListExecutorsRequest::default()).await;
        let executors = listed.map_err(|status| status.to_string())?.into_inner().executors;
        let engine = executors.first().and_then(|executor| executor.engines.first()).cloned();
        engine
            .filter(|engine| engine.state() == engine::State::Down && !engine.message.is_empty())
            .ok_or_else(|| format!("{executors:?}"))
    };
    until("the executor says that its engine is down", down).await?;

    let engine = until("the port is free again", async || {
        SimulatedEngine::start(options.clone()).map_err(|error| error.to_string())
    });
    let engine = engine.await?;
    let ended = api.ended(&batch).await?;
    let audit = api.audit(&input, &ended).await?;
    assert_eq!((audit.answered, engine.stats().answers), (20, 20));
    Ok(())
}

#[tokio::test]
async fn no_request_fails_when_the_engine_dies_in_the_middle_and_comes_back() -> anyhow::Result<()> {
    let options = Options { answer_ms: 5, ..Options::default() };
    let engine = SimulatedEngine::start(options.clone())?;
    let options = Options { listen: engine.address(), ..options };
    let up = Up::start(&[&engine.url()], 4, IMPATIENT).await?;
    let (api, input) = (up.api()?, Input::chats(300, "s"));
    let batch = api.create(&input, Batch::default()).await?.name;
    api.when(&batch, "has some answers", |batch| answered(batch) > 20).await?;
    engine.stop();
    let down = async || {
        let listed = api.fleet().list_executors(caravan_proto::v1::ListExecutorsRequest::default()).await;
        let executors = listed.map_err(|status| status.to_string())?.into_inner().executors;
        let mut engines = executors.iter().flat_map(|executor| &executor.engines);
        if engines.all(|engine| engine.state() == engine::State::Down) {
            Ok(())
        } else {
            Err(format!("{executors:?}"))
        }
    };
    until("the fleet knows that the engine is down", down).await?;
    let again = until("the port is free again", async || {
        SimulatedEngine::start(options.clone()).map_err(|error| error.to_string())
    });
    let again = again.await?;
    let ended = api.ended(&batch).await?;
    let audit = api.audit(&input, &ended).await?;
    assert_eq!(audit.answered, 300, "{:?}", audit.failed);
    // Only what was on a slot when the engine died is asked for again.
    let repeated = engine.stats().answers + again.stats().answers - 300;
    assert!(repeated <= 4, "{repeated}");
    Ok(())
}

#[tokio::test]
async fn a_model_that_no_engine_has_is_waited_for() -> anyhow::Result<()> {
    let engine = SimulatedEngine::start(Options::default())?;
    let fleet = Fleet::start("").await?;
    let _executor = fleet.executor("first", &engine.url(), 4).await?;
    let api = fleet.api()?;
    let body = serde_json::json!({"model": "rare", "messages": [{"role": "user", "content": "who?"}]});
    let input = Input::new().request("r0", "/v1/chat/completions", body, Some("who?"));
    let batch = api.create(&input, Batch::default()).await?.name;
    let explained = |batch: &Batch| batch.state_reason == "NO_ENGINE_FOR_MODEL";
    let waiting = api.when(&batch, "says why it waits", explained).await?;
    assert_eq!(waiting.state(), State::Queued);
    assert!(waiting.state_message.contains("rare"), "{}", waiting.state_message);
    // Another batch is not held up by it.
    let other = Input::chats(5, "s");
    let done = api.ended(&api.create(&other, Batch::default()).await?.name).await?;
    assert_eq!(api.audit(&other, &done).await?.answered, 5);

    let rare = SimulatedEngine::start(Options { models: vec!["rare".into()], ..Options::default() })?;
    let _second = fleet.executor("second", &rare.url(), 4).await?;
    let ended = api.ended(&batch).await?;
    assert_eq!(api.audit(&input, &ended).await?.answered, 1);
    assert_eq!((rare.stats().answers, engine.stats().answers), (1, 5));
    Ok(())
}

#[tokio::test]
async fn a_model_that_an_engine_cannot_run_is_left_to_others() -> anyhow::Result<()> {
    let damaged = SimulatedEngine::start(Options::default())?;
    damaged.faults().add(Rule::always(Fault::LoadDamaged));
    let fleet = Fleet::start("").await?;
    let _first = fleet.executor("first", &damaged.url(), 2).await?;
    let (api, input) = (fleet.api()?, Input::chats(40, "s"));
    api.serves("simulated").await?;
    let batch = api.create(&input, Batch::default()).await?.name;
    let says_so = async || {
        let listed = api.fleet().list_executors(caravan_proto::v1::ListExecutorsRequest::default()).await;
        let executors = listed.map_err(|status| status.to_string())?.into_inner().executors;
        let mut engines = executors.iter().flat_map(|executor| &executor.engines);
        let told = |engine: &caravan_proto::v1::Engine| {
            engine.models.is_empty() && engine.message.contains("simulated")
        };
        if engines.any(told) { Ok(()) } else { Err(format!("{executors:?}")) }
    };
    until("the executor says that it cannot run the model", says_so).await?;
    let whole = SimulatedEngine::start(Options::default())?;
    let _second = fleet.executor("second", &whole.url(), 2).await?;
    let ended = api.ended(&batch).await?;
    let audit = api.audit(&input, &ended).await?;
    assert_eq!(audit.answered, 40, "{:?}", audit.failed);
    // Each lane may have tried once before the first of them told.
    let tried = damaged.stats().requests;
    assert!((1..=4).contains(&tried), "{tried}");
    Ok(())
}
