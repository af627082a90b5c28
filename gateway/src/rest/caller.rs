//! Who sent an HTTP request, and how the planner gets to know it.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::Body,
    extract::{FromRequestParts, Request as HttpRequest, State},
    http::{HeaderValue, StatusCode, header::WWW_AUTHENTICATE, request::Parts},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use caravan_proto::v1::Role;
use caravan_service::identity::{Guard, Principal, Standing};
use tonic::{Request, Status};

use super::{error::Error, pages::Pages};
use crate::limits::Limits;

/// Whoever sent the request. Every handler takes one, and asks the planner on its behalf.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// None where anybody may ask.
    principal: Option<Principal>,
}

/// Whom the port lets in.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    pub(crate) guard: Guard,
    pub(crate) limits: Limits,
    pub(crate) pages: Pages,
}

/// What stands before a route that not anybody may ask for.
#[derive(Debug, Clone)]
pub(super) struct Door {
    pub(super) gate: Gate,
    /// What a caller must be allowed to.
    pub(super) role: Role,
    /// Whether it counts as a stream.
    pub(super) is_stream: bool,
}

/// Lets a request pass if whoever sends it has the role and is within the limits, and says so with it.
pub(super) async fn admit(State(door): State<Door>, request: HttpRequest, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    let identified = door.gate.guard.identify(&head.headers, &head.extensions).await;
    let admitted = identified.and_then(|principal| {
        principal.must_be(door.role)?;
        Ok((door.gate.limits.admit(&principal.tenant, door.is_stream)?, principal))
    });
    match admitted {
        Ok((admitted, principal)) => {
            head.extensions.insert(principal);
            let gone = door.gate.guard.gone(&head.headers);
            let body = admitted.reads(body, Body::new);
            let answer = next.run(HttpRequest::from_parts(head, body));
            let Some(gone) = gone else {
                return answer.await.map(|body| admitted.answers(body, Body::new));
            };
            tokio::select! {
                // Its head is sent: all that is left is to break it off.
                answer = answer => answer.map(|body| {
                    let body = Body::new(Standing::new(body, gone, |status| Err(axum::Error::new(status))));
                    admitted.answers(body, Body::new)
                }),
                status = gone.clone() => refused(status),
            }
        }
        Err(status) => refused(status),
    }
}

fn refused(status: Status) -> Response {
    let mut refused = Error::from(status).into_response();
    if refused.status() == StatusCode::UNAUTHORIZED {
        refused.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    refused
}

// === impl Caller ===

impl Caller {
    /// `message` in the name of this caller, answered within `timeout`.
    pub(super) fn request<T>(&self, message: T, timeout: Duration) -> Request<T> {
        let mut request = self.stream(message);
        request.set_timeout(timeout);
        request
    }

    /// `message` in the name of this caller, for a call that lasts as long as its stream.
    pub(super) fn stream<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(principal) = &self.principal {
            principal.write(request.metadata_mut());
        }
        request
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self { principal: head.extensions.get().cloned() })
    }
}
