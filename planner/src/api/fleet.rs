use std::{pin::Pin, sync::Arc, time::Duration};

use caravan_proto::{
    error::Reason,
    v1::{self, fleet_service_server::FleetService},
};
use futures::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status};

use super::{Models, models, offer, page, status, tenant};
use crate::{
    clock, dispatch,
    profiles::{self, Refusal, Wrong},
    store::{self, Store},
};

/// How often the fleet is looked at for those who watch it.
const LOOK: Duration = Duration::from_secs(1);

/// `FleetService`.
#[derive(Clone)]
pub struct FleetApi {
    store: Arc<dyn Store>,
    lease: dispatch::Options,
    models: Models,
    tasks: TaskTracker,
    stop: CancellationToken,
}

// === impl FleetApi ===

impl FleetApi {
    /// The fleet in `store`, which gets its models by `models`; an executor silent for a lease's time to live is offline.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        lease: dispatch::Options,
        models: Models,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self { store, lease, models, tasks, stop }
    }

    async fn executors(&self, offline_too: bool) -> Result<Vec<v1::Executor>, Status> {
        let ttl = clock::span(self.lease.ttl());
        let alive_since = self.store.now().await.map_err(status)?.saturating_sub(ttl);
        let since = if offline_too { 0 } else { alive_since };
        let found = self.store.executors(since).await.map_err(status)?;
        let mut executors: Vec<_> = found
            .into_iter()
            .map(|executor| {
                let mut detail = executor.detail;
                if executor.last_seen < alive_since {
                    detail.state = v1::executor::State::Offline.into();
                }
                detail
            })
            .collect();
        executors.sort_by(|a, b| (&a.host, &a.name).cmp(&(&b.host, &b.name)));
        Ok(executors)
    }

    async fn snapshot(&self) -> Result<v1::WatchFleetResponse, Status> {
        let executors = self.executors(false).await?;
        let open = self.store.open_batches().await.map_err(status)?;
        Ok(v1::WatchFleetResponse { executors, open_batches: i32::try_from(open.len()).unwrap_or(i32::MAX) })
    }

    async fn watch(self, sender: mpsc::Sender<Result<v1::WatchFleetResponse, Status>>) {
        let mut last = None;
        loop {
            let now = self.snapshot().await;
            let failed = now.is_err();
            if failed || last.as_ref() != now.as_ref().ok() {
                last = now.as_ref().ok().cloned();
                let sent = tokio::select! {
                    sent = sender.send(now) => sent.is_ok(),
                    () = self.stop.cancelled() => false,
                };
                if !sent || failed {
                    return;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = sender.closed() => return,
                () = self.stop.cancelled() => {
                    let draining = Reason::Unavailable.retry_after("the planner goes away", LOOK);
                    let _gone = sender.send_timeout(Err(draining), LOOK).await;
                    return;
                }
            }
        }
    }
}

#[tonic::async_trait]
impl FleetService for FleetApi {
    async fn list_executors(
        &self,
        request: Request<v1::ListExecutorsRequest>,
    ) -> Result<Response<v1::ListExecutorsResponse>, Status> {
        let request = request.into_inner();
        let limit = page::size(request.page_size)?;
        let executors = self.executors(request.show_offline).await?;
        let key = |executor: &v1::Executor| format!("{}\n{}", executor.host, executor.name);
        let (executors, next_page_token) = paged(executors, key, &request.page_token, limit);
        Ok(Response::new(v1::ListExecutorsResponse { executors, next_page_token }))
    }

    type WatchFleetStream = Pin<Box<dyn Stream<Item = Result<v1::WatchFleetResponse, Status>> + Send>>;

    async fn watch_fleet(
        &self,
        _request: Request<v1::WatchFleetRequest>,
    ) -> Result<Response<Self::WatchFleetStream>, Status> {
        // One message under way: a slow reader gets the latest state, never a queue.
        let (sender, receiver) = mpsc::channel(1);
        self.tasks.spawn(self.clone().watch(sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn list_models(
        &self,
        request: Request<v1::ListModelsRequest>,
    ) -> Result<Response<v1::ListModelsResponse>, Status> {
        let request = request.into_inner();
        let limit = page::size(request.page_size)?;
        let models = offer::models(self.executors(false).await?);
        let key = |model: &v1::FleetModel| model.name.clone();
        let (models, next_page_token) = paged(models, key, &request.page_token, limit);
        Ok(Response::new(v1::ListModelsResponse { models, next_page_token }))
    }

    async fn list_profiles(
        &self,
        request: Request<v1::ListProfilesRequest>,
    ) -> Result<Response<v1::ListProfilesResponse>, Status> {
        let request = request.into_inner();
        let limit = page::size(request.page_size)?;
        let found = self.store.profiles().await.map_err(status)?;
        let wanted = |known: &str| request.model.is_empty() || crate::models::means(&request.model, known);
        let found = found.into_iter().filter(|profile| wanted(&profile.detail.model)).collect();
        let key = |profile: &store::Profile| {
            let age = i64::MAX - profile.measured.max(0);
            format!("{}\n{age:019}\n{}", profile.detail.model, profile.id.name())
        };
        let (page, next_page_token) = paged(found, key, &request.page_token, limit);
        let profiles = page.into_iter().map(profiles::view).collect();
        Ok(Response::new(v1::ListProfilesResponse { profiles, next_page_token }))
    }

    async fn create_profile(
        &self,
        request: Request<v1::CreateProfileRequest>,
    ) -> Result<Response<v1::Profile>, Status> {
        let profile = request.into_inner().profile;
        let profile =
            profile.ok_or_else(|| Reason::InvalidArgument.field("profile", "profile must be set"))?;
        let model = profile.model.clone();
        let kept = profiles::keep(&*self.store, profile).await.map_err(|refusal| match refusal {
            Refusal::Wrong(Wrong { field, wanted }) => {
                Reason::InvalidArgument.field(format!("profile.{field}"), format!("{field} must be {wanted}"))
            }
            Refusal::Older => {
                let message = "the same engine, GPU and model were measured later: leave measure_time out to \
                               replace that profile";
                Reason::InvalidArgument.field("profile.measure_time", message)
            }
            Refusal::Store(error) => status(error),
        })?;
        tracing::info!(model, profile = kept.name, "profile created");
        Ok(Response::new(kept))
    }

    type EnsureModelStream = models::Progress;

    async fn ensure_model(
        &self,
        request: Request<v1::EnsureModelRequest>,
    ) -> Result<Response<Self::EnsureModelStream>, Status> {
        Ok(Response::new(self.models.ensure(&tenant(&request)?, request.into_inner()).await?))
    }
}

/// One page of a list that is short enough to be at hand: behind the row whose key is `after`.
fn paged<T>(mut rows: Vec<T>, key: impl Fn(&T) -> String, after: &str, limit: i64) -> (Vec<T>, String) {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    rows.sort_by_cached_key(&key);
    let start = rows.iter().take_while(|row| key(row).as_str() <= after).count();
    let more = rows.len() > start + limit;
    let page: Vec<T> = rows.into_iter().skip(start).take(limit).collect();
    let next = page.last().filter(|_| more).map(&key).unwrap_or_default();
    (page, next)
}
