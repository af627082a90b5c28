//! Pages of other origins, which browsers let read what the port answers only if it says so.

use axum::http::{HeaderValue, Method, header};
use tower_http::cors::{AllowHeaders, CorsLayer};
use url::Url;

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
        // Clients have headers of their own.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([header::CONTENT_RANGE, header::RETRY_AFTER])
}

/// Whether a URL is an origin and nothing else.
pub(crate) fn is_origin(url: &Url) -> bool {
    url.origin().is_tuple() && url.path() == "/" && url.query().is_none() && url.fragment().is_none()
}
