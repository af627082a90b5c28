//! A vocabulary on its way from an executor's stream into the object store of a running planner.

use std::{path::Path, time::Duration};

use caravan_planner::Options;
use caravan_proto::{
    name::ExecutorId,
    v1::{self, connect_request::Message, work_service_client::WorkServiceClient},
};
use caravan_service::Shutdown;
use tokio::{sync::mpsc, task::JoinSet, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;

const PATIENCE: Duration = Duration::from_secs(20);

fn hello() -> v1::Hello {
    let model = v1::Model { name: "m".into(), vocabulary: "known".into(), ..Default::default() };
    let state = v1::engine::State::Ready.into();
    let engine = v1::Engine { id: "ollama-0".into(), state, models: vec![model], ..Default::default() };
    v1::Hello { executor: ExecutorId::now().name(), engines: vec![engine], ..Default::default() }
}

fn vocabulary(key: &str) -> Message {
    let definition = vec![7; 1 << 20];
    Message::Vocabulary(v1::Vocabulary { vocabulary: key.into(), definition, ..Default::default() })
}

fn sizes(directory: &Path) -> Vec<u64> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    // What is being written has a `#` in its name.
    let whole = entries.filter(|entry| !entry.file_name().to_string_lossy().contains('#'));
    whole.filter_map(|entry| Some(entry.metadata().ok()?.len())).collect()
}

#[tokio::test]
async fn what_an_executor_has_is_kept_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let options =
        Options { listen: "127.0.0.1:0".into(), data_dir: directory.path().into(), ..Options::default() };
    let service = options.build().await.unwrap();
    let (url, shutdown) = (service.url(), Shutdown::new(Duration::from_secs(5)));
    let mut running = JoinSet::new();
    running.spawn(Box::pin(service.run(shutdown.clone())));

    let (sender, messages) = mpsc::channel(8);
    for message in [Message::Hello(hello()), vocabulary("foreign"), vocabulary("known")] {
        sender.send(v1::ConnectRequest { message: Some(message) }).await.unwrap();
    }
    let channel = Endpoint::from_shared(url).unwrap().connect().await.unwrap();
    let mut client = WorkServiceClient::new(channel);
    let _incoming = client.connect(ReceiverStream::new(messages)).await.unwrap();
    let kept = directory.path().join("objects/vocabularies");
    let look = async {
        while sizes(&kept).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, look).await.expect("it is kept");
    // They are taken in order, so the foreign one was passed over.
    let [size] = sizes(&kept)[..] else { panic!("more than one") };
    assert!(size > 1 << 20, "{size}");
    drop(sender);
    shutdown.trigger();
    timeout(PATIENCE, running.join_next()).await.expect("it ends").unwrap().unwrap().unwrap();
}
