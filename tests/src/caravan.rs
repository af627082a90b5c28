use std::{path::PathBuf, process::Stdio};

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::{process::Command, time::timeout};

use crate::{Audit, Input, audit, binary, wait::LIMIT};

/// The client commands against one server.
#[derive(Debug, Clone)]
pub struct Caravan {
    server: String,
    key: Option<String>,
}

/// A command that has ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; -1 if a signal ended it.
    pub code: i32,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

/// `caravan submit --watch --out --errors --json` that has ended.
#[derive(Debug)]
pub struct Submitted {
    /// Its exit code.
    pub code: i32,
    /// The lines of its stdout.
    pub lines: Vec<Value>,
    /// What it wrote to stderr.
    pub stderr: String,
    /// The output file.
    pub output: Vec<u8>,
    /// The error file.
    pub errors: Vec<u8>,
}

// === impl Caravan ===

impl Caravan {
    /// Commands against the server at `url`.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self { server: url.to_owned(), key: None }
    }

    /// The same for whoever has this key.
    #[must_use]
    pub fn showing(&self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self.clone() }
    }

    /// The program with the server in its environment, ready to be started.
    ///
    /// # Errors
    /// If it is not built.
    pub fn command(&self, args: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(binary("caravan")?);
        command.args(args).env("CARAVAN_SERVER", &self.server);
        if let Some(key) = &self.key {
            command.env("CARAVAN_API_KEY", key);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        Ok(command)
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// If it takes too long.
    pub async fn run(&self, args: &[&str]) -> anyhow::Result<Ended> {
        let child = self.command(args)?.spawn()?;
        let Ok(output) = timeout(LIMIT, child.wait_with_output()).await else {
            bail!("caravan {args:?} takes too long")
        };
        let output = output?;
        Ok(Ended {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Submits an input and watches it to its end.
    ///
    /// # Errors
    /// If it takes too long, or says what is not JSON.
    pub async fn submit(&self, input: &Input, options: &[&str]) -> anyhow::Result<Submitted> {
        let directory = tempfile::tempdir()?;
        let path = |name: &str| -> anyhow::Result<(PathBuf, String)> {
            let path = directory.path().join(name);
            let text = path.to_str().context("a path that is no text")?.to_owned();
            Ok((path, text))
        };
        let [(file, file_text), (out, out_text), (errors, errors_text)] =
            [path("in.jsonl")?, path("out.jsonl")?, path("err.jsonl")?];
        std::fs::write(&file, input.bytes())?;
        let mut args =
            vec!["submit", &file_text, "--watch", "--out", &out_text, "--errors", &errors_text, "--json"];
        args.extend(options);
        let ended = self.run(&args).await?;
        let lines = ended.stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>();
        Ok(Submitted {
            code: ended.code,
            lines: lines.with_context(|| format!("stdout is not lines of JSON: {}", ended.stdout))?,
            stderr: ended.stderr,
            output: std::fs::read(out).unwrap_or_default(),
            errors: std::fs::read(errors).unwrap_or_default(),
        })
    }
}

// === impl Ended ===

impl Ended {
    /// Its stdout as lines of JSON.
    ///
    /// # Errors
    /// If it is something else.
    pub fn json(&self) -> anyhow::Result<Vec<Value>> {
        let lines = self.stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>();
        lines.with_context(|| format!("not JSON: {} {}", self.stdout, self.stderr))
    }
}

// === impl Submitted ===

impl Submitted {
    /// The batch as the last line has it; null if there is none.
    #[must_use]
    pub fn batch(&self) -> &Value {
        self.lines.last().unwrap_or(&Value::Null)
    }

    /// Audits the files, and the counts of the batch against them.
    ///
    /// # Errors
    /// What does not hold.
    pub fn audit(&self, input: &Input) -> anyhow::Result<Audit> {
        let audit = audit(input, &self.output, &self.errors).with_context(|| self.stderr.clone())?;
        audit.agrees_with(self.batch())?;
        Ok(audit)
    }
}
