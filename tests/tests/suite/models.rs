//! Models that are given to engines, and batches that are held to one digest of them.

use std::path::{Path, PathBuf};

use caravan_proto::v1::{Batch, ListFilesRequest, batch::State, file::Purpose};
use caravan_simulated_engine::{Options, Running, SimulatedEngine};
use caravan_tests::{Ended, Fleet, Input, MODEL, Process, Up, until};
use serde_json::Value;

/// Two engines without the model, each with an executor: `first` and `second`.
struct Two {
    fleet: Fleet,
    engines: [Running; 2],
    _executors: [Process; 2],
    directory: tempfile::TempDir,
}

/// A batch that has some answers, and the digest of its model.
struct UnderWay {
    input: Input,
    batch: String,
    digest: String,
}

impl Two {
    async fn start() -> anyhow::Result<Self> {
        let engine = || {
            SimulatedEngine::start(Options {
                models: vec!["bare".into()],
                answer_ms: 20,
                ..Options::default()
            })
        };
        let (fleet, engines) = (Fleet::start("").await?, [engine()?, engine()?]);
        let executors = [
            fleet.executor("first", &engines[0].url(), 2).await?,
            fleet.executor("second", &engines[1].url(), 2).await?,
        ];
        Ok(Self { fleet, engines, _executors: executors, directory: tempfile::tempdir()? })
    }

    /// A file that looks like a model's; larger than what is sent at once.
    fn gguf(&self, seed: u8) -> anyhow::Result<PathBuf> {
        let path = self.directory.path().join(format!("{seed}.gguf"));
        let mut bytes = b"GGUF".to_vec();
        bytes.resize(3 << 20, seed);
        std::fs::write(&path, bytes)?;
        Ok(path)
    }

    /// `caravan model ensure` for the model of the inputs.
    async fn ensure(&self, from: &Path, options: &[&str]) -> anyhow::Result<Ended> {
        let from = from.display().to_string();
        let args = ["model", "ensure", MODEL, "--from", &from, "--json"];
        self.fleet.caravan().run(&[&args[..], options].concat()).await
    }

    /// Answers of each engine so far.
    fn answers(&self) -> [u64; 2] {
        [self.engines[0].stats().answers, self.engines[1].stats().answers]
    }

    /// A batch of 1,000 requests on the model of `file`, which both engines get.
    async fn under_way(&self, file: &Path) -> anyhow::Result<UnderWay> {
        let digest = digests(&self.ensure(file, &[]).await?)?.remove(0);
        let (api, input) = (self.fleet.api()?, Input::chats(1_000, "s"));
        let batch = api.create(&input, Batch::default()).await?.name;
        api.when(&batch, "has some answers", has_some).await?;
        Ok(UnderWay { input, batch, digest })
    }
}

/// The digests of engines that are ready; an error if one is not.
fn digests(ended: &Ended) -> anyhow::Result<Vec<String>> {
    let lines = ended.json()?;
    anyhow::ensure!(ended.code == 0, "{} {}", ended.stdout, ended.stderr);
    let digest = |line: &Value| {
        anyhow::ensure!(line["state"] == "ready", "{line}");
        Ok(line["digest"].as_str().unwrap_or_default().to_owned())
    };
    lines.iter().map(digest).collect()
}

fn has_some(batch: &Batch) -> bool {
    batch.requests.unwrap_or_default().succeeded > 10
}

#[tokio::test]
async fn a_file_becomes_one_model_on_every_engine() -> anyhow::Result<()> {
    let two = Two::start().await?;
    let (api, file) = (two.fleet.api()?, two.gguf(1)?);
    let first = digests(&two.ensure(&file, &[]).await?)?;
    assert_eq!((first.len(), &first[0]), (2, &first[1]));
    // Again there is nothing to do: it is neither sent nor imported anew.
    assert_eq!(digests(&two.ensure(&file, &[]).await?)?, first);
    let files = api.files().list_files(ListFilesRequest::default()).await?.into_inner().files;
    assert_eq!(files.iter().map(|file| file.purpose()).collect::<Vec<_>>(), [Purpose::Model]);

    let input = Input::chats(60, "s");
    let batch = api.create(&input, Batch::default()).await?.name;
    let ended = api.ended(&batch).await?;
    assert_eq!(api.audit(&input, &ended).await?.answered, 60);
    assert_eq!(two.answers().iter().sum::<u64>(), 60);
    let pinned: Vec<_> =
        ended.pinned_models.iter().map(|pin| (pin.model.as_str(), pin.digest.as_str())).collect();
    assert_eq!(pinned, [(MODEL, first[0].as_str())]);

    let listed = two.fleet.caravan().run(&["model", "list"]).await?;
    let rows = listed.stdout.lines().filter(|line| line.contains(MODEL) && line.contains(&first[0][..12]));
    assert_eq!((listed.code, rows.count()), (0, 2), "{}", listed.stdout);
    Ok(())
}

#[tokio::test]
async fn a_batch_stays_with_the_digest_that_it_began_with() -> anyhow::Result<()> {
    let two = Two::start().await?;
    let (api, one, other) = (two.fleet.api()?, two.gguf(1)?, two.gguf(2)?);
    let UnderWay { input, batch, digest } = two.under_way(&one).await?;

    let refused = two.ensure(&other, &["--engines", "second"]).await?;
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    assert!(refused.stdout.contains("--replace"), "{}", refused.stdout);
    let after = digests(&two.ensure(&other, &["--engines", "second/ollama-0", "--replace"]).await?)?;
    assert_eq!(after.len(), 1);
    assert_ne!(after[0], digest);
    let at_change = two.answers();
    let ended = api.ended(&batch).await?;
    assert_eq!(api.audit(&input, &ended).await?.answered, 1_000);
    assert_eq!(two.answers()[1], at_change[1], "none from the engine that has another model now");
    assert!(at_change.iter().sum::<u64>() < 1_000, "the batch was under way: {at_change:?}");
    assert_eq!(ended.pinned_models[0].digest, digest);

    // A new one is planned with a warning, and answered by one of them.
    let path = two.directory.path().join("in.jsonl");
    std::fs::write(&path, Input::chats(40, "s").bytes())?;
    let planned = two.fleet.caravan().run(&["plan", "--json", &path.display().to_string()]).await?;
    let warned =
        planned.stdout.contains("is not the same on all engines") && planned.stdout.contains(&after[0][..12]);
    assert!(warned, "{}", planned.stdout);
    Ok(())
}

#[tokio::test]
async fn a_batch_whose_model_is_gone_says_so_and_goes_on_when_it_is_back() -> anyhow::Result<()> {
    let two = Two::start().await?;
    let (api, one, other) = (two.fleet.api()?, two.gguf(1)?, two.gguf(2)?);
    let UnderWay { input, batch, digest } = two.under_way(&one).await?;
    digests(&two.ensure(&other, &["--replace"]).await?)?;
    let stands = |batch: &Batch| batch.state_reason == "MODEL_CHANGED";
    let standing = api.when(&batch, "says that its model is another", stands).await?;
    assert_eq!(standing.state(), State::Running);
    let says = &standing.state_message;
    assert!(says.contains(&digest[..12]) && says.contains("--replace"), "{says}");
    let at_change = two.answers();
    digests(&two.ensure(&one, &["--engines", "first", "--replace"]).await?)?;
    let ended = api.ended(&batch).await?;
    assert_eq!(api.audit(&input, &ended).await?.answered, 1_000);
    assert_eq!((ended.state_reason.as_str(), two.answers()[1]), ("", at_change[1]));
    Ok(())
}

#[tokio::test]
async fn a_pull_goes_on_when_nobody_looks() -> anyhow::Result<()> {
    let options = Options { registry: vec!["far:1b".into()], pull_ms: 400, ..Options::default() };
    let engine = SimulatedEngine::start(options)?;
    let up = Up::start(&[&engine.url()], 1, "").await?;
    let (api, caravan) = (up.api()?, up.caravan());
    api.serves(MODEL).await?;
    let request = caravan_proto::v1::EnsureModelRequest { model: "far:1b".into(), ..Default::default() };
    let mut watching = api.fleet().ensure_model(request).await?.into_inner();
    watching.message().await?;
    drop(watching);
    // Whoever asks for the same sees what is under way.
    let ended = caravan.run(&["model", "ensure", "far:1b"]).await?;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stdout.contains("ready"), "{}", ended.stdout);
    api.serves("far:1b").await?;

    let cases: [(&[&str], i32, &str); 4] = [
        (&["far:2b"], 1, "the registry does not have it"),
        (&["far:1b", "--engines", "nowhere"], 1, "no engine is named nowhere; there is "),
        (&["far:1b", "--from", "/nowhere.gguf"], 2, "/nowhere.gguf"),
        (&["two words"], 2, "without spaces"),
    ];
    for (args, code, said) in cases {
        let ended = caravan.run(&[&["model", "ensure"][..], args].concat()).await?;
        let all = format!("{}{}", ended.stdout, ended.stderr);
        assert!(ended.code == code && all.contains(said), "{} {all}", ended.code);
    }
    Ok(())
}

#[tokio::test]
async fn a_model_survives_the_end_of_its_planner() -> anyhow::Result<()> {
    let mut two = Two::start().await?;
    let file = two.gguf(1)?;
    digests(&two.ensure(&file, &["--engines", "first"]).await?)?;
    two.fleet.kill_planner().await?;
    two.fleet.start_planner().await?;
    // What the file became is known still, and so is the file; who has not dialled again is asked later.
    let both = until("both engines have it", async || {
        let ended = two.ensure(&file, &[]).await.map_err(|error| error.to_string())?;
        let found = digests(&ended).map_err(|error| error.to_string())?;
        if found.len() == 2 { Ok(found) } else { Err(format!("{found:?}")) }
    });
    let both = both.await?;
    assert_eq!(both[0], both[1]);
    Ok(())
}
