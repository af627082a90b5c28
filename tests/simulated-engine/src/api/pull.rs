//! `/api/pull`, from a registry that has what the options say.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use futures::{Stream, StreamExt as _, stream};
use serde_json::json;

use crate::engine::{Engine, Failure};
use crate::library::Model;

use super::body::Fields;
use super::deliver::fail;
use super::library::model_name;
use super::line::NATIVE_ERRORS;
use super::progress::{Step, tell};

/// Reports of a download on its way.
const REPORTS: u32 = 10;

pub(super) async fn pull(State(engine): State<Arc<Engine>>, body: Bytes) -> Response {
    let read = || {
        let mut fields = Fields::read("PullRequest", &body)?;
        Ok((model_name(&mut fields)?, fields.bool("stream")?.unwrap_or(true)))
    };
    match read() {
        Ok((name, streamed)) => match engine.library.in_registry(&name) {
            Some(model) => tell(steps(engine, model), streamed).await,
            None => tell(stream::iter(not_in_registry()), streamed).await,
        },
        Err(failure) => fail(&NATIVE_ERRORS, &failure),
    }
}

/// What is said of a model that the registry does not have.
pub(super) fn not_in_registry() -> [Step; 2] {
    let missing = Failure::new(500, "pull model manifest: file does not exist");
    [Step::status("pulling manifest"), Step::Failed(missing)]
}

/// The steps of a pull; the model is there before the last of them is told. A client that leaves ends it.
fn steps(engine: Arc<Engine>, model: Model) -> impl Stream<Item = Step> + Send + 'static {
    let downloading = {
        let (engine, model) = (engine.clone(), model.clone());
        stream::iter(0..=REPORTS).then(move |at| {
            let (pause, step) = (engine.options.pull_time() / REPORTS, report(&model, at));
            async move {
                if at > 0 && !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                step
            }
        })
    };
    let last = ["verifying sha256 digest", "writing manifest", "success"];
    let writing = stream::iter(last).map(move |status| {
        if status == "success" {
            engine.library.add(model.clone().named(&model.name));
        }
        Step::status(status)
    });
    stream::iter([Step::status("pulling manifest")]).chain(downloading).chain(writing)
}

fn report(model: &Model, at: u32) -> Step {
    let completed = model.size / u64::from(REPORTS) * u64::from(at);
    let mut line = json!({"status": format!("pulling {}", &model.digest[..12]),
        "digest": format!("sha256:{}", model.digest), "total": model.size});
    // Left out by Go when it is 0.
    if at == REPORTS {
        line["completed"] = json!(model.size);
    } else if completed > 0 {
        line["completed"] = json!(completed);
    }
    Step::Done(line)
}
