//! The routes of the HTTP port: one list, which the router is made of.

use axum::{
    Router,
    handler::Handler,
    middleware::from_fn_with_state,
    routing::{MethodFilter, MethodRouter, on},
};

use caravan_proto::v1::Role;

use super::{
    Rest, batches,
    caller::{Door, Gate, admit},
    content, events, files, health, models, openapi,
};

/// One method on one path.
pub(super) struct Route {
    #[cfg_attr(not(test), expect(dead_code, reason = "the handler has it too"))]
    pub(super) method: MethodFilter,
    /// As axum writes it: `/v1/batches/{id}`.
    pub(super) path: &'static str,
    /// What a caller must be allowed to; none where whoever reaches the port may ask.
    pub(super) role: Option<Role>,
    /// Whether it goes on for as long as a file or a batch.
    is_stream: bool,
    handler: MethodRouter<Rest>,
}

/// All of them. A method and a path occur once.
pub(super) fn routes() -> Vec<Route> {
    const GET: MethodFilter = MethodFilter::GET;
    const POST: MethodFilter = MethodFilter::POST;
    const DELETE: MethodFilter = MethodFilter::DELETE;
    const ANYBODY: Option<Role> = None;
    const READ: Option<Role> = Some(Role::Read);
    const SUBMIT: Option<Role> = Some(Role::Submit);
    vec![
        Route::new(POST, "/v1/files", SUBMIT, files::create).streaming(),
        Route::new(GET, "/v1/files", READ, files::list),
        Route::new(GET, "/v1/files/{id}", READ, files::get),
        Route::new(DELETE, "/v1/files/{id}", SUBMIT, files::delete),
        Route::new(GET, "/v1/files/{id}/content", READ, content::get).streaming(),
        Route::new(POST, "/v1/batches", SUBMIT, batches::create),
        Route::new(GET, "/v1/batches", READ, batches::list),
        Route::new(GET, "/v1/batches/{id}", READ, batches::get),
        Route::new(GET, "/v1/batches/{id}/events", READ, events::get).streaming(),
        Route::new(POST, "/v1/batches/{id}/cancel", SUBMIT, batches::cancel),
        Route::new(GET, "/v1/models", READ, models::list),
        // Names of models have slashes, which some clients send as they are.
        Route::new(GET, "/v1/models/{*model}", READ, models::get),
        Route::new(GET, "/openapi.json", ANYBODY, openapi::get),
        Route::new(GET, "/healthz", ANYBODY, health::alive),
        Route::new(GET, "/readyz", ANYBODY, health::ready),
    ]
}

/// A router of all of them, with `gate` before each that not anybody may ask for.
pub(super) fn router(gate: &Gate) -> Router<Rest> {
    routes().into_iter().fold(Router::new(), |router, route| {
        let handler = match route.role {
            Some(role) => {
                let door = Door { gate: gate.clone(), role, is_stream: route.is_stream };
                route.handler.route_layer(from_fn_with_state(door, admit))
            }
            None => route.handler,
        };
        router.route(route.path, handler)
    })
}

// === impl Route ===

impl Route {
    fn new<H, T>(method: MethodFilter, path: &'static str, role: Option<Role>, handler: H) -> Self
    where
        H: Handler<T, Rest>,
        T: 'static,
    {
        Self { method, path, role, is_stream: false, handler: on(method, handler) }
    }

    fn streaming(self) -> Self {
        Self { is_stream: true, ..self }
    }
}
