//! The routes of the HTTP port: one list, which the router is made of.

use axum::{
    Router,
    handler::Handler,
    routing::{MethodFilter, MethodRouter, on},
};

use super::{Rest, batches, health};

/// What a caller must be allowed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing: whoever reaches the port may ask.
    Anybody,
    /// To read what the tenant has.
    Read,
}

/// One method on one path.
pub(super) struct Route {
    #[expect(dead_code, reason = "the router has it from the handler")]
    method: MethodFilter,
    /// As axum writes it: `/v1/batches/{id}`.
    path: &'static str,
    #[expect(dead_code, reason = "who asks is not known yet")]
    role: Role,
    handler: MethodRouter<Rest>,
}

/// All of them. A method and a path occur once.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(MethodFilter::GET, "/v1/batches/{id}", Role::Read, batches::get),
        Route::new(MethodFilter::GET, "/healthz", Role::Anybody, health::alive),
        Route::new(MethodFilter::GET, "/readyz", Role::Anybody, health::ready),
    ]
}

/// A router of all of them.
pub(super) fn router() -> Router<Rest> {
    routes().into_iter().fold(Router::new(), |router, route| router.route(route.path, route.handler))
}

// === impl Route ===

impl Route {
    fn new<H, T>(method: MethodFilter, path: &'static str, role: Role, handler: H) -> Self
    where
        H: Handler<T, Rest>,
        T: 'static,
    {
        Self { method, path, role, handler: on(method, handler) }
    }
}
