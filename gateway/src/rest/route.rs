//! The routes of the HTTP port: one list, which the router is made of.

use axum::{
    Router,
    handler::Handler,
    routing::{MethodFilter, MethodRouter, on},
};

use super::{Rest, batches, content, events, files, health, models, openapi};

/// What a caller must be allowed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing: whoever reaches the port may ask.
    Anybody,
    /// To read what the tenant has.
    Read,
    /// To change it.
    Submit,
}

/// One method on one path.
pub(super) struct Route {
    #[cfg_attr(not(test), expect(dead_code, reason = "the handler has it too"))]
    pub(super) method: MethodFilter,
    /// As axum writes it: `/v1/batches/{id}`.
    pub(super) path: &'static str,
    #[cfg_attr(not(test), expect(dead_code, reason = "who asks is not known yet"))]
    pub(super) role: Role,
    handler: MethodRouter<Rest>,
}

/// All of them. A method and a path occur once.
pub(super) fn routes() -> Vec<Route> {
    const GET: MethodFilter = MethodFilter::GET;
    const POST: MethodFilter = MethodFilter::POST;
    const DELETE: MethodFilter = MethodFilter::DELETE;
    vec![
        Route::new(POST, "/v1/files", Role::Submit, files::create),
        Route::new(GET, "/v1/files", Role::Read, files::list),
        Route::new(GET, "/v1/files/{id}", Role::Read, files::get),
        Route::new(DELETE, "/v1/files/{id}", Role::Submit, files::delete),
        Route::new(GET, "/v1/files/{id}/content", Role::Read, content::get),
        Route::new(POST, "/v1/batches", Role::Submit, batches::create),
        Route::new(GET, "/v1/batches", Role::Read, batches::list),
        Route::new(GET, "/v1/batches/{id}", Role::Read, batches::get),
        Route::new(GET, "/v1/batches/{id}/events", Role::Read, events::get),
        Route::new(POST, "/v1/batches/{id}/cancel", Role::Submit, batches::cancel),
        Route::new(GET, "/v1/models", Role::Read, models::list),
        // Names of models have slashes, which some clients send as they are.
        Route::new(GET, "/v1/models/{*model}", Role::Read, models::get),
        Route::new(GET, "/openapi.json", Role::Anybody, openapi::get),
        Route::new(GET, "/healthz", Role::Anybody, health::alive),
        Route::new(GET, "/readyz", Role::Anybody, health::ready),
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
