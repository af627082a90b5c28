//! An executor that is asked to stop in the middle of a batch.

use caravan_proto::v1::{Batch, ChunkLimits, WatchFleetRequest};
use caravan_simulated_engine::{Options, SimulatedEngine};
use caravan_tests::{Fleet, Input};

const SLOTS: usize = 4;

#[tokio::test]
async fn a_draining_executor_leaves_the_rest_to_another_and_nothing_is_repeated() -> anyhow::Result<()> {
    // Six seconds of work: results are counted some ticks late, and a busy machine looks later still.
    let options = Options { slots: SLOTS, answer_ms: 60, ..Options::default() };
    let (one, other) = (SimulatedEngine::start(options.clone())?, SimulatedEngine::start(options)?);
    let mut fleet = Fleet::start("").await?;
    let mut first = fleet.executor("first", &one.url(), SLOTS).await?;
    let (api, input) = (fleet.api()?, Input::chats(400, "s"));
    api.serves("simulated").await?;
    let policy =
        Batch { chunk_limits: Some(ChunkLimits { max_requests: 50, max_seconds: 0.0 }), ..Batch::default() };
    let batch = api.create(&input, policy).await?.name;
    let some = |batch: &Batch| batch.requests.is_some_and(|requests| requests.succeeded > 20);
    api.when(&batch, "has some answers", some).await?;
    first.signal("TERM").await?;
    assert_eq!(first.ended().await?, Some(0));
    let asked = one.stats();
    assert!(asked.answers < 400 && asked.requests == asked.answers, "what runs is finished: {asked:?}");

    let _second = fleet.executor("second", &other.url(), SLOTS).await?;
    let ended = api.ended(&batch).await?;
    let audit = api.audit(&input, &ended).await?;
    assert_eq!(audit.answered, 400, "{:?}", audit.failed);
    assert_eq!(one.stats().answers + other.stats().answers, 400);

    fleet.planner().signal("TERM").await?;
    assert_eq!(fleet.planner().ended().await?, Some(0));
    fleet.gateway().signal("TERM").await?;
    assert_eq!(fleet.gateway().ended().await?, Some(0));
    Ok(())
}

#[tokio::test]
async fn the_fleet_is_watched_as_executors_come_and_go() -> anyhow::Result<()> {
    let engine = SimulatedEngine::start(Options::default())?;
    let fleet = Fleet::start("").await?;
    let mut watch = fleet.api()?.fleet().watch_fleet(WatchFleetRequest {}).await?.into_inner();
    let first = fleet.executor("first", &engine.url(), SLOTS).await?;
    let mut seen = None;
    while let Some(now) = watch.message().await? {
        let models =
            now.executors.iter().flat_map(|executor| &executor.engines).flat_map(|engine| &engine.models);
        if let Some(model) = models.into_iter().next() {
            seen =
                Some((now.executors[0].host.clone(), now.executors[0].engines[0].slots, model.name.clone()));
            break;
        }
    }
    assert_eq!(seen, Some(("first".into(), 4, "simulated:latest".into())));
    first.signal("TERM").await?;
    while let Some(now) = watch.message().await? {
        if now.executors.is_empty() {
            return Ok(());
        }
    }
    anyhow::bail!("the watch ended before the executor was gone")
}
