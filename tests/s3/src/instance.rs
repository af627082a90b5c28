use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Context as _;
use tempfile::TempDir;

/// Name and secret of the credentials that everything is allowed.
pub const CREDENTIALS: (&str, &str) = ("caravan", "caravan-tests");
/// The bucket that there is once it serves.
pub const BUCKET: &str = "caravan";
/// The parts of the server in its one process, each with a port for HTTP and one for gRPC.
const PARTS: [&str; 4] = ["master", "volume", "filer", "s3"];

/// The files and ports of a server which its owner starts, stops and kills as a test wants it. Its files are removed
/// when it is dropped.
#[derive(Debug)]
pub struct Instance {
    program: PathBuf,
    directory: TempDir,
    ports: Vec<u16>,
}

// === impl Instance ===

impl Instance {
    /// A new one.
    ///
    /// # Errors
    /// If there is no SeaweedFS on this machine, or no room for its files.
    pub fn create() -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("s3").tempdir()?;
        Ok(Self { program: program()?, directory, ports: free_ports(2 * PARTS.len())? })
    }

    /// Runs the server in the foreground.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut server = Command::new(&self.program);
        server.args(["-logtostderr=true", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]);
        server.arg(format!("-dir={}", self.directory().display()));
        for (part, ports) in PARTS.iter().zip(self.ports.chunks(2)) {
            server.arg(format!("-{part}.port={}", ports[0])).arg(format!("-{part}.port.grpc={}", ports[1]));
        }
        server.args(["-filer", "-s3", "-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]);
        server.args(["-s3.autoCreateBucket=false", "-master.telemetry=false"]);
        // As many volumes as there is space for, and none of 30 GB.
        server.args(["-master.volumeSizeLimitMB=64", "-volume.max=0", "-volume.preStopSeconds=0"]);
        server.env("AWS_ACCESS_KEY_ID", CREDENTIALS.0).env("AWS_SECRET_ACCESS_KEY", CREDENTIALS.1);
        server
    }

    /// Where S3 is served.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports[6]).into()
    }

    /// Makes the bucket if there is none yet. False if the server does not take requests yet.
    #[must_use]
    pub fn serves(&self) -> bool {
        // A directory of the filer's is a bucket. 409: it is there already.
        let bucket = || ask(&format!("POST /buckets/{BUCKET}/"), self.ports[4]);
        let s3 = ask(&format!("GET /{BUCKET}"), self.ports[6]);
        s3.is_ok_and(|status| status != 0) && bucket().is_ok_and(|status| matches!(status, 201 | 409))
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its ports, with spaces between them.
    pub(crate) fn ports(&self) -> String {
        self.ports.iter().map(u16::to_string).collect::<Vec<_>>().join(" ")
    }

    /// Leaves the files to another one, with the sockets that the server makes elsewhere.
    pub(crate) fn keep(mut self) {
        self.directory.disable_cleanup(true);
        self.ports.clear();
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        for port in &self.ports {
            for part in PARTS {
                // Most parts have none.
                let _none = fs::remove_file(format!("/tmp/seaweedfs-{part}-{port}.sock"));
            }
        }
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
