//! What changes the models of an engine: blobs, create, copy, delete.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use serde_json::{Map, Value, json};

use crate::engine::{Engine, Failure};
use crate::library::{Blob, Model, Upload};

use super::body::Fields;
use super::deliver::fail;
use super::line::NATIVE_ERRORS;
use super::progress::{Step, tell};
use super::pull::not_in_registry;

pub(super) async fn has_blob(State(engine): State<Arc<Engine>>, Path(digest): Path<String>) -> Response {
    match check_digest(&digest) {
        Err(failure) => fail(&NATIVE_ERRORS, &failure),
        Ok(()) if engine.library.blob(&digest).is_some() => StatusCode::OK.into_response(),
        Ok(()) => fail(&NATIVE_ERRORS, &Failure::new(404, format!("blob {digest:?} not found"))),
    }
}

pub(super) async fn add_blob(
    State(engine): State<Arc<Engine>>,
    Path(digest): Path<String>,
    body: Body,
) -> Response {
    match upload(&engine, digest, body).await {
        Ok(status) => status.into_response(),
        Err(failure) => fail(&NATIVE_ERRORS, &failure),
    }
}

async fn upload(engine: &Engine, digest: String, body: Body) -> Result<StatusCode, Failure> {
    check_digest(&digest)?;
    if engine.library.blob(&digest).is_some() {
        return Ok(StatusCode::OK);
    }
    let mut upload = Upload::default();
    let mut parts = body.into_data_stream();
    while let Some(part) = parts.next().await {
        upload.take(&part.map_err(|error| Failure::new(500, error.to_string()))?);
    }
    let (found, blob) = upload.end();
    if found != digest {
        return Err(Failure::new(400, format!("digest mismatch, expected {digest:?}, got {found:?}")));
    }
    engine.library.add_blob(digest, blob);
    Ok(StatusCode::CREATED)
}

pub(super) async fn create(State(engine): State<Arc<Engine>>, body: Bytes) -> Response {
    match created(&engine, &body) {
        Ok((steps, stream)) => tell(futures::stream::iter(steps), stream).await,
        Err(failure) => fail(&NATIVE_ERRORS, &failure),
    }
}

fn created(engine: &Engine, body: &[u8]) -> Result<(Vec<Step>, bool), Failure> {
    let mut fields = Fields::read("CreateRequest", body)?;
    let name = model_name(&mut fields)?;
    let stream = fields.bool("stream")?.unwrap_or(true);
    let template = fields.string("template")?.filter(|template| !template.is_empty());
    let about = json!({"system": fields.value("system"), "parameters": fields.value("parameters")});
    let files = fields.object("files")?;
    let mut steps = Vec::new();
    let made = match (fields.string("from")?.filter(|from| !from.is_empty()), files.is_empty()) {
        (Some(from), _) => match engine.library.find(&from) {
            Some(model) => Model { template: template.or(model.template.clone()), ..model },
            None => return Ok((not_in_registry().into(), stream)),
        },
        (None, true) => return Err(Failure::new(400, "neither 'from' or 'files' was specified")),
        (None, false) => {
            steps.push(Step::status("parsing GGUF"));
            match file_of(engine, &files) {
                Ok((digest, blob)) => {
                    steps.push(Step::status("verifying conversion"));
                    steps.push(Step::status(&format!("using existing layer {digest}")));
                    Model::created(&name, &digest, blob, template, &about)
                }
                Err(failure) => {
                    steps.push(Step::Failed(failure));
                    return Ok((steps, stream));
                }
            }
        }
    };
    steps.push(Step::status("writing manifest"));
    engine.library.add(made.named(&name));
    steps.push(Step::status("success"));
    Ok((steps, stream))
}

/// The file that a model is made of: an uploaded GGUF.
fn file_of(engine: &Engine, files: &Map<String, Value>) -> Result<(String, Blob), Failure> {
    let digest = files.values().next().and_then(Value::as_str).unwrap_or_default().to_owned();
    check_digest(&digest)?;
    let blob = engine.library.blob(&digest).ok_or_else(|| {
        let file = digest.replace(':', "-");
        Failure::new(500, format!("open /models/blobs/{file}: no such file or directory"))
    })?;
    if blob.is_gguf {
        Ok((digest, blob))
    } else {
        Err(Failure::new(400, "supplied file was not in GGUF format"))
    }
}

pub(super) async fn copy(State(engine): State<Arc<Engine>>, body: Bytes) -> Response {
    let copied = || {
        let mut fields = Fields::read("CopyRequest", &body)?;
        let source = fields.string("source")?.unwrap_or_default();
        let destination = fields.string("destination")?.unwrap_or_default();
        check_name(&destination)?;
        let not_found = || Failure::new(404, format!("model {source:?} not found"));
        let model = engine.library.find(&source).ok_or_else(not_found)?;
        engine.library.add(model.named(&destination));
        Ok(())
    };
    done(copied())
}

pub(super) async fn delete(State(engine): State<Arc<Engine>>, body: Bytes) -> Response {
    let deleted = || {
        let name = model_name(&mut Fields::read("DeleteRequest", &body)?)?;
        if engine.library.remove(&name) { Ok(()) } else { Err(Failure::model_not_found(&name)) }
    };
    done(deleted())
}

fn done(result: Result<(), Failure>) -> Response {
    match result {
        Ok(()) => StatusCode::OK.into_response(),
        Err(failure) => fail(&NATIVE_ERRORS, &failure),
    }
}

/// A deed with a model's file takes its name from `model`, or from `name` as it was called before.
pub(super) fn model_name(fields: &mut Fields) -> Result<String, Failure> {
    let name = match fields.string("model")?.filter(|name| !name.is_empty()) {
        Some(name) => name,
        None => fields.string("name")?.unwrap_or_default(),
    };
    check_name(&name)?;
    Ok(name)
}

fn check_name(name: &str) -> Result<(), Failure> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte);
    let starts = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if starts && name.bytes().all(allowed) { Ok(()) } else { Err(Failure::new(400, "invalid model name")) }
}

fn check_digest(digest: &str) -> Result<(), Failure> {
    let hex = digest.strip_prefix("sha256:").or_else(|| digest.strip_prefix("sha256-"));
    match hex {
        Some(hex) if hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) => Ok(()),
        _ => Err(Failure::new(400, "invalid digest format")),
    }
}
