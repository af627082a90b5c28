use axum::{
    extract::{FromRequestParts, Path},
    http::request::Parts,
};

use super::error::Error;

/// The id in a path.
pub(super) struct Segment(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        // What is no UTF-8 names nothing.
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(id)| Self(id)).map_err(|_| Error::no_such_path(&parts.method, &parts.uri))
    }
}
