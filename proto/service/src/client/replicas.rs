use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http_body_util::{BodyExt as _, Full};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::{Code, Status, TimeoutExpired, body::Body};
use tower::{Service, ServiceExt as _};
use url::Url;

use super::{
    Error, Options,
    body::{Bound, Lender, Silent},
    credential::Credential,
    dial::{Dialer, tls_for},
    replica::{Replica, State, Watcher},
};

/// Replicas of one database hear at different moments that it is away.
const SETTLE: Duration = Duration::from_secs(2);

type Request = http::Request<Body>;
type Response = http::Response<Body>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A channel to whichever of several servers serves. Each is watched over a connection of its own, and a
/// call goes to the first in the list that says it serves. One that could not be delivered goes to
/// the next: always if nothing of it was sent, and if it only reads also when the answer was
/// UNAVAILABLE. An answer carries its [`Replica`] as an extension. Cheap to clone; the servers are watched
/// until the last clone is gone.
#[derive(Clone)]
pub struct Replicas {
    inner: Arc<Inner>,
}

struct Inner {
    credential: Credential,
    replicas: Vec<Replica>,
    changes: watch::Sender<()>,
    /// How long the first word of a server is waited for.
    first_word: Duration,
    _watchers: JoinSet<()>,
}

/// What is done with the body of a request that may have to go elsewhere.
enum Message {
    /// A read's: kept, and sent as often as needed.
    Kept(bytes::Bytes),
    /// Sent once.
    Lent(Lender),
}

// === impl Replicas ===

impl Replicas {
    /// The servers at these addresses, in order of preference.
    ///
    /// # Errors
    /// If the list is empty, one of them is no URL of a server, no TLS can be made of the files, or the credential
    /// cannot be used.
    pub fn new(servers: &[Url], options: &Options) -> Result<Self, Error> {
        if servers.is_empty() {
            return Err(Error::None);
        }
        options.check("client")?;
        let credential = Credential::of(options)?;
        let tls = tls_for(servers, options)?;
        let changes = watch::Sender::new(());
        let (mut replicas, mut watchers) = (Vec::new(), JoinSet::new());
        for url in servers {
            let dialer = Dialer::new(url, options, tls.as_ref())?;
            let replica = Replica::new(url.as_str(), &dialer, changes.clone());
            watchers.spawn(Watcher::new(replica.clone(), dialer, options).run());
            replicas.push(replica);
        }
        let first_word = options.health_timeout();
        Ok(Self { inner: Arc::new(Inner { credential, replicas, changes, first_word, _watchers: watchers }) })
    }

    /// The servers, in order of preference.
    #[must_use]
    pub fn all(&self) -> &[Replica] {
        &self.inner.replicas
    }

    /// The state of the best one.
    #[must_use]
    pub fn state(&self) -> State {
        self.all().iter().map(Replica::state).min().unwrap_or(State::Down)
    }

    /// Waits until the best one is heard, or found not to answer: no longer than a server may be silent.
    pub async fn heard(&self) -> State {
        let mut changes = self.inner.changes.subscribe();
        let known = async {
            while self.all().iter().any(|replica| replica.state() == State::Unknown)
                && self.state() != State::Serving
            {
                if changes.changed().await.is_err() {
                    break;
                }
            }
        };
        let _known_or_late = timeout(self.inner.first_word, known).await;
        self.state()
    }

    /// Waits for a change of any server's state.
    pub async fn changed(&self) {
        let mut changes = self.inner.changes.subscribe();
        // The sender lives as long as this.
        let _always = changes.changed().await;
    }

    /// Waits until `replica` is to be left: it does not serve, and another one does, and so it stays for a moment.
    pub async fn better_than(&self, replica: &Replica) {
        let mut changes = self.inner.changes.subscribe();
        let is_better = || replica.state() != State::Serving && self.state() == State::Serving;
        loop {
            while !is_better() {
                if changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
            sleep(SETTLE).await;
            if is_better() {
                return;
            }
        }
    }

    /// All, the best first.
    async fn in_turn(&self) -> Vec<Replica> {
        self.heard().await;
        let mut replicas = self.all().to_vec();
        replicas.sort_by_key(Replica::state);
        replicas
    }

    async fn send(self, request: Request) -> Result<Response, BoxError> {
        let (mut head, body) = request.into_parts();
        self.inner.credential.show(&mut head.headers);
        let message = if is_read(head.uri.path()) {
            Message::Kept(body.collect().await?.to_bytes())
        } else {
            Message::Lent(Lender::new(body))
        };
        let mut turn = self.in_turn().await.into_iter().peekable();
        while let Some(replica) = turn.next() {
            let request = http::Request::from_parts(head.clone(), message.body());
            let answer = attempt(&replica, request).await;
            if turn.peek().is_none() || !message.may_go_elsewhere(&answer) {
                return answer;
            }
            tracing::debug!(server = replica.url(), "a call goes to the next server");
        }
        Err(Error::None.into())
    }
}

impl fmt::Debug for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all()).finish()
    }
}

impl Service<Request> for Replicas {
    type Response = Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}

/// One server's answer; an error once it is given up.
async fn attempt(replica: &Replica, request: Request) -> Result<Response, BoxError> {
    let life = replica.life();
    let mut channel = life.channel;
    let call = async { channel.ready().await?.call(request).await };
    let mut answer = tokio::select! {
        answer = call => answer?,
        () = life.given_up.cancelled() => return Err(Silent.into()),
    };
    answer.extensions_mut().insert(replica.clone());
    Ok(answer.map(|body| Body::new(Bound::new(body, life.given_up.cancelled_owned()))))
}

// === impl Message ===

impl Message {
    fn body(&self) -> Body {
        match self {
            Self::Kept(bytes) => Body::new(Full::new(bytes.clone())),
            Self::Lent(lender) => lender.lend(),
        }
    }

    fn may_go_elsewhere(&self, answer: &Result<Response, BoxError>) -> bool {
        match (self, answer) {
            (Self::Kept(_), Ok(answer)) => code(answer) == Some(Code::Unavailable),
            (Self::Kept(_), Err(error)) => !is_late(&**error),
            (Self::Lent(_), Ok(_)) => false,
            (Self::Lent(lender), Err(error)) => lender.is_untouched() && !is_late(&**error),
        }
    }
}

/// The code of an answer that is an error and nothing else.
fn code(answer: &Response) -> Option<Code> {
    Status::from_header_map(answer.headers()).map(|status| status.code())
}

/// Whether the call's own deadline passed.
fn is_late(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut chain = std::iter::successors(Some(error), |error| error.source());
    chain.any(|error| error.is::<TimeoutExpired>())
}

/// Whether a method changes nothing, by the verbs of the contract's names.
fn is_read(path: &str) -> bool {
    const READS: [&str; 9] =
        ["Get", "List", "Query", "Watch", "Stream", "Download", "Fetch", "Check", "Verify"];
    let method = path.rsplit('/').next().unwrap_or_default();
    READS.iter().any(|verb| method.starts_with(verb))
}
