//! Errors on the wire: a closed set of reasons, each with its gRPC code.

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, ErrorInfo, StatusExt as _};

/// `ErrorInfo.domain` of every error.
pub const DOMAIN: &str = "caravan";

/// Where the page of a reason is, `Help` says: relative to the root of this repository. Nobody else's
/// host is part of the contract, and a checkout has the page of the very version that runs. Who serves
/// the pages configures where, and every link that leaves the server begins with that instead.
pub const HELP: &str = "docs/errors/";

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $code:ident;)*) => {
        /// Why a call failed; stable, for programs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $variant,)* }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The text in `ErrorInfo.reason`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Where the page on it is.
            #[must_use]
            pub fn help(self) -> &'static str {
                match self { $(Self::$variant => concat!("docs/errors/", $text, ".md"),)* }
            }

            /// The gRPC code that goes with it.
            #[must_use]
            pub fn code(self) -> Code {
                match self { $(Self::$variant => Code::$code,)* }
            }
        }
    };
}

reasons! {
    /// A field is wrong, and `BadRequest` names it; or the request cannot be read.
    InvalidArgument = "INVALID_ARGUMENT", InvalidArgument;
    /// No such batch.
    BatchNotFound = "BATCH_NOT_FOUND", NotFound;
    /// The batch has not ended.
    BatchNotEnded = "BATCH_NOT_ENDED", FailedPrecondition;
    /// The batch has ended, or is about to: it cannot be paused or resumed any more.
    BatchEnded = "BATCH_ENDED", FailedPrecondition;
    /// The input of the batch to retry was deleted.
    InputDeleted = "INPUT_DELETED", FailedPrecondition;
    /// The batch has no request that a retry would take.
    NothingToRetry = "NOTHING_TO_RETRY", FailedPrecondition;
    /// The same `request_id` came with another batch before.
    RequestIdReused = "REQUEST_ID_REUSED", AlreadyExists;
    /// No such file.
    FileNotFound = "FILE_NOT_FOUND", NotFound;
    /// The file's upload is not complete.
    FileNotReady = "FILE_NOT_READY", FailedPrecondition;
    /// A batch that has not ended reads the file.
    FileInUse = "FILE_IN_USE", FailedPrecondition;
    /// The file is larger than the server takes; metadata `limit` and `value` as with RATE_LIMITED.
    FileTooLarge = "FILE_TOO_LARGE", InvalidArgument;
    /// No such upload.
    UploadNotFound = "UPLOAD_NOT_FOUND", NotFound;
    /// Upload messages came in a wrong order.
    UploadOutOfOrder = "UPLOAD_OUT_OF_ORDER", InvalidArgument;
    /// No such engine.
    EngineNotFound = "ENGINE_NOT_FOUND", NotFound;
    /// No engine was selected that can do it.
    EngineUnable = "ENGINE_UNABLE", FailedPrecondition;
    /// The upload is complete already.
    UploadComplete = "UPLOAD_COMPLETE", AlreadyExists;
    /// The chunk does not start where the upload stands; metadata `expected_offset`.
    OffsetMismatch = "OFFSET_MISMATCH", OutOfRange;
    /// The bytes do not have the SHA-256 that the client named.
    ChecksumMismatch = "CHECKSUM_MISMATCH", DataLoss;
    /// The offset is behind the file's end.
    InvalidOffset = "INVALID_OFFSET", OutOfRange;
    /// The resume token is not of this watch.
    InvalidResumeToken = "INVALID_RESUME_TOKEN", InvalidArgument;
    /// The cursor is not of this stream.
    InvalidCursor = "INVALID_CURSOR", InvalidArgument;
    /// What is stored of it is damaged or gone; metadata `object` names it.
    ObjectDamaged = "OBJECT_DAMAGED", DataLoss;
    /// There is no space for it: nothing that was acknowledged is lost, and work goes on once there is.
    StorageFull = "STORAGE_FULL", ResourceExhausted;
    /// The planner may not write to its object store.
    StorageDenied = "STORAGE_DENIED", FailedPrecondition;
    /// The tenant does more at once, or more a second, than it may; metadata `limit` names what, `value` says how
    /// much is allowed, `RetryInfo` when to try again.
    RateLimited = "RATE_LIMITED", ResourceExhausted;
    /// The tenant has as much under way as it may; metadata and `RetryInfo` as with RATE_LIMITED.
    QuotaExceeded = "QUOTA_EXCEEDED", ResourceExhausted;
    /// The call says not who makes it, or what it says does not hold; metadata `why`.
    Unauthenticated = "UNAUTHENTICATED", Unauthenticated;
    /// Whoever makes the call may not; metadata `role` names the one that is needed, or several of which one is.
    PermissionDenied = "PERMISSION_DENIED", PermissionDenied;
    /// No such key.
    KeyNotFound = "KEY_NOT_FOUND", NotFound;
    /// The server is going away or not there yet; `RetryInfo` says when to try again.
    Unavailable = "UNAVAILABLE", Unavailable;
    /// There is no such method, or the request is compressed in a way that is not read here.
    Unimplemented = "UNIMPLEMENTED", Unimplemented;
    /// The client sent nothing for longer than it may in the middle of a call. What an upload sent before is
    /// kept: ask QueryUpload, then resume.
    StreamSilent = "STREAM_SILENT", DeadlineExceeded;
    /// The call took longer than it may.
    DeadlineExceeded = "DEADLINE_EXCEEDED", DeadlineExceeded;
    /// A defect of the server; its log has the rest.
    Internal = "INTERNAL", Internal;
}

impl Reason {
    /// The status of this reason.
    #[must_use]
    pub fn status(self, message: impl Into<String>) -> Status {
        self.with(message, [], ErrorDetails::new())
    }

    /// The same, with the field that is wrong. `message` says what is wrong and the way out.
    #[must_use]
    pub fn field(self, field: impl Into<String>, message: impl Into<String>) -> Status {
        let message = message.into();
        let mut details = ErrorDetails::new();
        details.add_bad_request_violation(field, message.clone());
        self.with(message, [], details)
    }

    /// The same, with a time after which to try again.
    #[must_use]
    pub fn retry_after(self, message: impl Into<String>, after: Duration) -> Status {
        let mut details = ErrorDetails::new();
        details.set_retry_info(Some(after));
        self.with(message, [], details)
    }

    /// The same, with facts for programs in `ErrorInfo.metadata`.
    #[must_use]
    pub fn metadata<const N: usize>(
        self,
        message: impl Into<String>,
        metadata: [(&'static str, String); N],
    ) -> Status {
        self.with(message, metadata, ErrorDetails::new())
    }

    /// The same, with the limit that was reached, how much it allows, and when to try again.
    #[must_use]
    pub fn limit(
        self,
        message: impl Into<String>,
        limit: &'static str,
        value: u64,
        after: Duration,
    ) -> Status {
        let mut details = ErrorDetails::new();
        details.set_retry_info(Some(after));
        self.with(message, bound(limit, value), details)
    }

    /// The same, with the field that is beyond a limit, which trying again does not mend.
    #[must_use]
    pub fn beyond(
        self,
        field: impl Into<String>,
        message: impl Into<String>,
        limit: &'static str,
        value: u64,
    ) -> Status {
        let message = message.into();
        let mut details = ErrorDetails::new();
        details.add_bad_request_violation(field, message.clone());
        self.with(message, bound(limit, value), details)
    }

    fn with<const N: usize>(
        self,
        message: impl Into<String>,
        metadata: [(&'static str, String); N],
        mut details: ErrorDetails,
    ) -> Status {
        let metadata: HashMap<String, String> =
            metadata.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        details.set_error_info(self.as_str(), DOMAIN, metadata);
        details.add_help_link(self.as_str(), self.help());
        Status::with_error_details(self.code(), message, details)
    }
}

fn bound(limit: &'static str, value: u64) -> [(&'static str, String); 2] {
    [("limit", limit.to_owned()), ("value", value.to_string())]
}

/// `ErrorInfo` of a status, if it is one of Caravan's.
#[must_use]
pub fn info(status: &Status) -> Option<ErrorInfo> {
    status.get_details_error_info().filter(|info| info.domain == DOMAIN)
}

/// `ErrorInfo.reason` of a status, if it is one of Caravan's.
#[must_use]
pub fn reason(status: &Status) -> Option<String> {
    info(status).map(|info| info.reason)
}

/// How long the server asks to wait before the next try.
#[must_use]
pub fn retry_delay(status: &Status) -> Option<Duration> {
    status.get_details_retry_info().and_then(|info| info.retry_delay)
}

/// Where a status says that more is to be read.
#[must_use]
pub fn help(status: &Status) -> Option<String> {
    status.get_details_help().and_then(|help| help.links.into_iter().next()).map(|link| link.url)
}

/// Lets the link of `status` to a page begin with `base` instead of [`HELP`]. None if it has no such link.
#[must_use]
pub fn with_help_at(status: &Status, base: &str) -> Option<Status> {
    let mut details = status.get_error_details();
    let mut links = details.help()?.links.clone();
    let link = links.iter_mut().find(|link| link.url.starts_with(HELP))?;
    link.url.replace_range(..HELP.len(), base);
    details.set_help(links);
    Some(Status::with_error_details(status.code(), status.message(), details))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_carries_its_reason_field_and_delay() {
        let status = Reason::InvalidArgument.field("batch.priority", "priority must be -100 to 100");
        assert_eq!(reason(&status).as_deref(), Some("INVALID_ARGUMENT"));
        let bad = status.get_details_bad_request().expect("a BadRequest");
        assert_eq!(bad.field_violations[0].field, "batch.priority");

        let status = Reason::Unavailable.retry_after("draining", Duration::from_secs(1));
        assert_eq!(retry_delay(&status), Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_status_links_to_the_page_of_its_reason() {
        let status = Reason::OffsetMismatch.metadata("no", [("expected_offset", "7".to_owned())]);
        assert_eq!(help(&status).as_deref(), Some("docs/errors/OFFSET_MISMATCH.md"));
        assert!(Reason::ALL.iter().all(|reason| reason.help().starts_with(HELP)));

        let moved = with_help_at(&status, "https://wiki.example/caravan/").expect("it has a link");
        assert_eq!(help(&moved).as_deref(), Some("https://wiki.example/caravan/OFFSET_MISMATCH.md"));
        assert_eq!((moved.code(), moved.message()), (status.code(), status.message()));
        let metadata = moved.get_details_error_info().expect("an ErrorInfo").metadata;
        assert_eq!(metadata["expected_offset"], "7");
        assert!(with_help_at(&moved, "elsewhere/").is_none());
        assert!(with_help_at(&Status::internal("no details"), "elsewhere/").is_none());
    }
}
