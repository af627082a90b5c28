//! Why a command failed, in words for a person and as an exit code.

use std::{fmt::Write as _, io, path::Path};

use caravan_proto::error::{self, Reason};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::exit::Exit;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// A file on this machine cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A file on this machine cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// No server answered.
    #[error("server {server} not reached: {reason}")]
    NotReached {
        /// Its URL.
        server: String,
        /// What happened instead of an answer.
        reason: String,
    },
    /// The server refused the call.
    #[error("{}", refusal(.0))]
    Refused(Box<Status>),
    /// The server broke the contract.
    #[error("unexpected answer of the server: {0}")]
    Unexpected(String),
    /// The configuration is wrong.
    #[error("{0}")]
    Configuration(String),
    /// A role of `caravan up` failed.
    #[error("{0}")]
    Role(String),
    /// Ctrl-C or SIGTERM; says what goes on.
    #[error("interrupted: {0}")]
    Interrupted(String),
    /// The reader of stdout went away.
    #[error("stdout was closed")]
    OutputClosed,
}

// === impl Failure ===

impl Failure {
    /// `path` cannot be read.
    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        Self::Read { path: path.display().to_string(), source }
    }

    /// `path` cannot be written.
    pub(crate) fn write(path: &Path, source: io::Error) -> Self {
        Self::Write { path: path.display().to_string(), source }
    }

    /// The exit code that goes with it.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::Read { .. } => Exit::Usage,
            Self::NotReached { .. } => Exit::NotReached,
            Self::Refused(status)
                if error::reason(status).as_deref() == Some(Reason::FileTooLarge.as_str()) =>
            {
                Exit::Rejected
            }
            Self::Refused(status) => match status.code() {
                Code::InvalidArgument => Exit::Usage,
                Code::Unauthenticated | Code::PermissionDenied | Code::ResourceExhausted => Exit::Denied,
                _ => Exit::Other,
            },
            Self::Configuration(_) => Exit::Configuration,
            Self::Interrupted(_) => Exit::Interrupted,
            Self::Write { .. } | Self::Unexpected(_) | Self::Role(_) | Self::OutputClosed => Exit::Other,
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

/// The server's message with the way out, the fields that are wrong, the stable reason, when to try again, and
/// where more is to be read.
fn refusal(status: &Status) -> String {
    let mut text = status.message().to_owned();
    for violation in status.get_details_bad_request().into_iter().flat_map(|bad| bad.field_violations) {
        // The message of a single violation is the message of the status: said once.
        if violation.description == status.message() {
            let _ = write!(text, " (field {})", violation.field);
        } else {
            let _ = write!(text, "\n  {}: {}", violation.field, violation.description);
        }
    }
    let reason = error::reason(status).unwrap_or_else(|| format!("{:?}", status.code()));
    let _ = write!(text, " [{reason}]");
    if let Some(delay) = error::retry_delay(status) {
        let _ = write!(text, "; try again in {} s", delay.as_secs_f64());
    }
    if let Some(page) = error::help(status) {
        let _ = write!(text, "\nhelp: {page}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use serde_json::Value;

    use super::*;

    #[test]
    fn a_refusal_names_reason_field_and_way_out() {
        let status = Reason::InvalidArgument.field("batch.priority", "priority must be -100 to 100");
        let failure = Failure::from(status);
        assert_eq!(
            failure.to_string(),
            "priority must be -100 to 100 (field batch.priority) [INVALID_ARGUMENT]\n\
             help: docs/errors/INVALID_ARGUMENT.md"
        );
        assert_eq!(failure.exit(), Exit::Usage);
    }

    #[test]
    fn a_refusal_for_now_says_when_to_try_again() {
        let status = Reason::Unavailable.retry_after("draining", Duration::from_millis(1_500));
        let told = Failure::from(status).to_string();
        assert_eq!(told, "draining [UNAVAILABLE]; try again in 1.5 s\nhelp: docs/errors/UNAVAILABLE.md");
    }

    /// Each page on a reason shows a status, and what becomes of it here.
    #[test]
    fn the_pages_on_errors_show_what_is_printed() {
        let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors");
        for reason in Reason::ALL {
            let page = fs::read_to_string(pages.join(format!("{}.md", reason.as_str()))).unwrap();
            let block = |language: &str| {
                let after = page.split_once(&format!("```{language}\n")).unwrap().1;
                after.split_once("\n```").unwrap().0.to_owned()
            };
            let shown: Value = serde_json::from_str(&block("json")).unwrap();
            let printed = format!("error: {}", Failure::from(status(*reason, &shown)));
            assert_eq!(printed, block("text"), "{}", reason.as_str());
        }
    }

    /// The status that a page shows, which names each kind of detail at most once.
    fn status(reason: Reason, shown: &Value) -> Status {
        let message = shown["message"].as_str().unwrap();
        let detail = |kind: &str| {
            let url = format!("type.googleapis.com/google.rpc.{kind}");
            shown["details"].as_array().unwrap().iter().find(|detail| detail["@type"] == url.as_str())
        };
        if let Some(retry) = detail("RetryInfo") {
            let seconds = retry["retryDelay"].as_str().unwrap().trim_end_matches('s').parse().unwrap();
            return reason.retry_after(message, Duration::from_secs(seconds));
        }
        match detail("BadRequest") {
            Some(bad) => reason.field(bad["fieldViolations"][0]["field"].as_str().unwrap(), message),
            None => reason.status(message),
        }
    }

    #[test]
    fn denied_over_quota_and_too_large_have_codes_of_their_own() {
        for status in [
            Status::permission_denied("no"),
            Status::unauthenticated("who"),
            Status::resource_exhausted("quota"),
        ] {
            assert_eq!(Failure::from(status).exit(), Exit::Denied);
        }
        assert_eq!(Failure::from(Reason::FileTooLarge.status("64 GiB at most")).exit(), Exit::Rejected);
        assert_eq!(Failure::from(Reason::BatchNotFound.status("no such batch")).exit(), Exit::Other);
    }
}
