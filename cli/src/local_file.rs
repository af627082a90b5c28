//! A result on this machine's disk that is there whole or not at all.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;
use tokio::io::{AsyncWriteExt as _, BufWriter};

use crate::{failure::Failure, stdout};

/// Bytes gathered for one write.
const BUFFER_BYTES: usize = 1 << 18;

/// A file in the making: `finish` puts it in its place, dropping it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct LocalFile {
    path: PathBuf,
    writer: BufWriter<tokio::fs::File>,
    /// The file beside `path`; none if `path` is a device or a pipe, which cannot be replaced.
    beside: Option<(NamedTempFile, PathBuf)>,
}

// === impl LocalFile ===

impl LocalFile {
    /// Whether a file could be made at `path`, for saying so before work begins.
    pub(crate) fn check(path: &Path) -> Result<(), Failure> {
        let wrong = |why: &str| Failure::Usage(format!("cannot write {}: {why}", path.display()));
        if path.is_dir() {
            return Err(wrong("it is a directory"));
        }
        if directory(path).is_dir() { Ok(()) } else { Err(wrong("its directory does not exist")) }
    }

    /// Begins the file for `path`.
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        Self::begin(path).map_err(|source| Failure::write(path, source))
    }

    fn begin(path: &Path) -> io::Result<Self> {
        let (file, beside) = match fs::metadata(path) {
            Ok(about) if !about.is_file() => (fs::OpenOptions::new().write(true).open(path)?, None),
            about => {
                // Through a link, so that the link stays and its target is replaced.
                let target = if about.is_ok() { path.canonicalize()? } else { path.to_owned() };
                let beside = beside(&target)?;
                (beside.as_file().try_clone()?, Some((beside, target)))
            }
        };
        let writer = BufWriter::with_capacity(BUFFER_BYTES, tokio::fs::File::from_std(file));
        Ok(Self { path: path.to_owned(), writer, beside })
    }

    /// Appends `bytes`.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.writer.write_all(bytes).await.map_err(|error| stdout::failed(error, &self.path))
    }

    /// Puts the file in its place.
    pub(crate) async fn finish(mut self) -> Result<(), Failure> {
        self.writer.flush().await.map_err(|error| stdout::failed(error, &self.path))?;
        let Some((beside, target)) = self.beside else { return Ok(()) };
        let unwritten = |source| Failure::write(&target, source);
        self.writer.get_ref().sync_all().await.map_err(unwritten)?;
        beside.persist(&target).map_err(|error| unwritten(error.error))?;
        Ok(())
    }
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn beside(target: &Path) -> io::Result<NamedTempFile> {
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(target.file_name().unwrap_or_default());
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(".part");
    // As any new file: what the umask leaves, not the 0600 of a temporary one.
    builder.permissions(fs::Permissions::from_mode(0o666));
    builder.tempfile_in(directory(target))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).expect("a directory");
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    }

    #[tokio::test]
    async fn the_old_file_stands_until_the_new_one_is_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("out.jsonl");
        fs::write(&path, "old").expect("a file");

        let mut dropped = LocalFile::create(&path).expect("a new file");
        dropped.write(b"half").await.expect("written");
        drop(dropped);
        assert_eq!(fs::read_to_string(&path).expect("the file"), "old");
        assert_eq!(names(dir.path()), ["out.jsonl"]);

        let mut file = LocalFile::create(&path).expect("a new file");
        file.write(b"new").await.expect("written");
        assert_eq!(fs::read_to_string(&path).expect("the file"), "old");
        file.finish().await.expect("finished");
        assert_eq!(fs::read_to_string(&path).expect("the file"), "new");
        assert_eq!(names(dir.path()), ["out.jsonl"]);
    }

    #[tokio::test]
    async fn a_device_is_written_to_and_not_replaced() {
        let device = Path::new("/dev/null");
        let mut file = LocalFile::create(device).expect("the device");
        file.write(b"gone").await.expect("written");
        file.finish().await.expect("finished");
        assert!(!fs::metadata(device).expect("the device").is_file());
    }

    #[test]
    fn a_missing_directory_is_found_before_work_begins() {
        assert!(LocalFile::check(Path::new("/nowhere/at/all/out.jsonl")).is_err());
        assert!(LocalFile::check(Path::new("out.jsonl")).is_ok());
    }
}
