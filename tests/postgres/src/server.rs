use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use url::Url;

use crate::instance::{Disk, Instance, programs, run_as};

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
        let given = std::env::var("CARAVAN_TEST_STORE_URL")
            .ok()
            .filter(|url| url.starts_with("postgres:") || url.starts_with("postgresql:"));
        match given {
            Some(url) => Ok(Self { url: url.parse().map_err(io::Error::other)?, programs, _until: None }),
            None => Self::start(programs, disk),
        }
    }

    fn start(programs: PathBuf, disk: Disk) -> io::Result<Self> {
        let instance = Instance::create_in(&programs)?;
        let server = instance.command_on(disk);
        let mut keeper = run_as(Path::new("sh"))
            .args(["-c", KEEPER, "sh"])
            .arg(instance.directory())
            .arg(server.get_program())
            .args(server.get_args())
            .stdin(Stdio::piped())
            .spawn()?;
        let until = keeper.stdin.take();
        answers(&mut keeper, &instance)?;
        // From here on the keeper removes it.
        let dir = instance.keep();
        let url = format!("postgres://caravan@localhost/?host={}", dir.display());
        Ok(Self { url: url.parse().map_err(io::Error::other)?, programs, _until: until })
    }
}

/// Waits until the server takes connections.
fn answers(keeper: &mut Child, instance: &Instance) -> io::Result<()> {
    let limit = Instant::now() + START;
    while !instance.is_ready() {
        if Instant::now() > limit || keeper.try_wait()?.is_some() {
            let log = fs::read_to_string(instance.directory().join("log")).unwrap_or_default();
            return Err(io::Error::other(format!("the server does not start: {log}")));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
