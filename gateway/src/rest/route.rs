//! The routes of the HTTP port: one list, which the router is made of.

use axum::{
    Router,
    handler::Handler,
    middleware::from_fn_with_state,
    routing::{MethodFilter, MethodRouter, on},
};

use caravan_proto::v1;
use caravan_service::identity::Guard;

use super::{Rest, batches, caller::admit, health};

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
