use std::{collections::VecDeque, time::Duration};

use caravan_proto::{
    delta,
    error::Reason,
    name::BatchId,
    resume::ResumeToken,
    v1::{self, batch::State, watch_batch_response::Event},
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{
    latest::Look,
    pace::{Pace, SILENCE},
    view,
};
use crate::{clock, store::Micros};

/// A speed is that of half a second at least.
const SHORTEST: Duration = Duration::from_millis(500);
/// A stream on which nothing happens says so this often: below the idle limits of proxies.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Speed is that of the last so many seconds.
const WINDOW: Duration = Duration::from_secs(15);

/// One watch of one batch. Holds the last state sent and a speed sample a publication.
pub(super) struct Watch {
    pub(super) id: BatchId,
    pub(super) latest: watch::Receiver<Option<Look>>,
    pub(super) sender: mpsc::Sender<Result<v1::WatchBatchResponse, Status>>,
    pub(super) stop: CancellationToken,
}

/// The revision in a resume token of this batch, which has come as far as `latest`; none without a token.
///
/// # Errors
/// INVALID_RESUME_TOKEN if no watch of this batch sent it.
pub fn revision(token: &str, id: BatchId, latest: i64) -> Result<Option<i64>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let token =
        token.parse().ok().filter(|token: &ResumeToken| token.batch == id && token.revision <= latest);
    let wrong = "resume_token must be the last one that a watch of this batch sent";
    token
        .map(|token| Some(token.revision))
        .ok_or_else(|| Reason::InvalidResumeToken.field("resume_token", wrong))
}

/// What a client has that resumes at this very revision. Lanes and speed change without a new
/// one: they stand at what no batch has, so that the client is told of both.
fn unknown(now: v1::Batch) -> v1::Batch {
    let never = v1::Progress { requests_per_second: -1.0, ..v1::Progress::default() };
    v1::Batch { chunks: None, progress: Some(never), ..now }
}

// === impl Watch ===

impl Watch {
    /// Sends states until the batch ends, the client leaves, or the planner stops.
    pub(super) async fn run(mut self, resumed_at: Option<i64>) {
        if let Err(status) = self.publish(resumed_at).await {
            // A client that reads nothing finds the stream cut off instead.
            let _gone = self.sender.send_timeout(Err(status), Duration::from_secs(1)).await;
        }
    }

    async fn publish(&mut self, resumed_at: Option<i64>) -> Result<(), Status> {
        let mut last: Option<v1::Batch> = None;
        let mut speed = Speed::default();
        let mut pace = Pace::default();
        loop {
            let (mut now, time) = self.look()?;
            let ended = view::ended(now.state());
            now.progress = speed.progress(&now, time);
            let is_new = last.as_ref().is_none_or(|last| last.revision != now.revision);
            let due = last.is_none() || ended || changed(last.as_ref(), &now) || pace.wait(is_new).is_zero();
            if due {
                let event = self.event(last.as_ref(), &now, resumed_at, pace.silence() >= HEARTBEAT);
                if let Some(event) = event.or_else(|| ended.then_some(Event::Heartbeat(v1::Heartbeat {}))) {
                    let resume_token = ResumeToken { batch: self.id, revision: now.revision }.to_string();
                    let response =
                        v1::WatchBatchResponse { resume_token, event: Some(event), r#final: ended };
                    tokio::select! {
                        sent = self.sender.send(Ok(response)) => if sent.is_err() { return Ok(()) },
                        () = self.stop.cancelled() => return Err(leaving()),
                    }
                    pace.published(is_new);
                    let resumed = last.is_none() && resumed_at == Some(now.revision);
                    last = Some(if resumed { unknown(now) } else { now });
                }
            }
            if ended {
                return Ok(());
            }
            // What is not new yet may be so at any time; what is waits for its turn.
            let limit = Some(pace.wait(is_new && !due)).filter(|limit| !limit.is_zero()).unwrap_or(SILENCE);
            if !self.wait(limit).await? {
                return Ok(());
            }
        }
    }

    /// The batch, and the database's time.
    fn look(&mut self) -> Result<(v1::Batch, Micros), Status> {
        let look = self.latest.borrow_and_update().clone();
        let gone = || Reason::BatchNotFound.status(format!("there is no {} any more", self.id.name()));
        look.map(|look| (view::batch((*look.batch).clone()), look.now())).ok_or_else(gone)
    }

    fn event(
        &self,
        last: Option<&v1::Batch>,
        now: &v1::Batch,
        resumed_at: Option<i64>,
        silent: bool,
    ) -> Option<Event> {
        match last {
            None if resumed_at == Some(now.revision) => Some(Event::Heartbeat(v1::Heartbeat {})),
            None => Some(Event::Snapshot(now.clone())),
            Some(last) => match delta::between(last, now) {
                Some(delta) => Some(Event::Delta(delta)),
                None => silent.then_some(Event::Heartbeat(v1::Heartbeat {})),
            },
        }
    }

    /// Waits for a change, at most so long; false if the client has left.
    async fn wait(&mut self, limit: Duration) -> Result<bool, Status> {
        tokio::select! {
            _changed_or_due = timeout(limit, self.latest.changed()) => Ok(true),
            () = self.sender.closed() => Ok(false),
            () = self.stop.cancelled() => Err(leaving()),
        }
    }
}

fn leaving() -> Status {
    let message = "the planner goes away: resume with the last token";
    Reason::Unavailable.retry_after(message, Duration::from_secs(1))
}

/// What is left by the plan, before any result tells.
fn planned(batch: &v1::Batch, now: Micros) -> Option<v1::Progress> {
    let estimated = Duration::try_from(batch.plan.as_ref()?.estimated_duration?).ok()?;
    let since = now.saturating_sub(clock::micros(batch.start_time?));
    let running = Duration::from_micros(u64::try_from(since).unwrap_or_default());
    let left = estimated.checked_sub(running)?;
    Some(v1::Progress { remaining: prost_types::Duration::try_from(left).ok(), ..v1::Progress::default() })
}

fn changed(last: Option<&v1::Batch>, now: &v1::Batch) -> bool {
    last.is_some_and(|last| last.state != now.state)
}

/// What was final when, over the last seconds.
#[derive(Default)]
struct Speed {
    samples: VecDeque<(Instant, i64, i64)>,
}

// === impl Speed ===

impl Speed {
    /// Only what runs has a speed, and an end in sight.
    fn progress(&mut self, batch: &v1::Batch, now: Micros) -> Option<v1::Progress> {
        let sampled = self.sample(batch);
        sampled.or_else(|| planned(batch, now)).filter(|_| batch.state() == State::Running)
    }

    fn sample(&mut self, batch: &v1::Batch) -> Option<v1::Progress> {
        let (requests, usage) = (batch.requests?, batch.usage.unwrap_or_default());
        let (done, tokens) =
            (requests.succeeded + requests.failed, usage.prompt_tokens + usage.completion_tokens);
        let now = Instant::now();
        if self.samples.back().is_none_or(|last| (last.1, last.2) != (done, tokens)) {
            self.samples.push_back((now, done, tokens));
        }
        while self.samples.len() > 2 && now - self.samples[0].0 > WINDOW {
            self.samples.pop_front();
        }
        let (since, done_then, tokens_then) = *self.samples.front()?;
        let seconds = (now - since).as_secs_f64();
        if seconds < SHORTEST.as_secs_f64() || done == done_then {
            return None;
        }
        let requests_per_second = per_second(done - done_then, seconds);
        let left = per_second(requests.total - done, requests_per_second);
        Some(v1::Progress {
            requests_per_second,
            tokens_per_second: per_second(tokens - tokens_then, seconds),
            remaining: Duration::try_from_secs_f64(left)
                .ok()
                .and_then(|left| prost_types::Duration::try_from(left).ok()),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a speed for people")]
fn per_second(count: i64, seconds: f64) -> f64 {
    count as f64 / seconds
}

#[cfg(test)]
mod tests {
    use caravan_proto::v1::{Batch, Plan, RequestCounts};
    use tokio::time::advance;

    use super::*;

    fn batch(state: State, succeeded: i64) -> Batch {
        Batch {
            state: state.into(),
            requests: Some(RequestCounts { total: 30, succeeded, failed: 0 }),
            start_time: Some(clock::timestamp(0)),
            plan: Some(Plan {
                estimated_duration: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
                ..Plan::default()
            }),
            ..Batch::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_is_told_of_a_batch_that_runs_and_of_no_other() {
        let mut speed = Speed::default();
        let mut left = |state, succeeded| {
            let progress = speed.progress(&batch(state, succeeded), 20_000_000);
            progress.and_then(|progress| progress.remaining).map(|left| left.seconds)
        };
        assert_eq!(left(State::Queued, 0), None);
        assert_eq!(left(State::Running, 0), Some(40), "by the plan");
        advance(Duration::from_secs(1)).await;
        assert_eq!(left(State::Running, 10), Some(2), "by the speed");
        for state in [State::Queued, State::Paused, State::Finalizing, State::Cancelling, State::Expired] {
            assert_eq!(left(state, 10), None, "{state:?}");
        }
    }
}
