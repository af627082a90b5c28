//! Receivers that take what they are told, and such as do not.

use std::{collections::HashMap, time::Duration};

use caravan_proto::{Tenant, name::BatchId, v1};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};

use super::*;
use crate::store::{Creation, Micros, NewBatch, NewFile, Quota, State, StoreUrl, postgres};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PATIENCE: Duration = Duration::from_secs(20);

/// What a receiver does with a request.
#[derive(Debug, Clone)]
enum Does {
    Answers(u16),
    Redirects(String),
    /// Says nothing, and keeps the connection.
    Hangs,
}

/// A receiver that does one thing after the other, the last for ever.
struct Receiver {
    port: u16,
    requests: mpsc::Receiver<Received>,
    _tasks: JoinSet<()>,
}

struct Received {
    headers: HashMap<String, String>,
    body: String,
}

// === impl Receiver ===

impl Receiver {
    async fn start(does: &[Does]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, requests) = mpsc::channel(64);
        let (does, mut tasks) = (does.to_vec(), JoinSet::new());
        tasks.spawn(async move {
            let mut open = Vec::new();
            for index in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                sender.send(read(&mut stream).await).await.unwrap();
                let head = match &does[index.min(does.len() - 1)] {
                    Does::Hangs => {
                        open.push(stream);
                        continue;
                    }
                    Does::Answers(status) => format!("HTTP/1.1 {status} X\r\n"),
                    Does::Redirects(url) => format!("HTTP/1.1 307 X\r\nlocation: {url}\r\n"),
                };
                stream.write_all(format!("{head}content-length: 0\r\n\r\n").as_bytes()).await.unwrap();
            }
        });
        Self { port, requests, _tasks: tasks }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    async fn next(&mut self) -> Received {
        timeout(PATIENCE, self.requests.recv()).await.expect("in time").expect("a request")
    }
}

async fn read(stream: &mut TcpStream) -> Received {
    let mut bytes = Vec::new();
    loop {
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "cut off");
        let text = String::from_utf8(bytes.clone()).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let headers: HashMap<_, _> = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        if body.len() == headers["content-length"].parse::<usize>().unwrap() {
            return Received { headers, body: body.to_owned() };
        }
    }
}

fn options(allow: &[&str]) -> Options {
    Options {
        secrets: [("default".to_owned(), SECRET.to_owned().try_into().unwrap())].into(),
        allow: allow.iter().map(|allowed| (*allowed).to_owned()).collect(),
        allow_http: true,
        timeout_seconds: 1,
        ..Options::default()
    }
}

/// A store with one batch, which was cancelled.
async fn ended(directory: &std::path::Path, webhook: &str) -> (Arc<dyn Store>, BatchId) {
    let url = StoreUrl::sqlite(directory.join("caravan.db"));
    let store = url.open(postgres::Options::default()).await.unwrap();
    let (id, now) = (caravan_proto::name::FileId::now(), store.now().await.unwrap());
    let file = NewFile {
        id,
        tenant: Tenant::default(),
        upload_id: None,
        filename: "f".into(),
        purpose: v1::file::Purpose::Batch,
        created: now,
    };
    store.open_file(&file).await.unwrap();
    store.close_file(id, &format!("{:x?}", Sha256::digest(b""))).await.unwrap();
    let metadata = [("team".to_owned(), "search".to_owned())].into();
    let spec = v1::Batch { webhook: webhook.into(), metadata, ..Default::default() };
    let batch = BatchId::now();
    let new = NewBatch {
        id: batch,
        tenant: Tenant::default(),
        request_id: None,
        spec,
        input: id,
        created: now,
        deadline: None,
        retry: None,
        quota: Quota::default(),
    };
    assert!(matches!(store.create_batch(&new).await.unwrap(), Creation::Created(_)));
    assert_eq!(store.cancel(batch, now).await.unwrap().unwrap().state, State::Cancelled);
    (store, batch)
}

/// Tells until nothing is left to tell.
async fn tell(options: Options, store: &Arc<dyn Store>) {
    let webhooks = Webhooks::new(options, Arc::clone(store)).unwrap();
    let told = async {
        while !store.untold(Micros::MAX, 1).await.unwrap().is_empty() {
            webhooks.round().await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, told).await.expect("in time");
}

#[tokio::test]
async fn a_receiver_that_fails_twice_is_told_again_under_the_same_id() {
    let mut receiver = Receiver::start(&[Does::Answers(500), Does::Answers(429), Does::Answers(204)]).await;
    let directory = tempfile::tempdir().unwrap();
    let (store, batch) = ended(directory.path(), &receiver.url()).await;
    tell(options(&["127.0.0.0/8"]), &store).await;
    for _ in 0..3 {
        let Received { headers, body } = receiver.next().await;
        assert_eq!(
            (&headers["webhook-id"], &headers["content-type"]),
            (&batch.to_string(), &"application/json".to_owned())
        );
        let seconds = headers["webhook-timestamp"].parse().unwrap();
        let secret = secret::Secret::try_from(SECRET.to_owned()).unwrap();
        assert_eq!(headers["webhook-signature"], secret.sign(&batch.to_string(), seconds, &body));
        let notice: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (&notice["type"], &notice["data"]["status"]),
            (&"batch.cancelled".into(), &"cancelled".into())
        );
        assert_eq!(
            (&notice["data"]["id"], &notice["data"]["metadata"]["team"]),
            (&batch.to_string().into(), &"search".into())
        );
    }
    assert!(receiver.requests.try_recv().is_err(), "and then no more");
}

#[tokio::test]
async fn a_receiver_that_hangs_is_left_and_told_again() {
    let mut receiver = Receiver::start(&[Does::Hangs, Does::Answers(200)]).await;
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = ended(directory.path(), &receiver.url()).await;
    tell(options(&["127.0.0.1/32"]), &store).await;
    receiver.next().await;
    receiver.next().await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let mut inside = Receiver::start(&[Does::Answers(200)]).await;
    let mut receiver = Receiver::start(&[Does::Redirects(inside.url()), Does::Answers(410)]).await;
    let directory = tempfile::tempdir().unwrap();
    let (store, batch) = ended(directory.path(), &receiver.url()).await;
    let webhooks = Webhooks::new(options(&["127.0.0.0/8"]), Arc::clone(&store)).unwrap();
    webhooks.round().await.unwrap();
    receiver.next().await;
    assert_eq!(
        store.untold(Micros::MAX, 9).await.unwrap(),
        [Untold { batch, attempts: 1 }],
        "to be told again"
    );
    tell(options(&["127.0.0.0/8"]), &store).await;
    receiver.next().await;
    assert!(inside.requests.try_recv().is_err(), "nobody was there");
}

#[tokio::test]
async fn a_name_that_leads_inside_is_not_followed() {
    let mut receiver = Receiver::start(&[Does::Answers(200)]).await;
    let url = format!("http://localhost:{}/", receiver.port);
    let directory = tempfile::tempdir().unwrap();
    let (store, batch) = ended(directory.path(), &url).await;
    Webhooks::new(options(&[]), Arc::clone(&store)).unwrap().round().await.unwrap();
    assert_eq!(store.untold(Micros::MAX, 9).await.unwrap(), [Untold { batch, attempts: 1 }]);
    assert!(receiver.requests.try_recv().is_err(), "nobody was there");
    tell(options(&["LOCALHOST"]), &store).await;
    receiver.next().await;
}

#[tokio::test]
async fn whoever_has_been_told_of_for_a_day_is_not_told_any_more() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = ended(directory.path(), "http://127.0.0.1:1/").await;
    tell(Options { give_up_hours: 0, ..options(&["127.0.0.1/32"]) }, &store).await;
}

#[test]
fn what_leads_inside_is_refused_at_once() {
    let options = Options { allow_http: false, ..options(&["10.2.0.0/16"]) };
    for good in [
        "https://hooks.example/a?b=c",
        "https://8.8.8.8:8443/",
        "https://10.2.3.4/",
        "https://[::ffff:10.2.3.4]/",
    ] {
        assert_eq!(options.check("default", good).map(|_| ()), Ok(()), "{good}");
    }
    for internal in [
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://10.3.0.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://169.254.169.254/latest",
    ] {
        assert_eq!(options.check("default", internal), Err(Wrong::Internal), "{internal}");
    }
    for wrong in [
        "",
        "hooks.example",
        "http://hooks.example/",
        "ftp://hooks.example/",
        "https://",
        "https://a:b@hooks.example/",
        "https://hooks.example/#f",
    ] {
        assert_eq!(options.check("default", wrong), Err(Wrong::Url), "{wrong}");
    }
    assert_eq!(options.check("other", "https://hooks.example/"), Err(Wrong::NoSecret));
}

#[test]
fn pauses_double_to_an_hour() {
    for (attempts, seconds) in [(0, 2), (1, 4), (5, 64), (30, 3_600)] {
        let pause = pause(attempts).as_secs_f64();
        assert!((f64::from(seconds)..f64::from(seconds) * 1.25).contains(&pause), "{attempts}: {pause}");
    }
}
