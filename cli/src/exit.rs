//! What the exit code says; scripts rely on these numbers.

use caravan_proto::v1::{Batch, batch::State};
use caravan_service::exit;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done; every request was answered.
    Done = exit::OK,
    /// Something failed that has no code of its own.
    Other = exit::FAILED,
    /// The command line is wrong, or names a file that cannot be read. clap's own code too.
    Usage = exit::USAGE,
    /// The batch was rejected as a whole: nothing ran.
    Rejected = exit::REJECTED,
    /// The batch ended with failed requests.
    FailedRequests = exit::FAILED_REQUESTS,
    /// No server was reached.
    NotReached = exit::UNREACHABLE,
    /// The batch was cancelled or expired.
    EndedEarly = exit::CANCELLED,
    /// The server denies the call, or a quota is used up.
    Denied = exit::DENIED,
    /// The configuration is wrong.
    Configuration = exit::CONFIG,
    /// Ctrl-C or SIGTERM; the batch goes on.
    Interrupted = exit::INTERRUPTED,
}

// === impl Exit ===

impl Exit {
    /// The exit of an ended batch; `Other` for one that has not ended.
    pub(crate) fn of(batch: &Batch) -> Self {
        match batch.state() {
            State::Completed if batch.requests.is_none_or(|requests| requests.failed == 0) => Self::Done,
            State::Completed => Self::FailedRequests,
            State::Failed => Self::Rejected,
            State::Cancelled | State::Expired => Self::EndedEarly,
            _ => Self::Other,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use caravan_proto::v1::RequestCounts;

    use super::*;

    #[test]
    fn an_ended_batch_has_its_code() {
        let ended = |state: State, failed| {
            let requests = Some(RequestCounts { total: 9, succeeded: 9 - failed, failed });
            Exit::of(&Batch { state: state.into(), requests, ..Default::default() })
        };
        assert_eq!(ended(State::Completed, 0), Exit::Done);
        assert_eq!(ended(State::Completed, 1), Exit::FailedRequests);
        assert_eq!(ended(State::Failed, 9), Exit::Rejected);
        assert_eq!(ended(State::Cancelled, 0), Exit::EndedEarly);
        assert_eq!(ended(State::Expired, 3), Exit::EndedEarly);
    }
}
