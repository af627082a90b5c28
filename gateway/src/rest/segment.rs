use axum::{
    extract::{FromRequestParts, Path},
    http::request::Parts,
};

use caravan_proto::name::{Id, Resource};

use super::error::Error;

/// The id in a path.
pub(super) struct Segment(pub(super) String);

// === impl Segment ===

impl Segment {
    /// The resource's id; none if there can be none of that name, which OpenAI answers as one that there is not.
    pub(super) fn id<R: Resource>(&self) -> Option<Id<R>> {
        Some(&self.0).filter(|id| !id.contains('/')).and_then(|id| id.parse().ok())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        // What is no UTF-8 names nothing.
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(id)| Self(id)).map_err(|_| Error::no_such_path(&parts.method, &parts.uri))
    }
}
