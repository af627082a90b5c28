//! The llama-server that an Ollama on this host runs a model in: its command line tells how many slots it
//! has, which Ollama itself does not, and where it listens.

use url::Url;

use crate::processes;

/// A llama-server that Ollama started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Runner {
    /// Requests that it runs in parallel.
    pub(super) slots: u32,
    /// Where it listens on the loopback.
    pub(super) port: u16,
}

// === impl Runner ===

impl Runner {
    /// The only one of the Ollama at `url`. None if that is not on this host or another user's, or while
    /// it has none or several. Reads what the kernel lists: takes milliseconds.
    pub(super) async fn of(url: &Url) -> Option<Self> {
        let port = processes::loopback_port(url)?;
        let find = move || {
            let lines = processes::behind(port)?.into_iter().filter_map(processes::arguments);
            let mut runners = lines.filter_map(|line| Self::started_as(&line));
            runners.next().filter(|_| runners.next().is_none())
        };
        tokio::task::spawn_blocking(find).await.ok().flatten()
    }

    /// Where it listens.
    pub(super) fn url(&self) -> Option<Url> {
        Url::parse(&format!("http://127.0.0.1:{}", self.port)).ok()
    }

    /// The runner of this command line, if it is one of a llama-server.
    fn started_as(line: &[String]) -> Option<Self> {
        let value = |name: &str| line.iter().skip_while(|argument| *argument != name).nth(1);
        let is_runner = line.first().is_some_and(|program| program.ends_with("llama-server"));
        let slots = value("-np").or_else(|| value("--parallel"))?.parse().ok()?;
        let port = value("--port")?.parse().ok()?;
        is_runner.then_some(Self { slots, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Vec<String> {
        text.split_ascii_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_command_line_tells_of_slots_and_port() {
        let started = "/opt/lib/ollama/llama-server --model /m/blobs/sha256-1 --port 41234 --host 127.0.0.1 \
                       --no-webui --offline -c 8192 -np 4 --flash-attn auto -b 512 -ub 512";
        assert_eq!(Runner::started_as(&line(started)), Some(Runner { slots: 4, port: 41234 }));
        for other in [
            "/usr/bin/ollama serve",
            "/usr/bin/ollama runner --ollama-engine --model /m --port 41234",
            "/opt/llama-server --model /m --port 41234",
            "/opt/llama-server -np many --port 41234",
            "/opt/llama-server -np 4 --port",
            "editor llama-server -np 4 --port 41234",
            "",
        ] {
            assert_eq!(Runner::started_as(&line(other)), None, "{other}");
        }
    }
}
