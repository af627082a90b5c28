use std::{
    ffi::OsStr,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use caravan_proto::v1::{Basis, Batch, CreateBatchRequest};
use caravan_tests::{Api, Input, MODEL};
use jiff::Timestamp;
use serde_json::Value;

/// Between two looks at a batch or at memory.
const LOOK: Duration = Duration::from_millis(20);
/// A plan may take so long.
const PLANNED: Duration = Duration::from_secs(900);

/// What planning held is given back within this time.
const AFTER: Duration = Duration::from_secs(2);

/// `caravan up` as a process of its own; killed when dropped.
pub(crate) struct Up {
    child: Child,
    pub(crate) grpc: String,
}

/// A batch that was planned, and what it took.
pub(crate) struct Planned {
    pub(crate) batch: Value,
    /// From the start of the upload to the end of planning, in seconds.
    pub(crate) seconds: f64,
    /// Of those, until the batch was created.
    pub(crate) upload: f64,
    /// Most resident memory that was seen meanwhile, in bytes.
    pub(crate) most: u64,
    /// Least that was seen within `AFTER`, in bytes.
    pub(crate) stays: u64,
    name: String,
}

impl Up {
    pub(crate) async fn start(directory: &Path, engine: &str, slots: usize) -> anyhow::Result<Self> {
        Self::counting(directory, engine, slots, None).await
    }

    /// Counts the engine's model with the vocabulary in this file, a GGUF or a `tokenizer.json`.
    pub(crate) async fn counting(
        directory: &Path,
        engine: &str,
        slots: usize,
        vocabulary: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let (config, ready) = (directory.join("up.toml"), directory.join("ready.json"));
        let tokenizers = vocabulary.map(|path| format!("{MODEL} = '{}'", path.display())).unwrap_or_default();
        let text = format!(
            "listen = '127.0.0.1:0'\nhttp_listen = '127.0.0.1:0'\ndata_dir = '{}'\n\
             engines = [{{kind = 'ollama', url = '{engine}', slots = {slots}, tokenizers = {{{tokenizers}}}}}]\n",
            directory.join("data").display()
        );
        std::fs::write(&config, text)?;
        let mut command = Command::new(caravan()?);
        command.arg("up").arg("--config").arg(&config).arg("--ready-file").arg(&ready);
        let child = command.env("RUST_LOG", "warn").stdout(Stdio::null());
        // As the units in `deploy/systemd` have it: memory of a plan is given back.
        let child = child.env("MALLOC_MMAP_THRESHOLD_", "262144").env("MALLOC_TRIM_THRESHOLD_", "262144");
        let child = child.spawn().context("caravan up")?;
        let mut up = Self { child, grpc: String::new() };
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(30) {
            if let Ok(text) = std::fs::read(&ready) {
                let ready: Value = serde_json::from_slice(&text)?;
                up.grpc = ready["grpc"].as_str().context("no gRPC address")?.to_owned();
                return Ok(up);
            }
            tokio::time::sleep(LOOK).await;
        }
        bail!("caravan up was not ready within 30 s")
    }

    /// Submits a file and waits for its end; gives the final batch.
    pub(crate) fn submit(&self, input: &Path, output: &Path) -> anyhow::Result<Value> {
        let mut command = Command::new(caravan()?);
        command.arg("submit").arg(input).args(["--watch", "--json", "--out"]).arg(output);
        let out = command.env("CARAVAN_SERVER", &self.grpc).stderr(Stdio::null()).output()?;
        let text = String::from_utf8(out.stdout)?;
        Ok(serde_json::from_str(text.lines().last().context("submit said nothing")?)?)
    }

    /// Runs a few requests, so that the model is loaded, and waits until plans count exactly.
    pub(crate) async fn warm(&self) -> anyhow::Result<()> {
        let (api, few) = (Api::new(&self.grpc)?, Input::chats(4, "s"));
        api.serves(MODEL).await?;
        api.ended(&api.create(&few, Batch::default()).await?.name).await?;
        let input_file = api.upload(few.bytes()).await?.name;
        caravan_tests::until("plans count exactly", async || {
            let batch = Some(Batch { input_file: input_file.clone(), ..Batch::default() });
            let request = CreateBatchRequest { batch, validate_only: true, ..Default::default() };
            let preview = api.batches().create_batch(request).await.map_err(|status| status.to_string())?;
            let plan = preview.into_inner().plan.unwrap_or_default();
            if plan.token_basis() == Basis::Measured { Ok(()) } else { Err(format!("{plan:?}")) }
        })
        .await
    }

    /// Submits a file and waits until its batch is planned.
    pub(crate) async fn plan(&self, input: &Path, options: &[&OsStr]) -> anyhow::Result<Planned> {
        let begun = Timestamp::now();
        let mut command = Command::new(caravan()?);
        command.arg("submit").arg(input).args(options).env("CARAVAN_SERVER", &self.grpc);
        let mut submitting = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut most = 0;
        let exit = loop {
            most = most.max(self.resident_bytes()?);
            match submitting.try_wait()? {
                Some(exit) => break exit,
                None => tokio::time::sleep(LOOK).await,
            }
        };
        ensure!(exit.success(), "submit ended with {exit}");
        let id = std::io::read_to_string(submitting.stdout.take().context("no stdout")?)?;
        let (api, name) = (Api::new(&self.grpc)?, id.trim().to_owned());
        let since = Instant::now();
        let batch = loop {
            most = most.max(self.resident_bytes()?);
            let batch = caravan_proto::json::to_value(&api.get(&name).await?);
            if batch["plan_time"].is_string() {
                break batch;
            }
            ensure!(since.elapsed() < PLANNED && batch["end_time"].is_null(), "not planned: {batch}");
            tokio::time::sleep(LOOK).await;
        };
        let mut stays = self.resident_bytes()?;
        let since = Instant::now();
        while since.elapsed() < AFTER {
            tokio::time::sleep(LOOK).await;
            stays = stays.min(self.resident_bytes()?);
        }
        let until =
            |key: &str| -> anyhow::Result<f64> { Ok(time(&batch, key)?.duration_since(begun).as_secs_f64()) };
        let (seconds, upload) = (until("plan_time")?, until("create_time")?);
        Ok(Planned { batch, seconds, upload, most, stays, name })
    }

    /// Cancels what was planned, and waits for its end.
    pub(crate) async fn cancel(&self, planned: &Planned) -> anyhow::Result<()> {
        let mut command = Command::new(caravan()?);
        let cancel = command.args(["cancel", &planned.name]).env("CARAVAN_SERVER", &self.grpc).output()?;
        ensure!(cancel.status.success(), "not cancelled: {cancel:?}");
        Api::new(&self.grpc)?.ended(&planned.name).await?;
        Ok(())
    }

    /// Peak resident memory of all roles so far, in bytes.
    pub(crate) fn peak_bytes(&self) -> anyhow::Result<u64> {
        self.memory("VmHWM:")
    }

    /// Resident memory of all roles now, in bytes.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        self.memory("VmRSS:")
    }

    fn memory(&self, field: &str) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let found = status.lines().find_map(|line| line.strip_prefix(field)).context("no such memory")?;
        Ok(found.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// The command, beside this binary.
pub(crate) fn caravan() -> anyhow::Result<std::path::PathBuf> {
    let path = std::env::current_exe()?.with_file_name("caravan");
    if !path.exists() {
        bail!("{} is missing: build it with the same profile first", path.display());
    }
    Ok(path)
}

/// Seconds between two times of a batch.
pub(crate) fn seconds(batch: &Value, from: &str, to: &str) -> anyhow::Result<f64> {
    Ok(time(batch, to)?.duration_since(time(batch, from)?).as_secs_f64())
}

fn time(batch: &Value, key: &str) -> anyhow::Result<Timestamp> {
    Ok(batch[key].as_str().with_context(|| format!("no {key} in {batch}"))?.parse()?)
}
