//! Engines whose GPU is filled above the ceiling, as the batch and a person see them.

use std::process;

use caravan_proto::v1::{Batch, batch::State};
use caravan_simulated_engine::{Options, SimulatedEngine};
use caravan_simulated_nvml::{Card, SimulatedNvml};
use caravan_tests::{Input, Up};

const GIB: u64 = 1 << 30;
/// Above every pid that Linux gives: a process that cannot be one of ours.
const NOBODY: u32 = 1 << 23;

#[tokio::test]
async fn a_batch_says_that_its_engine_is_unfit_and_goes_on_when_it_is_not() -> anyhow::Result<()> {
    let nvml = SimulatedNvml::build()?;
    // The engine runs in this process.
    let taken = |foreign: u64| {
        let compute = [(process::id(), 10 * GIB), (NOBODY, foreign * GIB)];
        nvml.show(&[Card { used: (10 + foreign) * GIB, total: 80 * GIB, compute: &compute }])
    };
    taken(65)?;
    let engine = SimulatedEngine::start(Options { answer_ms: 50, ..Options::default() })?;
    let config = format!(
        "[roles.executor]\nnvml_library = '{}'\nvram_ceiling = '60GiB'\n\
         [roles.executor.limits]\ngpu_millis = 20\nunfit_seconds = 1\n",
        nvml.path().display()
    );
    let up = Up::start(&[&engine.url()], 4, &config).await?;
    let (api, input) = (up.api()?, Input::chats(800, "s"));
    let caravan = up.caravan();
    let batch = api.create(&input, Batch::default()).await?.name;
    let unfit = |batch: &Batch| batch.state_reason == "ENGINE_UNFIT";
    let waiting = api.when(&batch, "says that its engine is unfit", unfit).await?;
    for words in ["ollama-0 has the model", "75.0 GiB of 80.0 GiB", "ceiling of 60.0 GiB", "takes 65.0 GiB"] {
        assert!(waiting.state_message.contains(words), "{}", waiting.state_message);
    }
    let shown = caravan.run(&["fleet"]).await?;
    for words in ["10.0 GiB of 60.0 GiB", "unfit: GPU 0 has 75.0 GiB of 80.0 GiB in use", "51 °C", "302 W"] {
        assert!(shown.stdout.contains(words), "{}", shown.stdout);
    }

    taken(5)?;
    api.when(&batch, "runs", |batch| batch.state() == State::Running && batch.state_reason.is_empty())
        .await?;
    // Once more, in the middle of it.
    taken(65)?;
    let running = api.when(&batch, "says so while it runs", unfit).await?;
    assert_eq!(running.state(), State::Running);
    taken(5)?;
    let ended = api.ended(&batch).await?;
    let audit = api.audit(&input, &ended).await?;
    assert_eq!(audit.answered, 800);
    Ok(())
}
