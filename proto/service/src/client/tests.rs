use std::time::{Duration, Instant};

use tokio::{net::TcpListener, sync::watch, task::JoinSet, time::timeout};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use url::Url;

use super::{Options, Replica, Replicas, State};
use crate::{
    listen,
    serve::{self, Services},
    shutdown::Shutdown,
};

const PATIENCE: Duration = Duration::from_secs(10);

fn quick() -> Options {
    Options { health_millis: 50, health_timeout_millis: 300, ..Options::default() }
}

/// A server that serves while `fit`.
async fn server(at: &str, fit: watch::Receiver<bool>, tasks: &mut JoinSet<()>) -> (Url, Shutdown) {
    let bound = listen::bind(at).await.unwrap();
    let (url, shutdown) = (bound.url().parse().unwrap(), Shutdown::new(Duration::from_secs(5)));
    let handle = shutdown.clone();
    let services = Services::new().serving_while(fit);
    tasks.spawn(async move {
        serve::serve(bound, services, &serve::Options::default(), handle).await.unwrap();
    });
    (url, shutdown)
}

/// Which server answers.
async fn answers(replicas: &Replicas) -> String {
    let answer = HealthClient::new(replicas.clone()).check(HealthCheckRequest::default()).await.unwrap();
    let url = answer.extensions().get::<Replica>().unwrap().url().to_owned();
    format!("{url}/")
}

async fn until(replicas: &Replicas, state: &[State]) {
    let states = || replicas.all().iter().map(Replica::state).collect::<Vec<_>>();
    let reached = async {
        while states() != state {
            let _changed_or_late = timeout(Duration::from_millis(50), replicas.changed()).await;
        }
    };
    timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{state:?} wanted, {:?} seen", states()));
}

#[tokio::test]
async fn the_first_that_serves_answers() {
    let mut tasks = JoinSet::new();
    let (fit, is_fit) = watch::channel(true);
    let (_always, always) = watch::channel(true);
    let (one, _one) = server("127.0.0.1:0", is_fit, &mut tasks).await;
    let (two, leaves) = server("127.0.0.1:0", always.clone(), &mut tasks).await;
    let replicas = Replicas::new(&[one.clone(), two.clone()], &quick()).unwrap();
    until(&replicas, &[State::Serving, State::Serving]).await;
    assert_eq!(answers(&replicas).await, one.as_str());
    fit.send_replace(false);
    until(&replicas, &[State::NotServing, State::Serving]).await;
    assert_eq!(answers(&replicas).await, two.as_str());
    timeout(PATIENCE, replicas.better_than(&replicas.all()[0])).await.unwrap();

    // It is left while it drains, and its drain does not wait for who watches it.
    let began = Instant::now();
    leaves.trigger();
    timeout(PATIENCE, tasks.join_next()).await.unwrap().unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_secs(3), "drained in {:?}", began.elapsed());
    until(&replicas, &[State::NotServing, State::Down]).await;
    assert_eq!(answers(&replicas).await, one.as_str(), "better than nobody");
    assert_eq!(replicas.state(), State::NotServing);

    let address = format!("127.0.0.1:{}", two.port().unwrap());
    let _back = server(&address, always, &mut tasks).await;
    until(&replicas, &[State::NotServing, State::Serving]).await;
    assert_eq!(answers(&replicas).await, two.as_str());
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up_with_its_calls() {
    let mut tasks = JoinSet::new();
    let (_always, always) = watch::channel(true);
    let (good, _good) = server("127.0.0.1:0", always, &mut tasks).await;
    // Connections are made, and nothing is ever said on them.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Url = format!("http://{}", silent.local_addr().unwrap()).parse().unwrap();
    let alone = Replicas::new(std::slice::from_ref(&url), &quick()).unwrap();
    let call = HealthClient::new(alone.clone()).check(HealthCheckRequest::default()).await;
    let code = timeout(PATIENCE, async { call.unwrap_err().code() }).await.unwrap();
    assert!(matches!(code, Code::Unavailable | Code::Unknown), "{code:?}");

    let both = Replicas::new(&[url, good.clone()], &quick()).unwrap();
    let began = Instant::now();
    assert_eq!(answers(&both).await, good.as_str());
    assert!(began.elapsed() < Duration::from_secs(1), "answered after {:?}", began.elapsed());
    until(&both, &[State::Down, State::Serving]).await;
}

#[tokio::test]
async fn nobody_there_is_an_error_at_once() {
    // Bound and dropped: nobody listens there.
    let url: Url = listen::bind("127.0.0.1:0").await.unwrap().url().parse().unwrap();
    let replicas = Replicas::new(&[url], &quick()).unwrap();
    assert_eq!(replicas.heard().await, State::Down);
    let began = Instant::now();
    let status = HealthClient::new(replicas).check(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(began.elapsed() < Duration::from_secs(1));
}
