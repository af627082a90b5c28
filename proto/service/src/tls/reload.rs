//! What was made of files, made anew when they change. The bytes are compared, not the times: so a file
//! may be renamed into place, or be reached by a link that is turned elsewhere.

use std::{fmt, sync::Arc, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinSet,
    time::sleep,
};

use super::Error;
use crate::explain;

/// A cheap clone; the files are watched until the last one is gone.
pub(super) struct Reloaded<T> {
    now: watch::Receiver<Arc<T>>,
    _watch: Arc<JoinSet<()>>,
}

struct Watch<M, T, R, B> {
    read: R,
    build: B,
    /// What `now` was made of.
    used: M,
    now: watch::Sender<Arc<T>>,
    /// What was wrong the last time; said once.
    told: Option<String>,
}

// === impl Reloaded ===

impl<T: Send + Sync + 'static> Reloaded<T> {
    /// Reads and builds now, and again every `interval` and at SIGHUP. If that fails later, what was built
    /// before stays, and the log says why.
    ///
    /// # Errors
    /// If it fails now.
    pub(super) fn new<M, R, B>(interval: Duration, read: R, build: B) -> Result<Self, Error>
    where
        M: PartialEq + Send + 'static,
        R: Fn() -> Result<M, Error> + Clone + Send + 'static,
        B: Fn(&M) -> Result<T, Error> + Send + 'static,
    {
        let used = read()?;
        let (now, current) = watch::channel(Arc::new(build(&used)?));
        let hangup = signal(SignalKind::hangup()).map_err(Error::Signal)?;
        let mut tasks = JoinSet::new();
        tasks.spawn(Watch { read, build, used, now, told: None }.run(interval, hangup));
        Ok(Self { now: current, _watch: Arc::new(tasks) })
    }

    /// What the files say, as of the last time that they were read.
    pub(super) fn now(&self) -> Arc<T> {
        Arc::clone(&self.now.borrow())
    }
}

impl<T> Clone for Reloaded<T> {
    fn clone(&self) -> Self {
        Self { now: self.now.clone(), _watch: Arc::clone(&self._watch) }
    }
}

impl<T> fmt::Debug for Reloaded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloaded").finish_non_exhaustive()
    }
}

// === impl Watch ===

impl<M, T, R, B> Watch<M, T, R, B>
where
    M: PartialEq + Send + 'static,
    R: Fn() -> Result<M, Error> + Clone + Send + 'static,
    B: Fn(&M) -> Result<T, Error>,
{
    async fn run(mut self, interval: Duration, mut hangup: Signal) {
        loop {
            tokio::select! {
                _ = hangup.recv() => self.told = None,
                () = sleep(interval) => {}
            }
            // A directory over a network may take its time.
            let Ok(found) = tokio::task::spawn_blocking(self.read.clone()).await else { continue };
            match found.and_then(|found| self.take(found)) {
                Ok(()) => self.told = None,
                Err(error) => self.tell(&error),
            }
        }
    }

    fn take(&mut self, found: M) -> Result<(), Error> {
        if found != self.used {
            self.now.send_replace(Arc::new((self.build)(&found)?));
            self.used = found;
            tracing::info!("certificates were read anew");
        }
        Ok(())
    }

    fn tell(&mut self, error: &Error) {
        let text = explain(error);
        if self.told.as_ref() != Some(&text) {
            tracing::error!(error = text, "certificates stay as they are: the new ones cannot be used");
            self.told = Some(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::time::timeout;

    use super::*;
    use crate::config;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// A file, and how often it was read.
    #[derive(Clone, Default)]
    struct Source(Arc<Mutex<(String, usize)>>);

    impl Source {
        fn write(&self, text: &str) {
            self.0.lock().unwrap().0 = text.to_owned();
        }

        fn read(&self) -> Result<String, Error> {
            let mut inner = self.0.lock().unwrap();
            inner.1 += 1;
            Ok(inner.0.clone())
        }

        /// Waits until it was read so often from now on.
        async fn reads(&self, more: usize) {
            let wanted = self.0.lock().unwrap().1 + more;
            let read = async {
                while self.0.lock().unwrap().1 < wanted {
                    sleep(Duration::from_millis(1)).await;
                }
            };
            timeout(PATIENCE, read).await.expect("it is read");
        }
    }

    fn reloaded(source: &Source, interval: Duration) -> Reloaded<String> {
        let read = {
            let source = source.clone();
            move || source.read()
        };
        let build = |text: &String| match text.as_str() {
            "bad" => Err(config::Error::Invalid("it is bad".to_owned()).into()),
            text => Ok(format!("of {text}")),
        };
        Reloaded::new(interval, read, build).unwrap()
    }

    #[tokio::test]
    async fn what_cannot_be_used_is_left_until_it_can() {
        let source = Source::default();
        source.write("one");
        let reloaded = reloaded(&source, Duration::from_millis(1));
        source.write("bad");
        // The second of these begins after the first was taken for what it is.
        source.reads(2).await;
        assert_eq!(*reloaded.now(), "of one");
        source.write("two");
        source.reads(2).await;
        assert_eq!(*reloaded.now(), "of two");
    }

    #[tokio::test]
    async fn a_hangup_has_the_files_read_at_once() {
        let source = Source::default();
        source.write("one");
        let mut reloaded = reloaded(&source, Duration::from_secs(3_600));
        source.write("two");
        let me = std::process::id().to_string();
        let sent = std::process::Command::new("kill").args(["-HUP", &me]).status().unwrap();
        assert!(sent.success());
        timeout(PATIENCE, reloaded.now.changed()).await.expect("in time").expect("it is watched");
        assert_eq!(*reloaded.now(), "of two");
    }
}
