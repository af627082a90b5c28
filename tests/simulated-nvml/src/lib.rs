//! An NVML without a GPU: a library that is built here, for the real wrapper to load. It answers what a
//! test says, and something else as soon as the test says something else.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

/// Answers what a file says; the file's form is described there.
const SOURCE: &str = include_str!("nvml.c");

/// A library of its own, with answers of its own. Gone when dropped.
#[derive(Debug)]
pub struct SimulatedNvml {
    directory: TempDir,
    path: PathBuf,
}

/// What it says of one GPU.
#[derive(Debug, Clone, Copy, Default)]
pub struct Card<'a> {
    /// Bytes in use.
    pub used: u64,
    /// Bytes in all.
    pub total: u64,
    /// Processes that compute, each with its bytes.
    pub compute: &'a [(u32, u64)],
}

// === impl SimulatedNvml ===

impl SimulatedNvml {
    /// Builds it with the system's C compiler. Until it is told what to say it has nothing to say.
    ///
    /// # Errors
    /// If there is no `cc`, or no room for files.
    pub fn build() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let (source, path) = (directory.path().join("nvml.c"), directory.path().join("libnvidia-ml.so.1"));
        fs::write(&source, SOURCE)?;
        let nvml = Self { directory, path };
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"])
            .arg(format!("-DANSWERS=\"{}\"", nvml.answers().display()))
            .arg("-o")
            .args([nvml.path(), &source])
            .output()
            .context("no C compiler `cc`")?;
        ensure!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        Ok(nvml)
    }

    /// The library's file, named as a driver names it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it answers from now on, in the form that `nvml.c` describes.
    ///
    /// # Errors
    /// If there is no room for it.
    pub fn say(&self, answers: &str) -> anyhow::Result<()> {
        // In one step: it is read at any time.
        let new = self.directory.path().join("new");
        fs::write(&new, answers)?;
        Ok(fs::rename(new, self.answers())?)
    }

    /// The same, for GPUs of which everything is known.
    ///
    /// # Errors
    /// If there is no room for it.
    pub fn show(&self, cards: &[Card<'_>]) -> anyhow::Result<()> {
        let mut answers = format!("driver=570.86.15\ncount={}\n", cards.len());
        for (index, Card { used, total, compute }) in cards.iter().enumerate() {
            let processes: Vec<_> = compute.iter().map(|(pid, bytes)| format!("{pid}:{bytes}")).collect();
            write!(
                answers,
                "{index}.name=Simulated GPU\n{index}.uuid=GPU-{index}\n{index}.used={used}\n\
                 {index}.total={total}\n{index}.utilization=40\n{index}.temperature=51\n\
                 {index}.power=301500\n{index}.mig=0\n{index}.compute={}\n{index}.graphics=\n",
                processes.join(" ")
            )?;
        }
        self.say(&answers)
    }

    /// Removes the file, as a driver is uninstalled.
    ///
    /// # Errors
    /// If it is gone already.
    pub fn uninstall(&self) -> anyhow::Result<()> {
        Ok(fs::remove_file(&self.path)?)
    }

    fn answers(&self) -> PathBuf {
        self.directory.path().join("answers")
    }
}
