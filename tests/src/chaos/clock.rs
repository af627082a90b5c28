//! A clock for a process that can be set: libfaketime's, by which the time of day jumps and time that only
//! goes forward does not.

use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Context as _;

/// Seconds after which a process sees that its clock was set.
const NOTICED: u64 = 1;

/// The library.
#[derive(Debug, Clone)]
pub(super) struct Clock(PathBuf);

// === impl Clock ===

impl Clock {
    /// As Debian installs it.
    ///
    /// # Errors
    /// If it is not there.
    pub(super) fn find() -> anyhow::Result<Self> {
        let places = std::fs::read_dir("/usr/lib").context("no /usr/lib")?.flatten();
        let mut libraries = places.map(|place| place.path().join("faketime/libfaketimeMT.so.1"));
        let found = libraries.find(|library| library.is_file());
        Ok(Self(found.context("there is no libfaketime: install the package faketime")?))
    }

    /// Has `command` read its time from `file`.
    ///
    /// # Errors
    /// If there is no room for it.
    pub(super) fn give(&self, command: &mut Command, file: &Path) -> io::Result<()> {
        set(file, 0)?;
        command
            .env("LD_PRELOAD", &self.0)
            .env("FAKETIME_TIMESTAMP_FILE", file)
            .env("FAKETIME_CACHE_DURATION", NOTICED.to_string())
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("NO_FAKE_STAT", "1");
        Ok(())
    }
}

/// Lets the clock in `file` be wrong by so many seconds for at least `time`.
///
/// # Errors
/// If the file cannot be written.
pub(super) async fn jump(file: &Path, seconds: i64, time: Duration) -> io::Result<()> {
    set(file, seconds)?;
    tokio::time::sleep(time.max(Duration::from_secs(2 * NOTICED))).await;
    set(file, 0)
}

/// Removes what the library keeps for a process, and leaves there when it is killed or has run another program.
pub(super) fn forget(pid: u32) {
    for name in [format!("faketime_shm_{pid}"), format!("sem.faketime_sem_{pid}")] {
        // It is not there, if that process had no such clock.
        let _ = std::fs::remove_file(Path::new("/dev/shm").join(name));
    }
}

/// Written whole: the library takes part of a number for a number.
fn set(file: &Path, seconds: i64) -> io::Result<()> {
    let whole = file.with_extension("set");
    std::fs::write(&whole, format!("{seconds:+}\n"))?;
    std::fs::rename(whole, file)
}
