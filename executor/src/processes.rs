//! The processes of an engine, as the kernel lists them in `/proc`.
//!
//! Only what the kernel lets this user see: the files of another user's process are closed to it, and
//! so are processes outside of its own namespace. What is not seen is not guessed.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    path::PathBuf,
};

use caravan_service::loopback::is_here;
use procfs::{
    net::{self, TcpNetEntry, TcpState},
    process::{FDTarget, Process, all_processes},
};
use url::Url;

/// The port of `url`, if that is on a loopback address.
pub(crate) fn loopback_port(url: &Url) -> Option<u16> {
    if is_here(url) { url.port_or_known_default() } else { None }
}

/// The process that listens on `port` of a loopback address. None if there is none, or if it belongs to
/// another user. Where children have inherited the socket, it is the one that they come from.
pub(crate) fn listening(port: u16) -> Option<u32> {
    let tables = [net::tcp().unwrap_or_default(), net::tcp6().unwrap_or_default()];
    let sockets: HashSet<u64> =
        tables.iter().flatten().filter(|entry| listens(entry, port)).map(|entry| entry.inode).collect();
    if sockets.is_empty() {
        return None;
    }
    let holders: HashMap<i32, i32> = all_processes()
        .ok()?
        .flatten()
        .filter(|process| holds(process, &sockets))
        .filter_map(|process| Some((process.pid(), process.stat().ok()?.ppid)))
        .collect();
    let first = holders.iter().filter(|(_, parent)| !holders.contains_key(parent)).map(|(pid, _)| *pid).min();
    u32::try_from(first?).ok()
}

/// The process that listens on `port` of a loopback address, and its descendants.
pub(crate) fn behind(port: u16) -> Option<Vec<u32>> {
    listening(port).map(tree)
}

/// `root` and its descendants, as they are now, `root` first.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for stat in all_processes().into_iter().flatten().flatten().filter_map(|process| process.stat().ok()) {
        if let (Ok(pid), Ok(parent)) = (stat.pid.try_into(), stat.ppid.try_into()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(pid) = tree.get(next) {
        // Taken out: a pid that is used again while the list is read cannot make a circle.
        tree.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    tree
}

/// Whether the kernel shows a process of that number here. One that a driver names and that is not
/// shown is of another namespace, or hidden.
pub(crate) fn is_seen(pid: i64) -> bool {
    i32::try_from(pid).is_ok_and(|pid| Process::new(pid).is_ok())
}

/// Bytes of host memory that these processes have for themselves, in RAM (`RssAnon`) and swapped out
/// (`VmSwap`): files that they map, such as weights, are not counted. Processes that have ended count as
/// nothing; none if not one of them can be read.
pub(crate) fn resident(pids: &[u32]) -> Option<u64> {
    let own = |pid: &u32| {
        let status = Process::new(i32::try_from(*pid).ok()?).ok()?.status().ok()?;
        // In KiB, whatever the kernel calls them.
        Some((status.rssanon? + status.vmswap.unwrap_or(0)) * 1024)
    };
    let known: Vec<u64> = pids.iter().filter_map(own).collect();
    (!known.is_empty()).then(|| known.iter().sum())
}

/// What a process was started with, its program first.
pub(crate) fn arguments(pid: u32) -> Option<Vec<String>> {
    Process::new(i32::try_from(pid).ok()?).ok()?.cmdline().ok()
}

/// The directory that a process works in, from which it reads relative paths. None if it belongs to
/// another user.
pub(crate) fn directory(pid: u32) -> Option<PathBuf> {
    Process::new(i32::try_from(pid).ok()?).ok()?.cwd().ok()
}

fn listens(entry: &TcpNetEntry, port: u16) -> bool {
    let address: IpAddr = entry.local_address.ip().to_canonical();
    entry.state == TcpState::Listen
        && entry.local_address.port() == port
        && (address.is_loopback() || address.is_unspecified())
}

fn holds(process: &Process, sockets: &HashSet<u64>) -> bool {
    // Closed to us for another user's process.
    let Ok(files) = process.fd() else { return false };
    files.flatten().any(|file| matches!(file.target, FDTarget::Socket(inode) if sockets.contains(&inode)))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader},
        net::TcpListener,
        process::{Child, Command, Stdio},
    };

    use super::*;

    /// A shell with a child of its own; both end with it.
    struct Family {
        shell: Child,
        child: u32,
    }

    impl Family {
        fn start() -> Self {
            let mut shell = Command::new("sh")
                .args(["-c", "sleep 600 >/dev/null & echo $!; trap \"kill $!\" TERM; wait"])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut line = String::new();
            BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
            Self { child: line.trim().parse().unwrap(), shell }
        }
    }

    impl Drop for Family {
        fn drop(&mut self) {
            let _ended = Command::new("kill").arg(self.shell.id().to_string()).status();
            let _ended = self.shell.wait();
        }
    }

    #[test]
    fn only_a_server_of_this_host_is_looked_for() {
        let port = |url: &str| loopback_port(&url.parse().unwrap());
        assert_eq!(port("http://127.0.0.1:11434"), Some(11434));
        assert_eq!((port("http://localhost/"), port("http://[::1]:5")), (Some(80), Some(5)));
        assert_eq!((port("http://10.0.0.1:11434"), port("http://gpu.example:11434")), (None, None));
    }

    #[test]
    fn who_listens_is_found_on_either_loopback_and_on_all_addresses() {
        for address in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let port = listener.local_addr().unwrap().port();
            assert_eq!(listening(port), Some(std::process::id()), "{address}");
            drop(listener);
            assert_eq!(listening(port), None, "{address} is closed");
        }
    }

    #[test]
    fn a_tree_is_a_process_and_its_descendants() {
        let family = Family::start();
        let shell = family.shell.id();
        assert_eq!(tree(shell), [shell, family.child]);
        let ours = tree(std::process::id());
        assert!(ours.contains(&shell) && ours.contains(&family.child), "{ours:?}");
        assert_eq!(tree(family.child), [family.child]);
        assert_eq!(arguments(shell).unwrap()[..2], ["sh", "-c"]);
    }

    #[test]
    fn memory_is_of_those_that_are_there() {
        let filled = std::hint::black_box(vec![1_u8; 64 << 20]);
        let family = Family::start();
        let own = resident(&[std::process::id()]).unwrap();
        assert!(own >= 64 << 20, "{own}");
        drop(filled);
        let shell = resident(&[family.shell.id()]).unwrap();
        assert!((1..16 << 20).contains(&shell), "{shell}");
        assert!(resident(&[family.shell.id(), family.child]).unwrap() > shell);
        // Larger than any pid that the kernel gives.
        assert_eq!((resident(&[u32::MAX >> 1]), resident(&[])), (None, None));
    }
}
