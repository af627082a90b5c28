//! The control of a simulated engine's process.

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use caravan_simulated_engine::{Fault, Rule};

use super::fault::Trouble;

/// A request with this word kills every engine that runs it.
pub(super) const POISON: &str = "poison";
/// An engine on the loopback answers at once, or it is gone.
const WITHIN: Duration = Duration::from_secs(5);

/// One simulated engine, past all links.
#[derive(Debug, Clone)]
pub(super) struct Control {
    client: reqwest::Client,
    url: String,
}

// === impl Control ===

impl Control {
    /// Of the engine at `url`.
    ///
    /// # Errors
    /// If no client can be set up.
    pub(super) fn new(url: &str) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().no_proxy().timeout(WITHIN).build()?;
        Ok(Self { client, url: url.to_owned() })
    }

    /// From now on a poisoned request kills the runner.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub(super) async fn poison(&self) -> anyhow::Result<()> {
        self.rule(&Rule::always(Fault::Crash).containing(POISON)).await
    }

    /// Brings trouble to the requests that come next, for `time` if it is one that has to be ended.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub(super) async fn trouble(&self, trouble: Trouble, time: Duration) -> anyhow::Result<()> {
        match trouble {
            Trouble::Crash => self.post("crash").await,
            Trouble::Hang => self.rule(&Rule::always(Fault::Hang).times(1)).await,
            Trouble::Busy(count) => self.rule(&Rule::always(Fault::Busy).times(count)).await,
            Trouble::DoneFalse(count) => self.rule(&Rule::always(Fault::DoneFalse).times(count)).await,
            Trouble::Disconnect(count) => self.rule(&Rule::always(Fault::Disconnect).times(count)).await,
            Trouble::Freeze => {
                self.post("freeze").await?;
                tokio::time::sleep(time).await;
                self.post("thaw").await
            }
        }
    }

    async fn rule(&self, rule: &Rule) -> anyhow::Result<()> {
        let request = self.client.post(format!("{}/sim/faults", self.url)).json(rule);
        request.send().await?.error_for_status()?;
        Ok(())
    }

    async fn post(&self, what: &str) -> anyhow::Result<()> {
        self.client.post(format!("{}/sim/{what}", self.url)).send().await?.error_for_status()?;
        Ok(())
    }
}

/// One answer that an engine has finished.
#[derive(Debug, Clone)]
pub(super) struct Answered {
    /// Microseconds since 1970.
    pub(super) at: i64,
    pub(super) marker: String,
}

/// All answers that an engine has finished in all its lives.
///
/// # Errors
/// If there is a file that cannot be read.
pub(super) fn answers(file: &Path) -> anyhow::Result<Vec<Answered>> {
    let text = match std::fs::read_to_string(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        text => text?,
    };
    let answered = |line: &str| {
        let (at, marker) = line.split_once(' ').with_context(|| format!("no answer: {line}"))?;
        Ok(Answered { at: at.parse()?, marker: marker.to_owned() })
    };
    text.lines().map(answered).collect()
}
