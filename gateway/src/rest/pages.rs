//! Pages in somebody's browser: it sends much of what they want without asking this port first, and takes a name
//! of theirs for this port if they say so.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, Uri, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use url::Url;

use super::error::Error;

/// Which pages may ask for what.
#[derive(Debug, Clone)]
pub(crate) struct Pages {
    /// Pages that may change something, beside the port's own.
    origins: Arc<[Url]>,
    /// Whether whoever reaches the port may do everything, which is for this host alone: then it must be called by
    /// a name that nobody else can give it.
    is_at_home: bool,
}

/// Lets a request pass unless it is of a page that has no business here.
pub(super) async fn admit(State(pages): State<Pages>, request: Request, next: Next) -> Response {
    match pages.check(request.method(), request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

// === impl Pages ===

impl Pages {
    pub(crate) fn new(origins: &[Url], is_at_home: bool) -> Self {
        Self { origins: origins.into(), is_at_home }
    }

    pub(super) fn origins(&self) -> &[Url] {
        &self.origins
    }

    fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Error> {
        let named = headers.get(header::HOST).and_then(|host| host.to_str().ok()?.parse().ok());
        let authority: Option<Authority> = uri.authority().cloned().or(named);
        if let Some(host) = authority.as_ref().map(Authority::host)
            && self.is_at_home
            && !self.is_ours(host)
        {
            return Err(Error::misdirected(host));
        }
        let Some(origin) = headers.get(header::ORIGIN).filter(|_| !method.is_safe()) else { return Ok(()) };
        let origin = origin.to_str().ok().and_then(|origin| Url::parse(origin).ok());
        let may = origin.is_some_and(|origin| {
            self.origins.iter().any(|known| known.origin() == origin.origin())
                || authority.is_some_and(|authority| is_of(&origin, &authority))
        });
        if may { Ok(()) } else { Err(Error::foreign_page()) }
    }

    /// Whether no name server of somebody else's can have led a browser here by this name.
    fn is_ours(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost")
            || host.to_ascii_lowercase().ends_with(".localhost")
            || bare.parse::<IpAddr>().is_ok()
            || self
                .origins
                .iter()
                .any(|origin| origin.host_str().is_some_and(|known| known.eq_ignore_ascii_case(host)))
    }
}

/// Whether a page is of the server with this address. A proxy may have taken TLS off: the page's word for that holds.
fn is_of(origin: &Url, authority: &Authority) -> bool {
    let own = Url::parse(&format!("{}://{authority}", origin.scheme()));
    own.is_ok_and(|own| own.origin() == origin.origin())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn may(is_at_home: bool, method: &Method, host: &'static str, origin: Option<&'static str>) -> bool {
        let pages = Pages::new(&["https://dashboard.example".parse().unwrap()], is_at_home);
        let mut headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]);
        headers.extend(origin.map(|origin| (header::ORIGIN, HeaderValue::from_static(origin))));
        pages.check(method, &Uri::from_static("/v1/files"), &headers).is_ok()
    }

    #[test]
    fn a_foreign_page_changes_nothing() {
        for (host, origin, expected) in [
            ("localhost:4080", None, true),
            ("localhost:4080", Some("http://localhost:4080"), true),
            ("caravan.example", Some("https://caravan.example"), true),
            ("caravan.example", Some("https://dashboard.example"), true),
            ("localhost:4080", Some("http://localhost:3000"), false),
            ("localhost:4080", Some("https://evil.example"), false),
            ("caravan.example", Some("https://caravan.example.evil.example"), false),
            ("caravan.example", Some("null"), false),
        ] {
            for method in [Method::POST, Method::DELETE] {
                assert_eq!(may(false, &method, host, origin), expected, "{method} at {host} of {origin:?}");
            }
            assert!(may(false, &Method::GET, host, origin), "a browser shows it no answer");
        }
    }

    #[test]
    fn a_port_for_this_host_is_called_by_no_other_name() {
        for host in
            ["localhost", "LOCALHOST:4080", "caravan.localhost", "127.0.0.1:4080", "[::1]:4080", "10.0.0.1"]
        {
            assert!(may(true, &Method::GET, host, None), "{host}");
        }
        assert!(may(true, &Method::GET, "dashboard.example", None), "it was named");
        for host in ["evil.example:4080", "localhost.evil.example", "127.0.0.1.evil.example"] {
            assert!(!may(true, &Method::GET, host, None), "{host}");
            assert!(may(false, &Method::GET, host, None), "{host}, where keys are asked for");
        }
    }
}
