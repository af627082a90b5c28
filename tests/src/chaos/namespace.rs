//! What Linux gives a process of its own, where this is root: a file system that can be filled up, and a
//! network that can be taken away. Both end with the harness, however it ends.

use std::{
    io::{self, Write as _},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use tokio::{
    io::AsyncReadExt as _,
    process::{Child, Command as Tokio},
    task::spawn_blocking,
};

/// Holds a namespace until its standard input closes; says when it is as it should be.
const KEEPER: &str = r#"eval "$1" && echo ready && read -r _"#;
/// Network for benches (RFC 2544): no other one on a machine has these addresses.
const BENCHES: u32 = u32::from_be_bytes([198, 18, 0, 0]);
/// Pieces in which a disk is filled up: large ones, then what is left.
const BALLAST: [usize; 2] = [1 << 20, 4 << 10];

/// A namespace, held by a process of its own.
#[derive(Debug)]
struct Namespace {
    kind: &'static str,
    keeper: Child,
}

/// A small file system that only those see who enter it.
#[derive(Debug)]
pub(super) struct Disk {
    namespace: Namespace,
    directory: PathBuf,
}

/// A network with one cable, to this machine.
#[derive(Debug)]
pub(super) struct Network {
    namespace: Namespace,
    cable: String,
    /// This machine's end.
    pub(super) address: Ipv4Addr,
}

// === impl Namespace ===

impl Namespace {
    async fn new(kind: &'static str, setup: &str) -> anyhow::Result<Self> {
        let mut keeper = Tokio::new("unshare")
            .args([&format!("--{kind}"), "sh", "-c", KEEPER, "sh", setup])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("no `unshare`")?;
        let mut said = [0; 6];
        let ready = keeper.stdout.as_mut().context("no output")?.read_exact(&mut said).await;
        if ready.is_err() {
            let output = keeper.wait_with_output().await?;
            anyhow::bail!("no {kind} namespace: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(Self { kind, keeper })
    }

    fn pid(&self) -> anyhow::Result<u32> {
        self.keeper.id().context("the keeper of a namespace is gone")
    }

    /// `command` in it.
    fn enter(&self, command: &Command) -> anyhow::Result<Command> {
        let file = if self.kind == "mount" { "mnt" } else { self.kind };
        let mut entering = Command::new("nsenter");
        entering.arg(format!("--{}=/proc/{}/ns/{file}", self.kind, self.pid()?));
        entering.arg(command.get_program()).args(command.get_args());
        Ok(entering)
    }
}

// === impl Disk ===

impl Disk {
    /// One of so many bytes at `directory`, which exists.
    ///
    /// # Errors
    /// If this may not be.
    pub(super) async fn new(directory: &Path, bytes: u64) -> anyhow::Result<Self> {
        let setup = format!("mount -t tmpfs -o size={bytes} caravan-chaos '{}'", directory.display());
        Ok(Self { namespace: Namespace::new("mount", &setup).await?, directory: directory.to_owned() })
    }

    pub(super) fn enter(&self, command: &Command) -> anyhow::Result<Command> {
        self.namespace.enter(command)
    }

    /// The directory as this process reaches it.
    pub(super) fn path(&self) -> anyhow::Result<PathBuf> {
        let below = self.directory.strip_prefix("/")?;
        Ok(Path::new(&format!("/proc/{}/root", self.namespace.pid()?)).join(below))
    }

    /// Leaves no byte free.
    ///
    /// # Errors
    /// If it cannot be written for another reason than that it is full.
    pub(super) async fn fill(&self) -> anyhow::Result<()> {
        let ballast = self.path()?.join("ballast");
        let filled = spawn_blocking(move || {
            let mut file = std::fs::File::create(ballast)?;
            for size in BALLAST {
                let piece = vec![0; size];
                while file.write_all(&piece).map_or_else(is_full, |()| Ok(true))? {}
            }
            io::Result::Ok(())
        });
        filled.await?.context("cannot fill a disk")
    }

    /// Frees what `fill` has taken.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub(super) fn free(&self) -> anyhow::Result<()> {
        std::fs::remove_file(self.path()?.join("ballast")).context("cannot free a disk")
    }
}

/// Whether there is room for more.
fn is_full(error: io::Error) -> io::Result<bool> {
    if error.kind() == io::ErrorKind::StorageFull { Ok(false) } else { Err(error) }
}

// === impl Network ===

impl Network {
    /// A network whose only way leads to this machine.
    ///
    /// # Errors
    /// If this may not be.
    pub(super) async fn new() -> anyhow::Result<Self> {
        let namespace = Namespace::new("net", "ip link set lo up").await?;
        let me = std::process::id();
        // A network of four addresses for each process.
        let base = BENCHES + 4 * (me % (1 << 15));
        let (address, other) = (Ipv4Addr::from(base + 1), Ipv4Addr::from(base + 2));
        let cable = format!("chaos{me}");
        let keeper = namespace.pid()?.to_string();
        ip(&["link", "add", &cable, "type", "veth", "peer", "name", "eth0", "netns", &keeper]).await?;
        ip(&["addr", "add", &format!("{address}/30"), "dev", &cable]).await?;
        ip(&["link", "set", &cable, "up"]).await?;
        for args in [
            vec!["addr".to_owned(), "add".into(), format!("{other}/30"), "dev".into(), "eth0".into()],
            ["link", "set", "eth0", "up"].map(str::to_owned).to_vec(),
        ] {
            let mut command = Command::new("ip");
            command.args(args);
            run(namespace.enter(&command)?).await?;
        }
        Ok(Self { namespace, cable, address })
    }

    pub(super) fn enter(&self, command: &Command) -> anyhow::Result<Command> {
        self.namespace.enter(command)
    }

    /// Plugs the cable in, or pulls it out: nobody is told.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(super) async fn plug(&self, is_in: bool) -> anyhow::Result<()> {
        ip(&["link", "set", &self.cable, if is_in { "up" } else { "down" }]).await
    }
}

async fn ip(args: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("ip");
    command.args(args);
    run(command).await
}

async fn run(command: Command) -> anyhow::Result<()> {
    let said = format!("{command:?}");
    let output = Tokio::from(command).output().await.with_context(|| said.clone())?;
    ensure!(output.status.success(), "{said}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
