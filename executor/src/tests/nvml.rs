//! An NVML without a GPU: a library that a test builds, for the real wrapper to load.

use std::{fmt::Write as _, fs, path::PathBuf, process::Command};

use tempfile::TempDir;

/// Its source: answers what a file says.
const SOURCE: &str = include_str!("nvml.c");
pub(crate) const GIB: u64 = 1 << 30;

/// A library of its own, with a file of answers of its own.
pub(crate) struct Library {
    directory: TempDir,
}

/// What it says of one GPU.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Card<'a> {
    pub(crate) used: u64,
    pub(crate) total: u64,
    /// Processes that compute, each with its bytes.
    pub(crate) compute: &'a [(u32, u64)],
}

impl Library {
    /// Builds it with the system's C compiler.
    pub(crate) fn build() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("nvml.c");
        fs::write(&source, SOURCE).unwrap();
        let library = Self { directory };
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"])
            .arg(format!("-DANSWERS=\"{}\"", library.answers().display()))
            .arg("-o")
            .arg(library.path())
            .arg(&source)
            .output()
            .expect("a C compiler, `cc`");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        library
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("libnvidia-ml.so.1")
    }

    fn answers(&self) -> PathBuf {
        self.directory.path().join("answers")
    }

    /// What it answers from now on.
    pub(crate) fn say(&self, answers: &str) {
        // In one step: it is read at any time.
        let new = self.directory.path().join("new");
        fs::write(&new, answers).unwrap();
        fs::rename(new, self.answers()).unwrap();
    }

    /// The same, for GPUs of which all is known.
    pub(crate) fn say_cards(&self, cards: &[Card<'_>]) {
        let mut answers = format!("driver=570.86.15\ncount={}\n", cards.len());
        for (index, card) in cards.iter().enumerate() {
            let processes: Vec<_> =
                card.compute.iter().map(|(pid, bytes)| format!("{pid}:{bytes}")).collect();
            let Card { used, total, .. } = card;
            write!(
                answers,
                "{index}.name=Test GPU\n{index}.uuid=GPU-{index}\n{index}.used={used}\n{index}.total={total}\n\
                 {index}.utilization=40\n{index}.temperature=51\n{index}.power=301500\n{index}.mig=0\n\
                 {index}.compute={}\n{index}.graphics=\n",
                processes.join(" ")
            )
            .unwrap();
        }
        self.say(&answers);
    }

    /// Removes it, as an uninstalled driver does.
    pub(crate) fn remove(&self) {
        fs::remove_file(self.path()).unwrap();
    }
}
