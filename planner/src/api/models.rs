use std::{pin::Pin, sync::Arc, time::Duration};

use caravan_proto::{
    Tenant,
    error::Reason,
    name::FileId,
    v1::{self, file::Purpose},
};
use futures::{Stream, StreamExt as _, stream};
use tokio_stream::wrappers::WatchStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use uuid::Uuid;

use super::{name, status};
use crate::{
    dispatch::{Errands, Fleet, Target, Unselected},
    store::{File, Store},
};

/// Bytes of a model's name: more than any registry has.
const MAX_NAME: usize = 512;
/// Digests that an errand names; an engine makes the same one again of the same file, so there are as
/// many as versions of engines.
const MOST_DIGESTS: i64 = 100;
/// When a watcher may ask again after this replica has gone away.
const RETRY: Duration = Duration::from_secs(1);

/// Makes engines have models.
#[derive(Clone)]
pub struct Models {
    /// Rows.
    pub store: Arc<dyn Store>,
    /// Who is there.
    pub fleet: Fleet,
    /// What is under way.
    pub errands: Errands,
    /// Ends streams.
    pub stop: CancellationToken,
}

/// How far the engines are.
pub(super) type Progress = Pin<Box<dyn Stream<Item = Result<v1::EnsureModelResponse, Status>> + Send>>;

// === impl Models ===

impl Models {
    /// Sends the errands and shows how far they are. A slow reader gets the latest state of each
    /// engine, never a queue; errands go on when it leaves.
    pub(super) async fn ensure(
        &self,
        tenant: &Tenant,
        request: v1::EnsureModelRequest,
    ) -> Result<Progress, Status> {
        check_name(&request.model)?;
        let file = match request.file.as_str() {
            "" => None,
            name => Some(model_file(&*self.store, Some(tenant), "file", name).await?),
        };
        let errand = self.errand(&request, file.as_ref()).await?;
        let targets = Target::select(self.fleet.targets(), &request.engines).map_err(unselected)?;
        let mut seen = Vec::with_capacity(targets.len());
        for target in targets {
            let engine = target.engine.clone();
            let errand = v1::EnsureModelErrand { errand: new_id(), engine, ..errand.clone() };
            seen.push(WatchStream::new(self.errands.send(&target, errand).await));
        }
        Ok(Box::pin(unless_stopped(stream::select_all(seen), self.stop.clone())))
    }

    /// What all engines are asked for.
    async fn errand(
        &self,
        request: &v1::EnsureModelRequest,
        file: Option<&File>,
    ) -> Result<v1::EnsureModelErrand, Status> {
        let errand = v1::EnsureModelErrand {
            model: request.model.clone(),
            replace: request.replace,
            ..Default::default()
        };
        let Some(file) = file else { return Ok(errand) };
        let digests = self.store.imports(&file.sha256, MOST_DIGESTS).await.map_err(status)?;
        let (sha256, size_bytes) = (file.sha256.clone(), file.size);
        Ok(v1::EnsureModelErrand { file: file.id.name(), sha256, size_bytes, digests, ..errand })
    }
}

/// All items; or as soon as this replica stops, an error that says so.
fn unless_stopped<T>(
    items: impl Stream<Item = T> + Unpin,
    stop: CancellationToken,
) -> impl Stream<Item = Result<T, Status>> {
    stream::unfold(Some(items), move |items| {
        let stop = stop.clone();
        async move {
            let mut items = items?;
            tokio::select! {
                item = items.next() => item.map(|item| (Ok(item), Some(items))),
                () = stop.cancelled() => {
                    let why = "the planner goes away; the engines go on";
                    Some((Err(Reason::Unavailable.retry_after(why, RETRY)), None))
                }
            }
        }
    })
}

/// A model's file that can be read.
pub(super) async fn model_file(
    store: &dyn Store,
    of: Option<&Tenant>,
    field: &'static str,
    name: &str,
) -> Result<File, Status> {
    let id: FileId = name::parse(field, name)?;
    let file = match of {
        Some(tenant) => store.file_of(tenant, id).await,
        None => store.file(id).await,
    };
    let file = file.map_err(status)?;
    let file = file.ok_or_else(|| Reason::FileNotFound.status(format!("there is no {}", id.name())))?;
    if file.purpose != Purpose::Model {
        return Err(Reason::InvalidArgument.field(field, "the file was not uploaded with the purpose model"));
    }
    if !file.ready {
        return Err(Reason::FileNotReady.status("the upload of this file is not complete"));
    }
    Ok(file)
}

/// Checks the name of a model.
///
/// # Errors
/// INVALID_ARGUMENT if it is not 1 to 512 bytes without spaces and control characters.
pub fn check_name(name: &str) -> Result<(), Status> {
    let good = !name.is_empty()
        && name.len() <= MAX_NAME
        && !name.chars().any(|c| c.is_whitespace() || c.is_control());
    let message = format!("model must name one, in 1 to {MAX_NAME} bytes without spaces, e.g. gemma3:4b");
    if good { Ok(()) } else { Err(Reason::InvalidArgument.field("model", message)) }
}

fn unselected(error: Unselected) -> Status {
    match error {
        Unselected::Unknown { .. } => Reason::EngineNotFound.field("engines", error.to_string()),
        Unselected::Fixed { .. } | Unselected::None => Reason::EngineUnable.status(error.to_string()),
    }
}

fn new_id() -> String {
    format!("errand_{}", Uuid::now_v7().simple())
}
