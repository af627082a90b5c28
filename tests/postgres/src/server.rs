use std::{
    fs, io,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use url::Url;

/// Starts the server, waits for the end of the tests at its standard input, which closes however
/// they end, and leaves nothing behind.
const KEEPER: &str = r#"
dir=$1; shift
"$@" >"$dir/log" 2>&1 & server=$!
read -r _
kill -QUIT "$server"; wait "$server"
rm -rf "$dir"
"#;
/// A start takes a second, and more on a machine that compiles beside it.
const START: Duration = Duration::from_secs(60);
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

/// A server.
#[derive(Debug)]
pub(crate) struct Server {
    url: Url,
    programs: PathBuf,
    /// Held open: the server ends with it.
    _until: Option<ChildStdin>,
}

// === impl Server ===

impl Server {
    /// The server of this process of that kind, started by the first who asks.
    pub(crate) fn get(disk: Disk) -> io::Result<&'static Self> {
        static IGNORED: OnceLock<Result<Server, String>> = OnceLock::new();
        static AS_SHIPPED: OnceLock<Result<Server, String>> = OnceLock::new();
        let of_kind = match disk {
            Disk::Ignored => &IGNORED,
            Disk::AsShipped => &AS_SHIPPED,
        };
        let server = of_kind.get_or_init(|| Self::given_or_started(disk).map_err(|error| error.to_string()));
        server.as_ref().map_err(|why| io::Error::other(format!("no PostgreSQL for tests: {why}")))
    }

    /// Where a database of it is.
    pub(crate) fn url(&self, database: &str) -> String {
        let mut url = self.url.clone();
        url.set_path(database);
        url.into()
    }

    /// One of PostgreSQL's programs.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    fn given_or_started(disk: Disk) -> io::Result<Self> {
        let programs = programs()?;
        let given = std::env::var("CARAVAN_TEST_STORE_URL").ok().filter(|url| url.starts_with("postgres"));
        match given {
            Some(url) => Ok(Self { url: url.parse().map_err(io::Error::other)?, programs, _until: None }),
            None => Self::start(programs, disk),
        }
    }

    fn start(programs: PathBuf, disk: Disk) -> io::Result<Self> {
        // Short: the name of a socket has to fit into 100 bytes.
        let dir = tempfile::Builder::new().prefix("pg").tempdir_in("/tmp")?.keep();
        let is_root = rustix::process::geteuid().is_root();
        if is_root {
            chown(&dir, Some(NOBODY), Some(NOBODY))?;
        }
        let data = dir.join("data");
        let init = run_as(is_root, &programs.join("initdb"))
            .args(["--username=caravan", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&data)
            .output()?;
        if !init.status.success() {
            fs::remove_dir_all(&dir)?;
            return Err(io::Error::other(String::from_utf8_lossy(&init.stderr).into_owned()));
        }
        let settings: &[&str] = match disk {
            Disk::Ignored => &["-c", "fsync=off"],
            Disk::AsShipped => &[],
        };
        let mut keeper = run_as(is_root, Path::new("sh"))
            .args(["-c", KEEPER, "sh"])
            .arg(&dir)
            .arg(programs.join("postgres"))
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(&dir)
            .args(["-c", "listen_addresses=", "-c", "max_connections=300"])
            .args(settings)
            .stdin(Stdio::piped())
            .spawn()?;
        let until = keeper.stdin.take();
        answers(&mut keeper, &dir)?;
        let url = format!("postgres://caravan@localhost/?host={}", dir.display());
        Ok(Self { url: url.parse().map_err(io::Error::other)?, programs, _until: until })
    }
}

/// Waits until the server takes connections.
fn answers(keeper: &mut Child, dir: &Path) -> io::Result<()> {
    let limit = Instant::now() + START;
    // It writes "ready" there once it is.
    let pid = dir.join("data/postmaster.pid");
    while !fs::read_to_string(&pid).is_ok_and(|text| text.lines().nth(7).map(str::trim) == Some("ready")) {
        if Instant::now() > limit || keeper.try_wait()?.is_some() {
            let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
            return Err(io::Error::other(format!("the server does not start: {log}")));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn run_as(is_root: bool, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/");
    if is_root {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// Where `initdb`, `postgres` and `psql` are: the newest that Debian has installed, or in the path.
fn programs() -> io::Result<PathBuf> {
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut places: Vec<_> = debian.map(|entry| entry.path().join("bin")).collect();
    places.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = places.into_iter().rev().chain(std::env::split_paths(&path));
    let has = |place: &PathBuf| ["initdb", "postgres", "psql"].iter().all(|name| place.join(name).is_file());
    let found = places.into_iter().find(has);
    found.ok_or_else(|| io::Error::other("there is no initdb: install the package postgresql"))
}
