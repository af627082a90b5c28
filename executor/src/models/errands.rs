use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use caravan_proto::v1::{EnsureModelErrand, ModelProgress, ensure_model_response::State};
use tokio::{sync::Notify, time::Instant};

/// Jobs that may wait for one engine: more than anybody means at once.
const MOST_WAITING: usize = 16;
/// Errands that may wait for one job: more than anybody means at once.
const MOST_ASKING: usize = 64;
/// Between two reports of the same step.
const REPORT_INTERVAL: Duration = Duration::from_millis(250);

/// The books between planners, which send errands, and engines, which do one job at a time. Errands
/// that want the same are one job. Memory: so many jobs an engine, and the latest report of each errand.
///
/// Jobs outlive the stream they came on; who asked is forgotten with it.
#[derive(Debug)]
pub(crate) struct Errands {
    books: Mutex<Books>,
    /// There is something to report.
    reports: Notify,
}

#[derive(Debug, Default)]
struct Books {
    engines: HashMap<Arc<str>, Line>,
    /// What planners are to hear, by errand: the latest only.
    reports: BTreeMap<String, ModelProgress>,
}

/// What waits for one engine; the first is at work.
#[derive(Debug, Default)]
struct Line {
    jobs: VecDeque<Job>,
    came: Arc<Notify>,
}

/// What an engine is to get. The errands that want it may come and go.
#[derive(Debug)]
struct Job {
    order: Order,
    errands: Vec<String>,
    /// As far as it is; `errand` is empty.
    progress: ModelProgress,
    reported: Instant,
}

/// A model, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    /// Its name.
    pub(crate) model: String,
    /// The file that it is made of; none: the engine pulls it.
    pub(crate) file: Option<FileOrder>,
    /// Do so even where the name stands for another model.
    pub(crate) replace: bool,
}

/// A file of the planner's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileOrder {
    /// `files/file_…`.
    pub(crate) name: String,
    /// 64 hex digits.
    pub(crate) sha256: String,
    /// Bytes of the whole.
    pub(crate) bytes: u64,
    /// Digests that imports of it gave before.
    pub(crate) digests: Vec<String>,
}

// === impl Errands ===

impl Errands {
    /// The books of these engines.
    pub(crate) fn new(engines: impl Iterator<Item = Arc<str>>) -> Self {
        let engines = engines.map(|engine| (engine, Line::default())).collect();
        Self { books: Mutex::new(Books { engines, ..Books::default() }), reports: Notify::new() }
    }

    /// Takes an errand. The same again changes nothing, but is answered anew.
    pub(crate) fn accept(&self, errand: EnsureModelErrand) {
        let mut books = self.books();
        if let Err(why) = books.accept(&errand) {
            let state = State::Failed.into();
            let failed =
                ModelProgress { errand: errand.errand.clone(), state, message: why, ..Default::default() };
            books.reports.insert(errand.errand, failed);
        }
        drop(books);
        self.reports.notify_one();
    }

    /// The next job of an engine; it stays the first until [`Errands::end`].
    pub(crate) async fn next(&self, engine: &Arc<str>) -> Order {
        loop {
            let came = {
                let mut books = self.books();
                let line = books.engines.entry(Arc::clone(engine)).or_default();
                if let Some(job) = line.jobs.front() {
                    return job.order.clone();
                }
                Arc::clone(&line.came)
            };
            came.notified().await;
        }
    }

    /// How far the first job of an engine is.
    pub(crate) fn report(&self, engine: &Arc<str>, progress: ModelProgress) {
        let mut books = self.books();
        let Some(job) = books.engines.get_mut(engine).and_then(|line| line.jobs.front_mut()) else { return };
        let is_news = (job.progress.state, &job.progress.message) != (progress.state, &progress.message);
        job.progress = progress;
        if is_news || job.reported.elapsed() >= REPORT_INTERVAL {
            job.reported = Instant::now();
            let reports = job.reports();
            books.reports.extend(reports);
            drop(books);
            self.reports.notify_one();
        }
    }

    /// The first job of an engine has ended: with the model's digest, or why not.
    pub(crate) fn end(&self, engine: &Arc<str>, end: Result<String, String>) {
        let mut books = self.books();
        let Some(mut job) = books.engines.get_mut(engine).and_then(|line| line.jobs.pop_front()) else {
            return;
        };
        (job.progress.state, job.progress.message, job.progress.digest) = match end {
            Ok(digest) => (State::Ready.into(), String::new(), digest),
            Err(why) => (State::Failed.into(), why, String::new()),
        };
        books.reports.extend(job.reports());
        drop(books);
        self.reports.notify_one();
    }

    /// The stream broke: nobody who asked on it hears any more. The jobs go on.
    pub(crate) fn disconnected(&self) {
        let mut books = self.books();
        books.reports.clear();
        books.engines.values_mut().flat_map(|line| &mut line.jobs).for_each(|job| job.errands.clear());
    }

    /// Waits until there may be something to report.
    pub(crate) async fn to_report(&self) {
        self.reports.notified().await;
    }

    /// Whether there is something to report.
    pub(crate) fn has_report(&self) -> bool {
        !self.books().reports.is_empty()
    }

    /// What the planner is to hear next.
    pub(crate) fn next_report(&self) -> Option<ModelProgress> {
        self.books().reports.pop_first().map(|(_, report)| report)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Books ===

impl Books {
    fn accept(&mut self, errand: &EnsureModelErrand) -> Result<(), String> {
        let Some(line) = self.engines.get_mut(errand.engine.as_str()) else {
            return Err(format!("there is no engine {} here", errand.engine));
        };
        let order = Order::of(errand);
        if let Some(job) = line.jobs.iter_mut().find(|job| job.order == order) {
            if !job.errands.contains(&errand.errand) {
                if job.errands.len() == MOST_ASKING {
                    return Err(format!("{MOST_ASKING} others ask for the same already"));
                }
                job.errands.push(errand.errand.clone());
            }
            self.reports.extend(job.reports());
            return Ok(());
        }
        if line.jobs.len() > MOST_WAITING {
            return Err(format!("{MOST_WAITING} models wait for this engine already: ask again later"));
        }
        let progress = ModelProgress { state: State::Waiting.into(), ..Default::default() };
        let errands = vec![errand.errand.clone()];
        line.jobs.push_back(Job { order, errands, progress, reported: Instant::now() });
        line.came.notify_one();
        Ok(())
    }
}

// === impl Job ===

impl Job {
    fn reports(&self) -> Vec<(String, ModelProgress)> {
        let each = self.errands.iter().map(|errand| {
            (errand.clone(), ModelProgress { errand: errand.clone(), ..self.progress.clone() })
        });
        each.collect()
    }
}

// === impl Order ===

impl Order {
    fn of(errand: &EnsureModelErrand) -> Self {
        let file = (!errand.file.is_empty()).then(|| FileOrder {
            name: errand.file.clone(),
            sha256: errand.sha256.to_ascii_lowercase(),
            bytes: errand.size_bytes.unsigned_abs(),
            digests: errand.digests.clone(),
        });
        Self { model: errand.model.clone(), file, replace: errand.replace }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errand(id: &str, model: &str) -> EnsureModelErrand {
        EnsureModelErrand { errand: id.into(), engine: "e".into(), model: model.into(), ..Default::default() }
    }

    fn books() -> (Errands, Arc<str>) {
        let engine: Arc<str> = "e".into();
        (Errands::new([Arc::clone(&engine)].into_iter()), engine)
    }

    fn reports(errands: &Errands) -> Vec<(String, State, String)> {
        let next = || errands.next_report().map(|r| (r.errand.clone(), r.state(), r.message));
        std::iter::from_fn(next).collect()
    }

    fn told(id: &str, state: State, message: &str) -> (String, State, String) {
        (id.to_owned(), state, message.to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn errands_that_want_the_same_are_one_job() {
        let (errands, engine) = books();
        for id in ["1", "2", "1"] {
            errands.accept(errand(id, "m"));
        }
        errands.accept(errand("3", "n"));
        assert_eq!(errands.next(&engine).await.model, "m");
        assert_eq!(errands.next(&engine).await.model, "m", "one at a time");
        reports(&errands);
        errands.end(&engine, Ok("d".into()));
        assert_eq!(reports(&errands), [told("1", State::Ready, ""), told("2", State::Ready, "")]);
        assert_eq!(errands.next(&engine).await.model, "n");
        errands.end(&engine, Err("why".into()));
        assert_eq!(reports(&errands), [told("3", State::Failed, "why")]);
        errands.accept(errand("4", "m"));
        assert_eq!(errands.next(&engine).await.model, "m", "what has ended is done again if it is asked for");
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_latest_is_reported_and_not_too_often() {
        let (errands, engine) = books();
        errands.accept(errand("1", "m"));
        let at = |message: &str| ModelProgress {
            state: State::Transferring.into(),
            message: message.into(),
            ..Default::default()
        };
        errands.report(&engine, at("a"));
        errands.report(&engine, at("b"));
        assert_eq!(reports(&errands), [told("1", State::Transferring, "b")]);
        errands.report(&engine, at("b"));
        assert_eq!(reports(&errands), []);
        tokio::time::advance(REPORT_INTERVAL).await;
        errands.report(&engine, at("b"));
        assert_eq!(reports(&errands).len(), 1);
    }

    #[tokio::test]
    async fn a_job_goes_on_when_its_planner_is_gone() {
        let (errands, engine) = books();
        errands.accept(errand("1", "m"));
        errands.disconnected();
        assert_eq!(errands.next(&engine).await.model, "m");
        errands.accept(errand("2", "m"));
        reports(&errands);
        errands.end(&engine, Ok("d".into()));
        assert_eq!(reports(&errands), [told("2", State::Ready, "")]);
    }

    #[test]
    fn what_cannot_be_taken_is_refused() {
        let (errands, _engine) = books();
        errands.accept(EnsureModelErrand { engine: "other".into(), ..errand("1", "m") });
        assert_eq!(reports(&errands), [told("1", State::Failed, "there is no engine other here")]);
        for number in 0..=MOST_WAITING {
            errands.accept(errand(&format!("{number:02}"), &format!("m{number}")));
        }
        assert_eq!(reports(&errands), []);
        errands.accept(errand("late", "late"));
        assert_eq!(reports(&errands)[0].1, State::Failed);
    }
}
