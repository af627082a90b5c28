//! The routes of the HTTP port: one list, which the router is made of.

use axum::{
    Router,
    handler::Handler,
    middleware::from_fn_with_state,
    routing::{MethodFilter, MethodRouter, on},
};

use caravan_proto::v1;
use caravan_service::identity::Guard;

use super::{Rest, batches, caller::admit, content, events, files, health, models, openapi};

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

/// A router of all of them, with `guard` before each that not anybody may ask for.
pub(super) fn router(guard: &Guard) -> Router<Rest> {
    routes().into_iter().fold(Router::new(), |router, route| {
        let handler = match route.role.needed() {
            Some(role) => route.handler.route_layer(from_fn_with_state((guard.clone(), role), admit)),
            None => route.handler,
        };
        router.route(route.path, handler)
    })
}

// === impl Role ===

impl Role {
    /// The role of the contract, if one is needed.
    fn needed(self) -> Option<v1::Role> {
        match self {
            Self::Anybody => None,
            Self::Read => Some(v1::Role::Read),
            Self::Submit => Some(v1::Role::Submit),
        }
    }
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
