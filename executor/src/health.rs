//! Whether an engine answers, and what it said of itself last.

use std::time::Duration;

use tokio::{sync::watch, time::Instant};

use crate::engine::Description;

/// The state of one engine, for lanes to wait on.
#[derive(Debug)]
pub(crate) struct Health {
    state: watch::Sender<State>,
}

/// Whether an engine answers.
#[derive(Debug, Clone)]
pub(crate) struct State {
    /// Answers now, and can be used.
    pub(crate) up: bool,
    /// Why not, if not.
    pub(crate) message: String,
    /// What it said last, also while it is down.
    pub(crate) description: Description,
    /// The life it is in, or was in last.
    life: Life,
}

/// One life of an engine, from coming up to going down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Life {
    /// Counts how often it came up: a report about an earlier life changes nothing.
    number: u64,
    /// Probes that were not answered before it.
    silences: u64,
    /// Of those, how many found that it answers about itself and no request.
    sticks: u64,
}

// === impl Health ===

impl Health {
    /// Of an engine that was not asked yet.
    pub(crate) fn new() -> Self {
        let state = State {
            up: false,
            message: "not reached yet".into(),
            description: Description::default(),
            life: Life::default(),
        };
        Self { state: watch::Sender::new(state) }
    }

    /// As it is now.
    pub(crate) fn now(&self) -> State {
        self.state.borrow().clone()
    }

    /// Its life, if it answers.
    pub(crate) fn is_up(&self) -> Option<Life> {
        let state = self.state.borrow();
        state.up.then_some(state.life)
    }

    /// What `read` makes of what it said last.
    pub(crate) fn said<T>(&self, read: impl FnOnce(&Description) -> T) -> T {
        read(&self.state.borrow().description)
    }

    /// Whether the engine has `model` with this digest, as it said last.
    pub(crate) fn has(&self, model: &str, digest: &str) -> bool {
        self.said(|said| said.model(model).is_some_and(|known| known.digest == digest))
    }

    /// Waits until the engine answers.
    pub(crate) async fn up(&self) -> Life {
        let mut changes = self.state.subscribe();
        loop {
            let up = changes.wait_for(|state| state.up).await;
            // The sender lives in self, so this is the first turn's.
            if let Ok(state) = up {
                return state.life;
            }
        }
    }

    /// Waits until the engine answers, at most until `deadline`.
    pub(crate) async fn up_by(&self, deadline: Instant) -> Option<Life> {
        tokio::time::timeout_at(deadline, self.up()).await.ok()
    }

    /// It answers, and is up unless it is unfit; true if that or what it says of itself is news.
    pub(crate) fn answered(&self, description: Description) -> bool {
        self.state.send_if_modified(|state| {
            let up = description.unfit.is_none();
            let news = state.up != up || state.description != description;
            if up && !state.up {
                state.life.number += 1;
            }
            state.up = up;
            state.message = description.unfit.clone().unwrap_or_default();
            state.description = description;
            news
        })
    }

    /// It does not answer; true if that is news.
    pub(crate) fn silent(&self, message: &str) -> bool {
        self.unanswered(message, false)
    }

    /// It answers about itself and no request; true if that is news.
    pub(crate) fn stuck(&self, message: &str) -> bool {
        self.unanswered(message, true)
    }

    fn unanswered(&self, message: &str, stuck: bool) -> bool {
        self.state.send_if_modified(|state| {
            let news = state.up || state.message != message;
            state.up = false;
            state.description.unfit = None;
            state.life.silences += 1;
            state.life.sticks += u64::from(stuck);
            message.clone_into(&mut state.message);
            news
        })
    }

    /// A lane saw it fail in `life`; true if that is news.
    pub(crate) fn failed(&self, life: Life, message: &str) -> bool {
        self.state.send_if_modified(|state| {
            let news = state.up && state.life.number == life.number;
            if news {
                state.up = false;
                message.clone_into(&mut state.message);
            }
            news
        })
    }

    /// Waits until it goes down, at most for `time`: the pause between two probes.
    pub(crate) async fn down_within(&self, time: Duration) {
        let mut changes = self.state.subscribe();
        let _ended = tokio::time::timeout(time, changes.wait_for(|state| !state.up)).await;
    }
}

// === impl Life ===

impl Life {
    /// Whether every probe since `earlier` was answered.
    pub(crate) fn answered_since(self, earlier: Self) -> bool {
        self.silences == earlier.silences
    }

    /// Whether it was found stuck since `earlier`.
    pub(crate) fn stuck_since(self, earlier: Self) -> bool {
        self.sticks != earlier.sticks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_late_report_does_not_take_down_the_next_life() {
        let health = Health::new();
        assert!(health.answered(Description::default()));
        let first = health.up().await;
        assert!(health.failed(first, "refused"));
        assert!(!health.failed(first, "refused"), "no news");
        assert!(health.answered(Description::default()));
        assert!(!health.failed(first, "refused"), "another life");
        assert!(health.now().up);
        let second = health.up().await;
        assert!(second.answered_since(first), "only a lane found it down");
        assert!(health.silent("refused"));
        assert!(health.answered(Description::default()));
        let third = health.up().await;
        assert!(!third.answered_since(second) && !third.stuck_since(second));
        assert!(health.stuck("no request"));
        assert!(health.answered(Description::default()));
        assert!(health.up().await.stuck_since(third));
    }

    #[tokio::test]
    async fn an_engine_that_is_unfit_is_not_up_though_it_answers() {
        let health = Health::new();
        let unfit = Description { unfit: Some("too old".into()), ..Description::default() };
        assert!(health.answered(unfit.clone()) && !health.answered(unfit));
        let state = health.now();
        assert!(!state.up && state.message == "too old" && health.is_up().is_none());
        assert!(health.silent("refused"));
        assert_eq!(health.now().description.unfit, None, "it is not known any more");
        assert!(health.answered(Description::default()) && health.is_up().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_is_bounded() {
        let health = Health::new();
        assert!(health.up_by(Instant::now() + Duration::from_secs(5)).await.is_none());
    }
}
