//! What was made of files, made anew when they change. The bytes are compared, not the times: so a file
//! may be renamed into place, or be reached by a link that is turned elsewhere.

use std::{error::Error, fmt, io, marker::PhantomData, sync::Arc, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinSet,
    time::sleep,
};

use crate::explain;

/// Nobody would notice new files.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for SIGHUP")]
pub struct Unheard(#[source] io::Error);

/// A cheap clone; the files are watched until the last one is gone.
pub(crate) struct Reloaded<T> {
    now: watch::Receiver<Arc<T>>,
    _watch: Arc<JoinSet<()>>,
}

struct Watch<M, T, R, B, E> {
    /// What the files are, as the log names them.
    what: &'static str,
    read: R,
    build: B,
    /// What `now` was made of.
    used: M,
    now: watch::Sender<Arc<T>>,
    /// What was wrong the last time; said once.
    told: Option<String>,
    fails: PhantomData<fn() -> E>,
}

// === impl Reloaded ===

impl<T: Send + Sync + 'static> Reloaded<T> {
    /// Reads and builds now, and again every `interval` and at SIGHUP. If that fails later, what was built
    /// before stays, and the log says why.
    ///
    /// # Errors
    /// If it fails now.
    pub(crate) fn new<M, R, B, E>(
        what: &'static str,
        interval: Duration,
        read: R,
        build: B,
    ) -> Result<Self, E>
    where
        M: PartialEq + Send + 'static,
        R: Fn() -> Result<M, E> + Clone + Send + 'static,
        B: Fn(&M) -> Result<T, E> + Send + 'static,
        E: Error + From<Unheard> + Send + 'static,
    {
        let used = read()?;
        let (now, current) = watch::channel(Arc::new(build(&used)?));
        let hangup = signal(SignalKind::hangup()).map_err(Unheard)?;
        let mut tasks = JoinSet::new();
        tasks.spawn(
            Watch { what, read, build, used, now, told: None, fails: PhantomData }.run(interval, hangup),
        );
        Ok(Self { now: current, _watch: Arc::new(tasks) })
    }

    /// What the files say, as of the last time that they were read.
    pub(crate) fn now(&self) -> Arc<T> {
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

impl<M, T, R, B, E> Watch<M, T, R, B, E>
where
    M: PartialEq + Send + 'static,
    R: Fn() -> Result<M, E> + Clone + Send + 'static,
    B: Fn(&M) -> Result<T, E>,
    E: Error + Send + 'static,
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

    fn take(&mut self, found: M) -> Result<(), E> {
        if found != self.used {
            self.now.send_replace(Arc::new((self.build)(&found)?));
            self.used = found;
            tracing::info!(what = self.what, "read anew");
        }
        Ok(())
    }

    fn tell(&mut self, error: &E) {
        let text = explain(error);
        if self.told.as_ref() != Some(&text) {
            tracing::error!(
                what = self.what,
                error = text,
                "what was read before stays: what is there now cannot be used"
            );
            self.told = Some(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::time::timeout;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Wrong {
        #[error("it is bad")]
        Bad,
        #[error(transparent)]
        Unheard(#[from] Unheard),
    }

    const PATIENCE: Duration = Duration::from_secs(10);

    /// A file, and how often it was read.
    #[derive(Clone, Default)]
    struct Source(Arc<Mutex<(String, usize)>>);

    impl Source {
        fn write(&self, text: &str) {
            self.0.lock().unwrap().0 = text.to_owned();
        }

        fn read(&self) -> Result<String, Wrong> {
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
            "bad" => Err(Wrong::Bad),
            text => Ok(format!("of {text}")),
        };
        Reloaded::new("a text", interval, read, build).unwrap()
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
