//! A PostgreSQL server that lives as long as the tests that started it, and the databases on it.
//!
//! With `CARAVAN_TEST_POSTGRES` (a URL without a database) that server is taken instead.

use std::{
    fs, io,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

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

/// A server.
#[derive(Debug)]
pub struct Server {
    url: String,
    /// Held open: the server ends with it.
    _until: Option<ChildStdin>,
}

/// The server of this process, started by the first who asks.
///
/// # Panics
/// If there is no PostgreSQL on this machine, or it does not start.
pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| match std::env::var("CARAVAN_TEST_POSTGRES") {
        Ok(url) => Server { url, _until: None },
        Err(_) => Server::start().unwrap_or_else(|why| panic!("no PostgreSQL for the tests: {why}")),
    })
}

impl Server {
    /// The URL of a database that is created with its first connection by [`Server::create`].
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let (server, parameters) = self.url.split_once('?').unwrap_or((&self.url, ""));
        let mark = if parameters.is_empty() { "" } else { "?" };
        format!("{}/{database}{mark}{parameters}", server.trim_end_matches('/'))
    }

    /// A name for a database of one test.
    #[must_use]
    pub fn name(&self) -> String {
        format!("t{}", uuid::Uuid::now_v7().simple())
    }

    fn start() -> io::Result<Self> {
        let programs = programs()?;
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
        let mut keeper = run_as(is_root, Path::new("sh"))
            .args(["-c", KEEPER, "sh"])
            .arg(&dir)
            .arg(programs.join("postgres"))
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(&dir)
            .args(["-c", "listen_addresses=", "-c", "max_connections=300", "-c", "fsync=off"])
            .stdin(Stdio::piped())
            .spawn()?;
        let until = keeper.stdin.take();
        answers(&mut keeper, &dir)?;
        Ok(Self { url: format!("postgres://caravan@localhost/?host={}", dir.display()), _until: until })
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

/// Where `initdb` and `postgres` are: the newest that Debian has installed, or in the path.
fn programs() -> io::Result<PathBuf> {
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut places: Vec<_> = debian.map(|entry| entry.path().join("bin")).collect();
    places.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = places.into_iter().rev().chain(std::env::split_paths(&path));
    let has = |place: &PathBuf| place.join("initdb").is_file() && place.join("postgres").is_file();
    let found = places.into_iter().find(has);
    found.ok_or_else(|| io::Error::other("there is no initdb: install the package postgresql"))
}
