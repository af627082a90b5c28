//! What an engine writes: a log of bounded size, and its last words while it starts.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    fs::File,
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::unix::pipe,
};

/// Bytes of a line that are taken as one; a longer one is taken in pieces.
const LONGEST_LINE: u64 = 4_096;
/// Lines that are kept as last words.
const LAST_LINES: usize = 12;

/// The last lines that an engine wrote before its API answered. None are kept from then on: no word
/// of a prompt may come into a message.
#[derive(Debug, Clone, Default)]
pub(super) struct LastWords {
    lines: Arc<Mutex<Option<VecDeque<String>>>>,
}

/// A log, and one old log beside it.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
    written: u64,
    limit: u64,
}

/// Reads all that an engine writes until it and its children have ended.
pub(super) async fn keep(from: pipe::Receiver, words: LastWords, mut log: Option<Log>) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut from).take(LONGEST_LINE).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        words.push(&line);
        if let Some(open) = &mut log
            && let Err(error) = open.write(&line).await
        {
            tracing::warn!(path = %open.path.display(), %error, "the log of an engine ends: it cannot be written");
            log = None;
        }
    }
}

// === impl LastWords ===

impl LastWords {
    pub(super) fn new() -> Self {
        Self { lines: Arc::new(Mutex::new(Some(VecDeque::new()))) }
    }

    /// No more are kept.
    pub(super) fn close(&self) {
        *self.lock() = None;
    }

    /// What was kept, in one line.
    pub(super) fn text(&self) -> String {
        let lines = self.lock();
        let lines = lines.iter().flatten().map(String::as_str).filter(|line| !line.is_empty());
        let text = lines.collect::<Vec<_>>().join(" | ");
        if text.is_empty() { "nothing".into() } else { text }
    }

    fn push(&self, line: &[u8]) {
        if let Some(lines) = &mut *self.lock() {
            if lines.len() == LAST_LINES {
                lines.pop_front();
            }
            lines.push_back(String::from_utf8_lossy(line).trim().to_owned());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<VecDeque<String>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Log ===

impl Log {
    /// Goes on with the log at `path`, which has at most about `limit` bytes.
    pub(super) async fn open(path: &Path, limit: u64) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            tokio::fs::create_dir_all(directory).await?;
        }
        let file = File::options().create(true).append(true).open(path).await?;
        let written = file.metadata().await?.len();
        Ok(Self { path: path.to_owned(), file, written, limit })
    }

    async fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.written >= self.limit {
            tokio::fs::rename(&self.path, self.path.with_extension("log.old")).await?;
            *self = Self::open(&self.path, self.limit).await?;
        }
        self.file.write_all(line).await?;
        self.file.flush().await?;
        self.written += line.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    async fn kept(text: &str, words: LastWords, log: Option<Log>) {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let reader = pipe::Receiver::from_owned_fd(reader.into()).unwrap();
        let text = text.to_owned();
        let write = tokio::task::spawn_blocking(move || writer.write_all(text.as_bytes()).unwrap());
        keep(reader, words, log).await;
        write.await.unwrap();
    }

    #[tokio::test]
    async fn last_words_are_the_last_lines_until_they_are_closed() {
        let words = LastWords::new();
        assert_eq!(words.text(), "nothing");
        let text: String = (0..50).map(|n| format!("line {n}\n")).collect();
        kept(&text, words.clone(), None).await;
        assert!(words.text().starts_with("line 38 | ") && words.text().ends_with(" | line 49"));
        words.close();
        kept("a prompt\n", words.clone(), None).await;
        assert_eq!(words.text(), "nothing");
    }

    #[tokio::test]
    async fn a_log_is_bounded_and_goes_on_where_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("logs/ollama-0.log");
        for _ in 0..2 {
            let log = Log::open(&path, 10_000).await.unwrap();
            kept(&"x".repeat(99_000), LastWords::new(), Some(log)).await;
        }
        let mut sizes: Vec<_> = std::fs::read_dir(path.parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .collect();
        sizes.sort_unstable();
        assert_eq!(sizes.len(), 2);
        assert!(sizes.iter().all(|size| *size <= 10_000 + LONGEST_LINE), "{sizes:?}");
    }
}
