use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde_json::Value;

/// `caravan up` as a process of its own; killed when dropped.
pub(crate) struct Up {
    child: Child,
    pub(crate) grpc: String,
}

impl Up {
    pub(crate) async fn start(directory: &Path, engine: &str, slots: usize) -> anyhow::Result<Self> {
        let ready = directory.join("ready.json");
        let data = directory.join("data");
        let mut command = Command::new(caravan()?);
        command.args(["up", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        command.arg("--engine").arg(format!("ollama={engine}")).arg("--slots").arg(slots.to_string());
        command.arg("--data-dir").arg(data).arg("--ready-file").arg(&ready);
        let child = command.env("RUST_LOG", "warn").stdout(Stdio::null()).spawn().context("caravan up")?;
        let mut up = Self { child, grpc: String::new() };
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(30) {
            if let Ok(text) = std::fs::read(&ready) {
                let ready: Value = serde_json::from_slice(&text)?;
                up.grpc = ready["grpc"].as_str().context("no gRPC address")?.to_owned();
                return Ok(up);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
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

    /// Peak resident memory of all roles so far, in bytes.
    pub(crate) fn peak_bytes(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        Ok(peak.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
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
    let parse = |key: &str| -> anyhow::Result<jiff::Timestamp> {
        Ok(batch[key].as_str().with_context(|| format!("no {key} in {batch}"))?.parse()?)
    };
    Ok(parse(to)?.duration_since(parse(from)?).as_secs_f64())
}
