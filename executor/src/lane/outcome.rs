//! How a request ended, as the planner gets it.

use caravan_proto::v1::{
    EngineResponse, PayloadRequest, Provenance, RequestError, RequestResult, Usage, request_result::Outcome,
};
use prost::Message as _;

use crate::{
    engine::{Failure, Response},
    lease::Lease,
};

/// A result as large as this, in bytes, still fits into a message with its framing.
const LARGEST_RESULT: usize = caravan_proto::MAX_MESSAGE_BYTES - (1 << 20);

/// What an engine answered.
pub(super) fn answered(response: &Response) -> Outcome {
    Outcome::Response(EngineResponse {
        status_code: i32::from(response.status),
        body: response.body.to_string(),
    })
}

/// The engine's refusal, if it answered; else that there is no answer.
pub(super) fn failed(failure: Failure) -> Outcome {
    match (failure.status, failure.body) {
        (Some(status), Some(body)) => {
            Outcome::Response(EngineResponse { status_code: i32::from(status), body: body.to_string() })
        }
        _ => error(failure.code, failure.message),
    }
}

/// There is no answer.
pub(super) fn error(code: &str, message: impl Into<String>) -> Outcome {
    Outcome::Error(RequestError { code: code.into(), message: message.into() })
}

/// How metrics call it.
pub(super) fn name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Response(response) if response.status_code == 200 => "answered",
        Outcome::Response(_) => "refused",
        Outcome::Error(_) => "failed",
    }
}

/// The message for request `index` of `lease`. An answer too large for any message is
/// replaced by an error that says so.
pub(super) fn result(
    lease: &Lease,
    index: i32,
    request: &PayloadRequest,
    outcome: Outcome,
    usage: Option<Usage>,
    provenance: Option<Provenance>,
) -> RequestResult {
    let mut result = RequestResult {
        lease_id: lease.id.clone(),
        batch: lease.batch.clone(),
        chunk: lease.chunk,
        index,
        line: request.line,
        custom_id: request.custom_id.clone(),
        outcome: Some(outcome),
        usage,
        provenance,
    };
    let bytes = result.encoded_len();
    if bytes > LARGEST_RESULT {
        let message = format!("the answer has {bytes} bytes; at most {LARGEST_RESULT} can be kept");
        result.outcome = Some(error("response_too_large", message));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Class;
    use serde_json::json;

    #[test]
    fn a_refusal_keeps_the_engines_status_and_body() {
        let refused = Failure {
            class: Class::Request,
            code: "context_length_exceeded",
            message: "too long".into(),
            status: Some(400),
            body: Some(json!({"error": "too long"})),
        };
        let Outcome::Response(response) = failed(refused.clone()) else { panic!("a response") };
        assert_eq!((response.status_code, response.body.as_str()), (400, r#"{"error":"too long"}"#));
        let Outcome::Error(error) = failed(Failure { status: None, ..refused }) else { panic!("an error") };
        assert_eq!(error.code, "context_length_exceeded");
    }
}
