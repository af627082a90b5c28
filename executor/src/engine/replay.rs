//! A server for tests that answers each path as told and keeps what it was sent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use url::Url;

use super::{Call, Endpoint, ReloadSet};

/// Status and body by path; any other path is 404.
pub(super) type Answers = HashMap<&'static str, (u16, String)>;

type Shared = Arc<(Answers, Mutex<Vec<(String, Value)>>)>;

/// Serves until dropped.
pub(super) struct Replay {
    pub(super) url: Url,
    shared: Shared,
    _task: JoinSet<()>,
}

impl Replay {
    pub(super) async fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let shared: Shared = Arc::new((answers, Mutex::default()));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let mut task = JoinSet::new();
        task.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, _task: task }
    }

    /// Paths and bodies so far, in their order; a request without body has null.
    pub(super) fn sent(&self) -> Vec<(String, Value)> {
        self.shared.1.lock().unwrap().clone()
    }
}

async fn answer(State(shared): State<Shared>, request: Request<axum::body::Body>) -> (StatusCode, String) {
    let path = request.uri().path().to_owned();
    let body = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap();
    let (status, said) = shared.0.get(path.as_str()).cloned().unwrap_or((404, "404 page not found".into()));
    shared.1.lock().unwrap().push((path, serde_json::from_slice(&body).unwrap_or_default()));
    (StatusCode::from_u16(status).unwrap(), said)
}

/// A call for a model with a context of 2,048 tokens, of which the prompt has 48.
pub(super) fn call(endpoint: Endpoint, body: &Value) -> Call<'_> {
    let body: &Map<String, Value> = body.as_object().unwrap();
    let set = ReloadSet { context: 2048, ..ReloadSet::default() };
    Call { prompt_tokens: 48, ..Call::new(endpoint, "m", body, set) }
}
