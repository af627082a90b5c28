//! How long a client goes on without a server.

use std::time::{Duration, Instant};

use caravan_proto::error::{self, Reason};
use tonic::{Code, Status};

use crate::{failure::Failure, stderr};

/// First pause between two tries; doubles with each, up to `LONGEST_PAUSE`.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Short enough that a server that is back is found at once by a person's measure.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Waits between tries until the time without an answer passes its limit.
#[derive(Debug)]
pub(crate) struct Patience {
    server: String,
    limit: Duration,
    pause: Duration,
    since: Option<Instant>,
}

// === impl Patience ===

impl Patience {
    /// `limit`: the longest time without an answer of `server`.
    pub(crate) fn new(server: String, limit: Duration) -> Self {
        Self { server, limit, pause: FIRST_PAUSE, since: None }
    }

    /// The server answered: the time without it starts anew.
    pub(crate) fn answered(&mut self) {
        self.since = None;
        self.pause = FIRST_PAUSE;
    }

    /// Waits before the next try. Errors: `status` itself if trying again will not help,
    /// `NotReached` when the limit has passed.
    pub(crate) async fn wait(&mut self, status: Status) -> Result<(), Failure> {
        if !is_passing(&status) {
            return Err(status.into());
        }
        let since = match self.since {
            Some(since) => since,
            None => {
                stderr::note(format_args!("not yet ({}); trying again", status.message()));
                *self.since.insert(Instant::now())
            }
        };
        let left = self.limit.saturating_sub(since.elapsed());
        if left.is_zero() && status.code() == Code::ResourceExhausted {
            // The server was reached, and says what is too much.
            return Err(status.into());
        }
        if left.is_zero() {
            let reason = format!("{} (tried for {} s)", status.message(), self.limit.as_secs());
            return Err(Failure::NotReached { server: self.server.clone(), reason });
        }
        // What the server asks for is honoured, also when it is longer than our own pause.
        let pause = error::retry_delay(&status).unwrap_or(self.pause);
        tokio::time::sleep(pause.min(left)).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

/// Whether the same call may succeed later: the server drains, is not there, broke off, or has a limit of calls.
/// Caravan's own errors carry a reason; a code without one comes from the connection.
fn is_passing(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded => true,
        Code::Unknown | Code::Internal | Code::Cancelled | Code::Aborted => error::reason(status).is_none(),
        Code::ResourceExhausted => error::reason(status).as_deref() == Some(Reason::RateLimited.as_str()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn gives_up_after_its_limit_and_at_once_on_a_refusal() {
        let mut patience = Patience::new("http://here".into(), Duration::from_millis(30));
        let mut tries = 0;
        let failure = loop {
            match patience.wait(Status::unavailable("draining")).await {
                Ok(()) => tries += 1,
                Err(failure) => break failure,
            }
        };
        assert!(tries >= 1);
        assert!(matches!(failure, Failure::NotReached { .. }), "{failure}");

        let mut patience = Patience::new("http://here".into(), Duration::from_secs(60));
        let refused = patience.wait(Reason::BatchNotFound.status("no such batch")).await;
        assert!(matches!(refused, Err(Failure::Refused(_))));
    }

    #[test]
    fn a_broken_connection_passes_and_a_defect_does_not() {
        assert!(is_passing(&Status::unknown("h2 protocol error")));
        assert!(!is_passing(&Reason::Internal.status("defect")));
        assert!(!is_passing(&Status::unimplemented("no such method")));
        let limit = |reason: Reason| reason.limit("too much", "streams", 1, FIRST_PAUSE);
        assert!(is_passing(&limit(Reason::RateLimited)) && !is_passing(&limit(Reason::QuotaExceeded)));
    }
}
