//! Who sent an HTTP request, and how the planner gets to know it.

use std::{convert::Infallible, time::Duration};

use axum::{extract::FromRequestParts, http::request::Parts};
use tonic::Request;

/// Whoever sent the request. Every handler takes one, and asks the planner on its behalf.
#[derive(Debug, Clone)]
pub(super) struct Caller {}

// === impl Caller ===

impl Caller {
    /// `message` in the name of this caller, answered within `timeout`.
    pub(super) fn request<T>(&self, message: T, timeout: Duration) -> Request<T> {
        let mut request = self.stream(message);
        request.set_timeout(timeout);
        request
    }

    /// `message` in the name of this caller, for a call that lasts as long as its stream.
    #[expect(clippy::unused_self, reason = "the caller says nothing of itself yet")]
    pub(super) fn stream<T>(&self, message: T) -> Request<T> {
        Request::new(message)
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self {})
    }
}
