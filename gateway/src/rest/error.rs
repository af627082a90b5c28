//! OpenAI's error object.

use std::error::Error as StdError;

use axum::{
    Json,
    http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use caravan_proto::error::{Reason, info, retry_delay};
use caravan_service::connection::Silent;
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Characters of what a client sent that an error says again, at most.
const QUOTED: usize = 128;

/// An error as OpenAI's clients read it.
#[derive(Debug)]
pub(super) struct Error {
    http: StatusCode,
    message: String,
    /// The field, query parameter, form part or header that is wrong.
    param: Option<String>,
    /// A word of OpenAI's, or Caravan's reason in lower case, e.g. `batch_not_found`.
    code: String,
    /// The contract's reason, and the facts that go with it.
    own: Option<Box<Value>>,
    /// What else the answer's head says.
    header: Option<Box<(HeaderName, HeaderValue)>>,
}

// === impl Error ===

impl Error {
    /// One that `param` is to blame for.
    pub(super) fn of(code: &str, param: &str, message: impl Into<String>) -> Self {
        Self { param: Some(param.to_owned()), ..Self::plain(StatusCode::BAD_REQUEST, code, message) }
    }

    /// A value that may not be.
    pub(super) fn invalid(param: &str, message: impl Into<String>) -> Self {
        Self::of("invalid_value", param, message)
    }

    pub(super) fn missing(param: &str) -> Self {
        Self::of("missing_required_parameter", param, format!("{param} must be given"))
    }

    pub(super) fn unknown(param: &str) -> Self {
        let param = quoted(param);
        Self::of("unknown_parameter", &param, format!("{param} is not a parameter that is known here"))
    }

    pub(super) fn no_such_batch(id: &str) -> Self {
        Reason::BatchNotFound.status(format!("there is no batch `{}`", quoted(id))).into()
    }

    pub(super) fn no_such_file(id: &str) -> Self {
        Reason::FileNotFound.status(format!("there is no file `{}`", quoted(id))).into()
    }

    pub(super) fn no_such_model(id: &str) -> Self {
        let message = format!("no engine that answers has the model `{}`", quoted(id));
        let error = Self::plain(StatusCode::NOT_FOUND, "model_not_found", message);
        Self { param: Some("model".to_owned()), ..error }
    }

    pub(super) fn no_such_path(method: &Method, uri: &Uri) -> Self {
        let message = format!(
            "Invalid URL ({} {}): this server has /v1/files, /v1/batches and /v1/models; requests to models run as \
             lines of a batch",
            quoted(method.as_str()),
            quoted(uri.path())
        );
        Self::plain(StatusCode::NOT_FOUND, "unknown_url", message)
    }

    pub(super) fn method_not_allowed() -> Self {
        let message = "this path does not take this method: the header Allow names those that it takes";
        Self::plain(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    }

    /// A name that somebody else may have given this host.
    pub(super) fn misdirected(host: &str) -> Self {
        let message = format!(
            "this port serves its own host, to anybody: ask it as localhost or by its address, not as `{}`; a page's \
             host can be named in cors_origins",
            quoted(host)
        );
        let error = Self::plain(StatusCode::MISDIRECTED_REQUEST, "host_not_allowed", message);
        Self { param: Some("Host".to_owned()), ..error }
    }

    /// A page that another server has sent to the browser.
    pub(super) fn foreign_page() -> Self {
        let message = "pages of this origin may change nothing here: name it in cors_origins";
        let error = Self::plain(StatusCode::FORBIDDEN, "origin_not_allowed", message);
        Self { param: Some("Origin".to_owned()), ..error }
    }

    pub(super) fn content_type(wanted: &str) -> Self {
        let message = format!("the body must be sent with `Content-Type: {wanted}`");
        let error = Self::plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_type", message);
        Self { param: Some("Content-Type".to_owned()), ..error }
    }

    /// A body that may have `most` bytes.
    pub(super) fn too_large(most: usize) -> Self {
        let message = format!("the body may have {most} bytes");
        let own = json!({"metadata": {"limit": "body_bytes", "value": most.to_string()}});
        let error = Self::plain(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message);
        Self { own: Some(Box::new(own)), ..error }
    }

    /// Bodies are taken as they are.
    pub(super) fn content_encoding(given: &str) -> Self {
        let message = format!(
            "the body is sent with `Content-Encoding: {}`, but bodies are not unpacked here: send it as it is",
            quoted(given)
        );
        let error = Self::plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_encoding", message);
        let header = Some(Box::new((header::ACCEPT_ENCODING, HeaderValue::from_static("identity"))));
        Self { param: Some("Content-Encoding".to_owned()), header, ..error }
    }

    /// The client sends nothing any more, or its connection is gone.
    pub(super) fn cut_off(message: &str) -> Self {
        Self::plain(StatusCode::REQUEST_TIMEOUT, "request_incomplete", message)
    }

    /// The body broke off, or was broken off because it came too slowly.
    pub(super) fn broken(error: &(dyn StdError + 'static)) -> Self {
        let mut causes = std::iter::successors(Some(error), |&error| error.source());
        match causes.find_map(|cause| cause.downcast_ref::<Silent>()) {
            Some(silent) => Self::cut_off(&silent.to_string()),
            None => Self::cut_off("the body ended too early"),
        }
    }

    /// None of `size` bytes are in the range.
    pub(super) fn no_such_range(size: u64) -> Self {
        let message = format!("Range must be one of bytes, `bytes=FIRST-LAST`, within the file's {size}");
        let error = Self::plain(StatusCode::RANGE_NOT_SATISFIABLE, "invalid_range", message);
        let whole = HeaderValue::try_from(format!("bytes */{size}")).ok();
        let header = whole.map(|whole| Box::new((header::CONTENT_RANGE, whole)));
        Self { param: Some("Range".to_owned()), header, ..error }
    }

    fn plain(http: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self { http, message: message.into(), param: None, code: code.to_owned(), own: None, header: None }
    }

    /// OpenAI's word for the kind of error.
    fn kind(&self) -> &'static str {
        match self.http {
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            http if http.is_server_error() => "server_error",
            _ => "invalid_request_error",
        }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let told = info(&status);
        let field = status.get_details_bad_request().and_then(|bad| bad.field_violations.into_iter().next());
        // Whole seconds, and none too early.
        let retry = retry_delay(&status).map(|delay| delay.as_millis().div_ceil(1_000).max(1));
        let retry = retry.and_then(|seconds| HeaderValue::try_from(seconds.to_string()).ok());
        let code = match told.as_ref().map(|info| &*info.reason) {
            Some("INVALID_ARGUMENT") => "invalid_value".to_owned(),
            Some("UNAUTHENTICATED") => "invalid_api_key".to_owned(),
            Some(reason) => reason.to_lowercase(),
            None => "server_error".to_owned(),
        };
        let message = match told {
            Some(_) => status.message(),
            // What transport or a library says of itself is for the log.
            None => "the planner could not answer",
        };
        Self {
            http: http(&status, &code),
            message: message.to_owned(),
            param: field.map(|violation| param(&violation.field)),
            code,
            own: told.map(|info| Box::new(json!({"reason": info.reason, "metadata": info.metadata}))),
            header: retry.map(|seconds| Box::new((header::RETRY_AFTER, seconds))),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut error = json!({
            "message": self.message,
            "type": self.kind(),
            "param": self.param,
            "code": self.code,
        });
        if let Some(own) = self.own {
            error["x_caravan"] = *own;
        }
        let mut response = (self.http, Json(json!({ "error": error }))).into_response();
        if let Some((name, value)) = self.header.map(|header| *header) {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// What a client sent, as an error may say it again: short, and nothing in it moves the text around it.
pub(super) fn quoted(text: &str) -> String {
    text.chars().take(QUOTED).flat_map(char::escape_debug).collect()
}

/// The facade's name for a field of the contract.
fn param(field: &str) -> String {
    match field.strip_prefix("batch.").unwrap_or(field) {
        "input_file" => "input_file_id".to_owned(),
        "page_token" => "after".to_owned(),
        "page_size" => "limit".to_owned(),
        "request_id" => "Idempotency-Key".to_owned(),
        "resume_token" => "Last-Event-ID".to_owned(),
        "start.filename" | "chunk.data" => "file".to_owned(),
        whole @ ("endpoint" | "completion_window" | "metadata") => whole.to_owned(),
        own if own.len() < field.len() => format!("x_caravan.{own}"),
        _ => field.to_owned(),
    }
}

fn http(status: &Status, code: &str) -> StatusCode {
    match (status.code(), code) {
        (_, "file_too_large") => StatusCode::PAYLOAD_TOO_LARGE,
        (_, "file_in_use" | "file_not_ready" | "batch_ended" | "batch_not_ended") => StatusCode::CONFLICT,
        (Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition, _) => StatusCode::BAD_REQUEST,
        (Code::Unauthenticated, _) => StatusCode::UNAUTHORIZED,
        (Code::PermissionDenied, _) => StatusCode::FORBIDDEN,
        (Code::NotFound, _) => StatusCode::NOT_FOUND,
        (Code::AlreadyExists | Code::Aborted, _) => StatusCode::CONFLICT,
        (Code::ResourceExhausted, _) => StatusCode::TOO_MANY_REQUESTS,
        (Code::Unavailable | Code::Cancelled, _) => StatusCode::SERVICE_UNAVAILABLE,
        (Code::DeadlineExceeded, _) => StatusCode::GATEWAY_TIMEOUT,
        (Code::Unimplemented, _) => StatusCode::NOT_IMPLEMENTED,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn fields_of_the_contract_get_the_facades_names() {
        for (field, expected) in [
            ("batch.input_file", "input_file_id"),
            ("batch.priority", "x_caravan.priority"),
            ("batch.chunk_limits.max_requests", "x_caravan.chunk_limits.max_requests"),
            ("batch.metadata", "metadata"),
            ("page_token", "after"),
            ("resume_token", "Last-Event-ID"),
            ("start.filename", "file"),
        ] {
            assert_eq!(param(field), expected);
        }
    }

    #[tokio::test]
    async fn a_limit_is_named_for_programs() {
        let after = Duration::from_millis(1_200);
        let limited = Reason::RateLimited.limit("too many", "streams", 2, after).into();
        let large = Reason::FileTooLarge.beyond("chunk.data", "too large", "max_file_bytes", 9).into();
        let metadata = |limit: &str, value: &str| json!({"limit": limit, "value": value});
        for (error, status, retry, reason, metadata) in [
            (limited, 429, Some("2"), json!("RATE_LIMITED"), metadata("streams", "2")),
            (large, 413, None, json!("FILE_TOO_LARGE"), metadata("max_file_bytes", "9")),
            (Error::too_large(7), 413, None, Value::Null, metadata("body_bytes", "7")),
        ] {
            let response = error.into_response();
            assert_eq!(response.status(), status);
            let header = response.headers().get(header::RETRY_AFTER);
            assert_eq!(header.map(|value| value.to_str().expect("digits")), retry);
            let body = axum::body::to_bytes(response.into_body(), 1 << 10).await.expect("a body");
            let body: Value = serde_json::from_slice(&body).expect("JSON");
            let own = &body["error"]["x_caravan"];
            assert_eq!((&own["reason"], &own["metadata"]), (&reason, &metadata));
        }
    }

    #[test]
    fn what_is_quoted_cannot_turn_the_text_around() {
        assert_eq!(quoted("a\u{202e}b\0"), "a\\u{202e}b\\0");
        assert_eq!(quoted(&"x".repeat(1000)).len(), QUOTED);
    }

    #[test]
    fn what_has_no_reason_says_nothing_of_the_inside() {
        let error = Error::from(Status::unknown("SELECT 1 failed at /var/lib"));
        assert_eq!((error.http.as_u16(), &*error.message), (500, "the planner could not answer"));
    }
}
