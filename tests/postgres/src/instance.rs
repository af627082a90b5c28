use std::{
    fs, io,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// No server runs as root; this user owns nothing.
const NOBODY: u32 = 65_534;

/// Whether a server waits for its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disk {
    /// No: nothing has to outlast the tests.
    Ignored,
    /// As PostgreSQL comes: a commit outlasts a power cut.
    AsShipped,
}

/// The files of a server which its owner starts, stops and kills as a test wants it. Removed when dropped.
#[derive(Debug)]
pub struct Instance {
    server: PathBuf,
    directory: TempDir,
}

// === impl Instance ===

impl Instance {
    /// A new one, with the user `caravan` and the database `postgres`.
    ///
    /// # Errors
    /// If there is no PostgreSQL on this machine, or no room for its files.
    pub fn create() -> io::Result<Self> {
        Self::create_in(&programs()?)
    }

    pub(crate) fn create_in(programs: &Path) -> io::Result<Self> {
        // Short: the name of a socket has to fit into 100 bytes.
        let directory = tempfile::Builder::new().prefix("pg").tempdir_in("/tmp")?;
        if is_root() {
            chown(directory.path(), Some(NOBODY), Some(NOBODY))?;
        }
        let init = run_as(&programs.join("initdb"))
            .args(["--username=caravan", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(directory.path().join("data"))
            .output()?;
        match init.status.success() {
            true => Ok(Self { server: programs.join("postgres"), directory }),
            false => Err(io::Error::other(String::from_utf8_lossy(&init.stderr).into_owned())),
        }
    }

    /// Runs the server in the foreground: SIGINT stops it in good order.
    #[must_use]
    pub fn command(&self) -> Command {
        // Tests kill processes, not machines: what was written is there without a sync.
        self.command_on(Disk::Ignored)
    }

    pub(crate) fn command_on(&self, disk: Disk) -> Command {
        let mut command = run_as(&self.server);
        command.arg("-D").arg(self.directory().join("data")).arg("-k").arg(self.directory());
        command.args(["-c", "listen_addresses=", "-c", "max_connections=300"]);
        if disk == Disk::Ignored {
            command.args(["-c", "fsync=off"]);
        }
        command
    }

    /// Where it is reached.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory().join(".s.PGSQL.5432")
    }

    /// Whether the server of this process takes connections.
    #[must_use]
    pub fn serves(&self, pid: u32) -> bool {
        self.state().is_some_and(|(of, ready)| of == pid.to_string() && ready)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.state().is_some_and(|(_, ready)| ready)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Leaves the files to another one.
    pub(crate) fn keep(self) -> PathBuf {
        self.directory.keep()
    }

    /// The process that serves, and whether it is ready, as it has written them down.
    fn state(&self) -> Option<(String, bool)> {
        let text = fs::read_to_string(self.directory().join("data/postmaster.pid")).ok()?;
        let mut lines = text.lines().map(str::trim);
        let pid = lines.next()?.to_owned();
        Some((pid, lines.nth(6) == Some("ready")))
    }
}

pub(crate) fn run_as(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/");
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Where `initdb`, `postgres` and `psql` are: the newest that Debian has installed, or in the path.
pub(crate) fn programs() -> io::Result<PathBuf> {
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut places: Vec<_> = debian.map(|entry| entry.path().join("bin")).collect();
    places.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = places.into_iter().rev().chain(std::env::split_paths(&path));
    let has = |place: &PathBuf| ["initdb", "postgres", "psql"].iter().all(|name| place.join(name).is_file());
    let found = places.into_iter().find(has);
    found.ok_or_else(|| io::Error::other("there is no initdb: install the package postgresql"))
}
