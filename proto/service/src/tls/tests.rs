//! Real handshakes with the server stack, and files that change under it.

use std::{path::Path, time::Duration};

use caravan_test_certificates::{Authority, Files};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinSet,
    time::timeout,
};
use tonic::{Code, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use url::Url;

use super::*;
use crate::{
    client, listen,
    serve::{self, Services},
    shutdown::Shutdown,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A server with TLS, its authority and where the files are.
struct Secured {
    authority: Authority,
    directory: TempDir,
    files: Files,
    url: Url,
    _tasks: JoinSet<()>,
}

async fn secured(options: impl FnOnce(&Path) -> Options) -> Secured {
    let authority = Authority::new("Caravan tests").unwrap();
    let directory = tempfile::tempdir().unwrap();
    authority.write(directory.path()).unwrap();
    let files = authority.identity("first").unwrap().write(directory.path(), "server").unwrap();
    let options = Options {
        certificate: Some(files.certificate.clone()),
        key: Some(files.key.clone()),
        reload_seconds: 1,
        ..options(directory.path())
    };
    let tls = Server::new(&options).unwrap();
    let bound = listen::bind("127.0.0.1:0").await.unwrap().with_tls(tls);
    let url = bound.url().parse().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let shutdown = Shutdown::new(Duration::ZERO);
        serve::serve(bound, Services::new(), &serve::Options::default(), shutdown).await.unwrap();
    });
    Secured { authority, directory, files, url, _tasks: tasks }
}

impl Secured {
    fn ca(&self) -> ClientOptions {
        ClientOptions { ca: Some(self.directory.path().join("ca.pem")), ..ClientOptions::default() }
    }

    fn channel(&self, tls: ClientOptions) -> Channel {
        let options = client::Options { tls, ..client::Options::default() };
        client::channel(std::slice::from_ref(&self.url), &options).unwrap()
    }

    /// Whether a call over a connection of its own is answered.
    async fn answers(&self, tls: ClientOptions) -> Result<(), Status> {
        let mut health = HealthClient::new(self.channel(tls));
        health.check(HealthCheckRequest::default()).await.map(drop)
    }

    /// The name that the server shows on a new connection.
    async fn shown(&self) -> String {
        let client = Client::new(&self.ca()).unwrap();
        let address = self.url.socket_addrs(|| None).unwrap()[0];
        let socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let name = "localhost".try_into().unwrap();
        let stream = client.connector().connect(name, socket).await.unwrap();
        let certificates = stream.get_ref().1.peer_certificates().unwrap();
        let text = String::from_utf8_lossy(&certificates[0]).into_owned();
        ["first", "second"].into_iter().find(|name| text.contains(name)).unwrap().to_owned()
    }

    async fn until_shown(&self, name: &str) {
        let shown = async {
            while self.shown().await != name {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, shown).await.unwrap_or_else(|_| panic!("{name} is not shown"));
    }
}

fn none(_: &Path) -> Options {
    Options::default()
}

#[tokio::test]
async fn a_server_is_believed_if_an_authority_vouches_for_it() {
    let secured = secured(none).await;
    assert_eq!(secured.url.scheme(), "https");
    secured.answers(secured.ca()).await.unwrap();
    let stranger = secured.answers(ClientOptions::default()).await.unwrap_err();
    assert_eq!(stranger.code(), Code::Unavailable, "{stranger:?}");
    // TCP alone is no way in.
    let mut plain = secured.url.clone();
    plain.set_scheme("http").unwrap();
    let channel = client::channel(&[plain], &client::Options::default()).unwrap();
    HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap_err();
}

#[tokio::test]
async fn clients_must_be_vouched_for_where_they_must_show_a_certificate() {
    let required = |path: &Path| Options {
        client_ca: Some(path.join("ca.pem")),
        client_auth: ClientAuth::Required,
        ..Options::default()
    };
    let secured = secured(required).await;
    let with = |authority: &Authority, name: &str| {
        let files = authority.identity(name).unwrap().write(secured.directory.path(), name).unwrap();
        ClientOptions { certificate: Some(files.certificate), key: Some(files.key), ..secured.ca() }
    };
    secured.answers(with(&secured.authority, "friend")).await.unwrap();
    let stranger = with(&Authority::new("somebody else").unwrap(), "stranger");
    for (tls, alert) in [(stranger, "UnknownCA"), (secured.ca(), "CertificateRequired")] {
        // In TLS 1.3 a client hears of it after its own part of the handshake, and says more meanwhile.
        let status = format!("{:?}", secured.answers(tls).await.unwrap_err());
        assert!(status.contains(alert), "{status}");
    }
}

#[tokio::test]
async fn who_speaks_an_old_version_hears_why_it_is_refused() {
    let secured = secured(none).await;
    // Handshake, ClientHello, TLS 1.1; no session, one cipher, no compression.
    let hello = [&b"\x01\0\0\x29\x03\x02"[..], &[7; 32], b"\0\0\x02\0\x2f\x01\0"].concat();
    let record = [&b"\x16\x03\x01\0\x2d"[..], &hello].concat();
    let mut socket =
        tokio::net::TcpStream::connect(secured.url.socket_addrs(|| None).unwrap()[0]).await.unwrap();
    // More than the server reads before it refuses.
    socket.write_all(&[record, vec![7; 256 << 10]].concat()).await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, socket.read_to_end(&mut answer)).await.expect("in time").expect("no reset");
    // An alert, fatal: handshake_failure, since it names no signature algorithms, which came with 1.2.
    assert_eq!(answer, [0x15, 3, 3, 0, 2, 2, 40]);
}

#[tokio::test]
async fn a_new_certificate_is_shown_and_open_connections_stay() {
    let secured = secured(none).await;
    let mut open = HealthClient::new(secured.channel(secured.ca()));
    open.check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(secured.shown().await, "first");
    secured.authority.identity("second").unwrap().write(secured.directory.path(), "server").unwrap();
    secured.until_shown("second").await;
    open.check(HealthCheckRequest::default()).await.unwrap();
}

#[tokio::test]
async fn a_link_that_is_turned_elsewhere_is_followed() {
    let (authority, directory) = (Authority::new("links").unwrap(), tempfile::tempdir().unwrap());
    let root = directory.path();
    let version = |name: &str| {
        let to = root.join(name);
        std::fs::create_dir(&to).unwrap();
        authority.identity(name).unwrap().write(&to, "tls").unwrap();
        let next = root.join("next");
        std::os::unix::fs::symlink(name, &next).unwrap();
        std::fs::rename(next, root.join("data")).unwrap();
    };
    version("first");
    let options = Options {
        certificate: Some(root.join("data/tls.pem")),
        key: Some(root.join("data/tls.key")),
        reload_seconds: 1,
        ..Options::default()
    };
    let reads = Server::new(&options).unwrap().unwrap();
    let before = reads.acceptor(Protocol::Grpc);
    version("second");
    let changed = async {
        while std::ptr::eq(before.config().as_ref(), reads.acceptor(Protocol::Grpc).config().as_ref()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, changed).await.expect("the link's new end is read");
}

#[tokio::test]
async fn files_are_replaced_one_after_the_other() {
    let secured = secured(none).await;
    let good = secured.authority.identity("second").unwrap();
    // The key of the first one does not go with it.
    std::fs::write(&secured.files.certificate, &good.certificate).unwrap();
    let again = Server::new(&Options {
        certificate: Some(secured.files.certificate.clone()),
        key: Some(secured.files.key.clone()),
        ..Options::default()
    });
    let error = again.unwrap_err().to_string();
    assert!(error.contains("server.pem"), "{error}");
    assert_eq!(secured.shown().await, "first");
    std::fs::write(&secured.files.key, &good.key).unwrap();
    secured.until_shown("second").await;
}

#[tokio::test]
async fn a_client_shows_its_new_certificate_on_the_next_connection() {
    let required = |path: &Path| Options {
        client_ca: Some(path.join("ca.pem")),
        client_auth: ClientAuth::Required,
        ..Options::default()
    };
    let secured = secured(required).await;
    let stranger = Authority::new("somebody else").unwrap().identity("stranger").unwrap();
    let files = stranger.write(secured.directory.path(), "client").unwrap();
    let tls = ClientOptions {
        certificate: Some(files.certificate),
        key: Some(files.key),
        reload_seconds: 1,
        ..secured.ca()
    };
    let mut health = HealthClient::new(secured.channel(tls));
    health.check(HealthCheckRequest::default()).await.unwrap_err();
    secured.authority.identity("friend").unwrap().write(secured.directory.path(), "client").unwrap();
    let believed = async {
        while health.check(HealthCheckRequest::default()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, believed).await.expect("the new certificate is shown");
}

#[tokio::test]
async fn what_cannot_be_is_named() {
    let (authority, directory) = (Authority::new("mistakes").unwrap(), tempfile::tempdir().unwrap());
    let files = authority.identity("server").unwrap().write(directory.path(), "server").unwrap();
    let empty = directory.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let (certificate, key) = (Some(files.certificate), Some(files.key));
    let good = Options { certificate, key, ..Options::default() };
    let cases = [
        (Options { key: None, ..good.clone() }, "tls.key"),
        (Options { certificate: None, ..good.clone() }, "tls.certificate"),
        (Options { client_auth: ClientAuth::Required, ..good.clone() }, "tls.client_ca"),
        (Options { client_ca: good.certificate.clone(), ..good.clone() }, "tls.client_auth"),
        (Options { certificate: Some("/nowhere/server.pem".into()), ..good.clone() }, "/nowhere/server.pem"),
        (Options { certificate: Some(empty.clone()), ..good.clone() }, "empty.pem"),
        (Options { key: Some(empty.clone()), ..good.clone() }, "empty.pem"),
        (Options { key: good.certificate.clone(), ..good.clone() }, "server.pem"),
        (Options { client_ca: Some(empty), client_auth: ClientAuth::Required, ..good.clone() }, "empty.pem"),
    ];
    for (options, named) in cases {
        let error = Server::new(&options).unwrap_err().to_string();
        assert!(error.contains(named), "{named} is not in: {error}");
    }
    assert!(Server::new(&Options::default()).unwrap().is_none());
    let half = ClientOptions { key: good.key, ..ClientOptions::default() };
    assert!(Client::new(&half).unwrap_err().to_string().contains("tls.certificate"));
}

#[test]
fn versions_are_written_as_people_write_them() {
    let options: Options = toml::from_str("min_version = '1.3'\nclient_auth = 'optional'").unwrap();
    assert_eq!((options.min_version, options.client_auth), (MinVersion::Tls13, ClientAuth::Optional));
    assert!(toml::from_str::<Options>("min_version = '1.1'").is_err());
}
