//! OpenAI's error object.

use axum::{
    Json,
    http::{HeaderName, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use caravan_proto::error::{Reason, reason, retry_delay};
use serde_json::json;
use tonic::{Code, Status};

/// An error as OpenAI's clients read it.
#[derive(Debug)]
pub(super) struct Error {
    http: StatusCode,
    message: String,
    /// Caravan's reason in lower case, e.g. `batch_not_found`.
    code: Option<String>,
    /// Whole seconds.
    retry_after: Option<u64>,
}

impl Error {
    pub(super) fn no_such_batch(id: &str) -> Self {
        let id: String = id.chars().take(128).collect();
        Reason::BatchNotFound.status(format!("no batch `{id}`")).into()
    }

    pub(super) fn no_such_path() -> Self {
        Self::plain(StatusCode::NOT_FOUND, "no such path", "unknown_url")
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::plain(
            StatusCode::METHOD_NOT_ALLOWED,
            "this path does not take this method",
            "method_not_allowed",
        )
    }

    fn plain(http: StatusCode, message: &str, code: &str) -> Self {
        Self { http, message: message.to_owned(), code: Some(code.to_owned()), retry_after: None }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self {
            http: http(status.code()),
            message: status.message().to_owned(),
            code: reason(&status).map(|reason| reason.to_lowercase()),
            retry_after: retry_delay(&status).map(|delay| delay.as_secs().max(1)),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let kind = if self.http.is_server_error() { "server_error" } else { "invalid_request_error" };
        let error = json!({ "message": self.message, "type": kind, "param": null, "code": self.code });
        let retry: Option<[(HeaderName, String); 1]> =
            self.retry_after.map(|s| [(RETRY_AFTER, s.to_string())]);
        let body = Json(json!({ "error": error }));
        match retry {
            Some(retry) => (self.http, retry, body).into_response(),
            None => (self.http, body).into_response(),
        }
    }
}

fn http(code: Code) -> StatusCode {
    match code {
        Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
