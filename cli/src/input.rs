//! The input of a batch: a file, or stdin.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use crate::{failure::Failure, rows::Rows};

/// An input that can be read again from any offset.
#[derive(Debug)]
pub(crate) struct Input {
    file: File,
    path: PathBuf,
    filename: String,
    size: u64,
}

// === impl Input ===

impl Input {
    /// Opens `path`, whose lines are made of `rows` if there are any. `-` is stdin: it goes to
    /// an unnamed temporary file first, since an upload that breaks is resumed from an offset;
    /// memory does not grow with it.
    pub(crate) async fn open(path: &Path, rows: Option<Rows>) -> Result<Self, Failure> {
        let path = path.to_owned();
        let unread = path.clone();
        tokio::task::spawn_blocking(move || {
            let is_stdin = path.as_os_str() == "-";
            let path = if is_stdin { PathBuf::from("stdin") } else { path };
            match rows {
                Some(rows) => {
                    let from: Box<dyn io::Read> = if is_stdin {
                        Box::new(io::stdin().lock())
                    } else {
                        Box::new(File::open(&path).map_err(|source| Failure::read(&path, source))?)
                    };
                    let (file, size) = rows.convert(from, &path)?;
                    let filename = name(&path.with_extension("jsonl"));
                    Ok(Self { file, path, filename, size })
                }
                None if is_stdin => spool().map_err(|source| Failure::read(&path, source)),
                None => open(&path).map_err(|source| Failure::read(&path, source)),
            }
        })
        .await
        .unwrap_or_else(|ended| Err(Failure::read(&unread, io::Error::other(ended))))
    }

    /// A second handle, for one attempt of an upload.
    pub(crate) fn reader(&self) -> Result<File, Failure> {
        self.file.try_clone().map_err(|source| self.unread(source))
    }

    /// The name to give the file on the server.
    pub(crate) fn filename(&self) -> &str {
        &self.filename
    }

    /// Bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Whether it begins with these bytes.
    pub(crate) async fn begins_with(&self, start: &[u8]) -> Result<bool, Failure> {
        let mut file = tokio::fs::File::from_std(self.reader()?);
        let mut found = Vec::with_capacity(start.len());
        let read = async {
            file.rewind().await?;
            file.take(start.len() as u64).read_to_end(&mut found).await
        };
        read.await.map_err(|source| self.unread(source))?;
        Ok(found == start)
    }

    /// It could not be read.
    pub(crate) fn unread(&self, source: io::Error) -> Failure {
        Failure::read(&self.path, source)
    }
}

fn open(path: &Path) -> io::Result<Input> {
    let file = File::open(path)?;
    let about = file.metadata()?;
    if about.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let filename = name(path);
    if !about.is_file() {
        // A pipe cannot be read again: as with stdin.
        return keep(file, path, &filename);
    }
    Ok(Input { file, path: path.to_owned(), filename, size: about.len() })
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn spool() -> io::Result<Input> {
    keep(io::stdin().lock(), Path::new("stdin"), "stdin.jsonl")
}

fn keep(mut from: impl io::Read, path: &Path, filename: &str) -> io::Result<Input> {
    let mut file = tempfile::tempfile()?;
    let size = io::copy(&mut from, &mut file)?;
    Ok(Input { file, path: path.to_owned(), filename: filename.to_owned(), size })
}
