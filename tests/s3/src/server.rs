use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::BUCKET;

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
/// Name and secret of the credentials that everything is allowed.
pub(crate) const CREDENTIALS: (&str, &str) = ("caravan", "caravan-tests");
/// The parts of the server in its one process, each with a port for HTTP and one for gRPC.
const PARTS: [&str; 4] = ["master", "volume", "filer", "s3"];

/// A server.
#[derive(Debug)]
pub(crate) struct Server {
    /// `HOST:PORT`.
    pub(crate) address: String,
    /// Held open: the server ends with it.
    _until: Option<ChildStdin>,
}

impl Server {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let program = program()?;
        let dir = tempfile::Builder::new().prefix("s3").tempdir()?.keep();
        let ports = free_ports(2 * PARTS.len())?;
        let mut server = Command::new("sh");
        server.args(["-c", KEEPER, "sh"]).arg(&dir);
        server.arg(ports.iter().map(u16::to_string).collect::<Vec<_>>().join(" "));
        server.arg(program).args(["-logtostderr=true", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]);
        server.arg(format!("-dir={}", dir.display()));
        for (part, ports) in PARTS.iter().zip(ports.chunks(2)) {
            server.arg(format!("-{part}.port={}", ports[0])).arg(format!("-{part}.port.grpc={}", ports[1]));
        }
        server.args(["-filer", "-s3", "-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]);
        server.args(["-s3.autoCreateBucket=false", "-master.telemetry=false"]);
        // As many volumes as there is space for, and none of 30 GB.
        server.args(["-master.volumeSizeLimitMB=64", "-volume.max=0"]);
        server.env("AWS_ACCESS_KEY_ID", CREDENTIALS.0).env("AWS_SECRET_ACCESS_KEY", CREDENTIALS.1);
        let mut keeper = server.stdin(Stdio::piped()).spawn()?;
        let until = keeper.stdin.take();
        let (filer, s3) = (ports[4], ports[6]);
        answers(&mut keeper, &dir, &format!("GET /{BUCKET}"), s3, |status| status != 0)?;
        // A directory of the filer's is a bucket.
        answers(&mut keeper, &dir, &format!("POST /buckets/{BUCKET}/"), filer, |status| status == 201)?;
        Ok(Self { address: format!("127.0.0.1:{s3}"), _until: until })
    }
}

/// Sends a request, again and again, until the answer is the one that is waited for.
fn answers(
    keeper: &mut Child,
    dir: &Path,
    request: &str,
    port: u16,
    wanted: impl Fn(u16) -> bool,
) -> anyhow::Result<()> {
    let limit = Instant::now() + START;
    loop {
        let status = ask(request, port).unwrap_or_default();
        if wanted(status) {
            return Ok(());
        }
        if Instant::now() > limit || keeper.try_wait()?.is_some() {
            let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
            bail!("the server answers {request} with {status}: {}", &log[log.len().saturating_sub(4_000)..]);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The status of the answer.
fn ask(request: &str, port: u16) -> anyhow::Result<u16> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(std::str::from_utf8(&head)?.split(' ').next_back().context("no status")?.parse()?)
}

/// Ports that are free now, all at once.
fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    let bound: Result<Vec<_>, _> = (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect();
    bound?.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

/// `weed` of the virtual environment, or in the path.
fn program() -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::iter::once(root.join(".venv/bin")).chain(std::env::split_paths(&path));
    let found = places.map(|place| place.join("weed")).find(|program| program.is_file());
    found.context("there is no `weed`: run `bash deploy/venv.sh tests/s3/requirements.txt`")
}
