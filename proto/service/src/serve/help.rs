//! Where errors link to: the configured place of their pages, whichever server they come from.

use std::sync::Arc;

use caravan_proto::error::{self, HELP};
use http::{HeaderMap, Response};
use http_body_util::BodyExt as _;
use tonic::{Status, body::Body};
use tower::util::MapResponseLayer;

/// Lets the links of every status that leaves begin with `base`.
pub(super) fn layer(
    base: &str,
) -> MapResponseLayer<impl Fn(Response<Body>) -> Response<Body> + Clone + use<>> {
    let base: Option<Arc<str>> = (base != HELP).then(|| base.into());
    MapResponseLayer::new(move |mut response: Response<Body>| {
        let Some(base) = base.clone() else { return response };
        // A status without a message before it is in the head, any other in the trailers.
        place(response.headers_mut(), &base);
        response.map(|body| {
            Body::new(body.map_frame(move |mut frame| {
                if let Some(trailers) = frame.trailers_mut() {
                    place(trailers, &base);
                }
                frame
            }))
        })
    })
}

fn place(headers: &mut HeaderMap, base: &str) {
    let status = Status::from_header_map(headers);
    if let Some(status) = status.and_then(|status| error::with_help_at(&status, base)) {
        // It fails for a message that is no header's value, and this one just was one.
        let _ = status.add_header(headers);
    }
}
