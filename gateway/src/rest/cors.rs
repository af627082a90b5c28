//! Pages of other origins, which browsers let read what the port answers only if it says so.

use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::CorsLayer;
use url::Url;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Lets pages of these origins call; of none, the layer says nothing.
pub(super) fn layer(origins: &[Url]) -> CorsLayer {
    if origins.is_empty() {
        return CorsLayer::new();
    }
    // As browsers write it: without the path.
    let origins = origins.iter().map(|url| url.origin().ascii_serialization());
    let origins: Vec<HeaderValue> = origins.filter_map(|origin| origin.try_into().ok()).collect();
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, header::RANGE, LAST_EVENT_ID])
}

/// Whether a URL is an origin and nothing else.
pub(crate) fn is_origin(url: &Url) -> bool {
    url.origin().is_tuple() && url.path() == "/" && url.query().is_none() && url.fragment().is_none()
}
