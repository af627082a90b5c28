use std::{
    fs,
    net::SocketAddr,
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::bail;

use crate::instance::Instance;

/// Starts the server, waits for the end of the tests at its standard input, which closes however
/// they end, and leaves nothing behind.
const KEEPER: &str = r#"
dir=$1; ports=$2; shift 2
"$@" >"$dir/log" 2>&1 & server=$!
read -r _
kill -KILL "$server"; wait "$server"
rm -rf "$dir"
for port in $ports; do rm -f "/tmp/seaweedfs-"*"-$port.sock"; done
"#;
/// A start takes three seconds, and more on a machine that compiles beside it.
const START: Duration = Duration::from_secs(60);

/// A server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// Held open: the server ends with it.
    _until: Option<ChildStdin>,
}

// === impl Server ===

impl Server {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let instance = Instance::create()?;
        let server = instance.command();
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "sh"]).arg(instance.directory()).arg(instance.ports());
        keeper.arg(server.get_program()).args(server.get_args());
        keeper.envs(server.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut keeper = keeper.stdin(Stdio::piped()).spawn()?;
        let until = keeper.stdin.take();
        answers(&mut keeper, &instance)?;
        let address = instance.address();
        // From now on they are the keeper's.
        instance.keep();
        Ok(Self { address, _until: until })
    }
}

/// Waits until the server takes requests.
fn answers(keeper: &mut Child, instance: &Instance) -> anyhow::Result<()> {
    let limit = Instant::now() + START;
    while !instance.serves() {
        if Instant::now() > limit || keeper.try_wait()?.is_some() {
            let log = fs::read_to_string(instance.directory().join("log")).unwrap_or_default();
            bail!("the server does not start: {}", &log[log.len().saturating_sub(4_000)..]);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
