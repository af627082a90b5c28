use std::{pin::Pin, time::Duration};

use caravan_proto::{
    error::{help, reason, retry_delay},
    v1::{
        CreateProfileRequest, EnsureModelRequest, EnsureModelResponse, ListExecutorsRequest,
        ListExecutorsResponse, ListModelsRequest, ListModelsResponse, ListProfilesRequest,
        ListProfilesResponse, Profile, WatchFleetRequest, WatchFleetResponse,
        fleet_service_client::FleetServiceClient,
        fleet_service_server::{FleetService, FleetServiceServer},
    },
};
use futures::{StreamExt as _, stream::BoxStream};
use http_body::Body as _;
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};
use tower::Layer as _;

use super::*;
use crate::{client, listen};

/// Each method misbehaves in its own way.
#[derive(Clone, Default)]
pub(crate) struct Stubborn {
    /// Cancelled when the hanging call begins.
    entered: CancellationToken,
    /// Cancelled when the hanging call is dropped.
    dropped: CancellationToken,
}

#[tonic::async_trait]
impl FleetService for Stubborn {
    type WatchFleetStream = BoxStream<'static, Result<WatchFleetResponse, Status>>;

    async fn list_executors(
        &self,
        _: Request<ListExecutorsRequest>,
    ) -> Result<Response<ListExecutorsResponse>, Status> {
        self.entered.cancel();
        let _guard = self.dropped.clone().drop_guard();
        std::future::pending().await
    }

    async fn list_models(
        &self,
        _: Request<ListModelsRequest>,
    ) -> Result<Response<ListModelsResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn list_profiles(
        &self,
        _: Request<ListProfilesRequest>,
    ) -> Result<Response<ListProfilesResponse>, Status> {
        panic!("on purpose")
    }

    async fn create_profile(&self, _: Request<CreateProfileRequest>) -> Result<Response<Profile>, Status> {
        Err(Status::unimplemented("not called"))
    }

    type EnsureModelStream = BoxStream<'static, Result<EnsureModelResponse, Status>>;

    async fn ensure_model(
        &self,
        _: Request<EnsureModelRequest>,
    ) -> Result<Response<Self::EnsureModelStream>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn watch_fleet(
        &self,
        request: Request<WatchFleetRequest>,
    ) -> Result<Response<Self::WatchFleetStream>, Status> {
        let first = futures::stream::iter([Ok(WatchFleetResponse::default())]);
        let then: BoxStream<'static, _> = if request.metadata().contains_key("panic") {
            futures::stream::poll_fn(|_| panic!("on purpose")).boxed()
        } else {
            futures::stream::pending().boxed()
        };
        Ok(Response::new(first.chain(then).boxed()))
    }
}

struct Running {
    channel: Channel,
    shutdown: Shutdown,
    service: Stubborn,
    server: JoinSet<Result<(), Error>>,
}

async fn running(drain: Duration) -> Running {
    running_with(drain, Options::default()).await
}

async fn running_with(drain: Duration, options: Options) -> Running {
    let bound = listen::bind("127.0.0.1:0").await.expect("a free port");
    let url = bound.url().parse().expect("a URL");
    let channel = client::channel(&[url], &client::Options::default()).expect("a channel");
    let (shutdown, service) = (Shutdown::new(drain), Stubborn::default());
    let services = Services::new().add(FleetServiceServer::new(service.clone()));
    let mut server = JoinSet::new();
    let handle = shutdown.clone();
    server.spawn(async move { serve(bound, services, &options, handle).await });
    Running { channel, shutdown, service, server }
}

async fn ends(server: &mut JoinSet<Result<(), Error>>) {
    let ended = timeout(Duration::from_secs(5), server.join_next()).await.expect("the server ends in time");
    ended.expect("it ran").expect("no panic").expect("no error");
}

#[tokio::test]
async fn an_open_stream_ends_with_unavailable_at_the_drain_limit() {
    let mut running = running(Duration::from_millis(50)).await;
    let mut client = FleetServiceClient::new(running.channel.clone());
    let mut stream = client.watch_fleet(WatchFleetRequest {}).await.expect("a stream").into_inner();
    stream.message().await.expect("a first message");
    running.shutdown.trigger();
    let status = stream.message().await.expect_err("the stream is cut");
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(reason(&status).as_deref(), Some("UNAVAILABLE"));
    assert!(retry_delay(&status).is_some(), "{status:?}");
    ends(&mut running.server).await;
}

#[tokio::test]
async fn a_hanging_call_is_answered_at_the_drain_limit() {
    let mut running = running(Duration::ZERO).await;
    let mut client = FleetServiceClient::new(running.channel.clone());
    let (answer, ()) = tokio::join!(client.list_executors(ListExecutorsRequest::default()), async {
        running.service.entered.cancelled().await;
        running.shutdown.trigger();
    });
    assert_eq!(answer.expect_err("cut off").code(), Code::Unavailable);
    ends(&mut running.server).await;
}

#[tokio::test]
async fn without_calls_the_server_ends_at_once() {
    let mut running = running(Duration::from_secs(3600)).await;
    running.shutdown.trigger();
    ends(&mut running.server).await;
}

#[tokio::test]
async fn a_deadline_ends_the_call_with_its_own_code() {
    let stubborn = Stubborn::default();
    // Under the stack alone: tonic's client has a timer of its own, which would race with ours.
    let mut server = call::layer(CancellationToken::new()).layer(FleetServiceServer::new(stubborn.clone()));
    let request = |method: &str| {
        http::Request::builder()
            .uri(format!("/caravan.v1.FleetService/{method}"))
            .header("content-type", "application/grpc")
            .header("grpc-timeout", "20m")
            .body(Body::new("\0\0\0\0\0".to_owned()))
            .expect("a request")
    };
    let answer = server.call(request("ListExecutors")).await.expect("infallible");
    assert_eq!(call::code(answer.headers()), Some(Code::DeadlineExceeded));
    timeout(Duration::from_secs(5), stubborn.dropped.cancelled()).await.expect("the handler is dropped");

    let answer = server.call(request("WatchFleet")).await.expect("infallible");
    let trailers = trailers(answer.into_body()).await;
    assert_eq!(call::code(&trailers), Some(Code::DeadlineExceeded));
}

async fn trailers(mut body: Body) -> http::HeaderMap {
    loop {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        let frame = frame.expect("trailers come before the end").expect("no error");
        if let Ok(trailers) = frame.into_trailers() {
            return trailers;
        }
    }
}

#[tokio::test]
async fn a_panic_is_an_internal_error_and_the_connection_lives() {
    let running = running(Duration::ZERO).await;
    let mut client = FleetServiceClient::new(running.channel.clone());
    let status = client.list_profiles(ListProfilesRequest::default()).await.expect_err("it panics");
    assert_eq!((status.code(), reason(&status).as_deref()), (Code::Internal, Some("INTERNAL")));

    let mut request = Request::new(WatchFleetRequest {});
    request.metadata_mut().insert("panic", "yes".parse().expect("a value"));
    let stream = client.watch_fleet(request).await.expect("a stream").into_inner();
    let last = stream.collect::<Vec<_>>().await.pop().expect("an end");
    let status = last.expect_err("the stream panics");
    assert_eq!(status.code(), Code::Internal);
}

#[tokio::test]
async fn errors_link_to_where_the_pages_are_served() {
    let error_help_url = "https://wiki.example/errors/".to_owned();
    let running = running_with(Duration::ZERO, Options { error_help_url, ..Options::default() }).await;
    let mut client = FleetServiceClient::new(running.channel.clone());
    let status = client.list_profiles(ListProfilesRequest::default()).await.expect_err("it panics");
    assert_eq!(help(&status).as_deref(), Some("https://wiki.example/errors/INTERNAL.md"));

    let mut stream = client.watch_fleet(WatchFleetRequest {}).await.expect("a stream").into_inner();
    stream.message().await.expect("a first message");
    running.shutdown.trigger();
    let status = stream.message().await.expect_err("the stream is cut");
    assert_eq!(help(&status).as_deref(), Some("https://wiki.example/errors/UNAVAILABLE.md"));
    assert_eq!(retry_delay(&status), Some(Duration::from_secs(1)), "nothing else of it changes");
}

#[tokio::test]
async fn health_and_reflection_name_what_is_served() {
    let running = running(Duration::ZERO).await;
    let mut health = HealthClient::new(running.channel.clone());
    for service in ["", "caravan.v1.FleetService"] {
        let answer = health.check(HealthCheckRequest { service: service.into() }).await.expect("an answer");
        assert_eq!(answer.into_inner().status, 1, "{service} is serving");
    }
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut reflection = ServerReflectionClient::new(running.channel.clone());
    let mut answers = reflection
        .server_reflection_info(futures::stream::iter([request]))
        .await
        .expect("an answer")
        .into_inner();
    let answer = answers.message().await.expect("no error").and_then(|a| a.message_response);
    let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("not a list: {answer:?}") };
    let names: Vec<_> = list.service.into_iter().map(|s| s.name).collect();
    assert!(names.contains(&"caravan.v1.FleetService".to_owned()), "{names:?}");
    assert!(!names.contains(&"caravan.v1.WorkService".to_owned()), "{names:?}");
}
