use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use opentelemetry::{KeyValue, metrics::Counter};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt as _};

use super::{
    Inbound, Options,
    admission::{Admission, Pending, Seat},
    answer::Answer,
    calls::{Call, Calls},
    opening::Opening,
};
use crate::{
    listen::Bound,
    metrics::Metric,
    peer::Peer,
    tls::{self, Protocol},
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Connections that ended before a call was made on them.
const TURNED_AWAY: Metric = Metric::new(
    "caravan.connection.turned_away",
    "{connection}",
    "connections that were closed before any call, by reason",
);

/// How long the next connection waits where the kernel gives none: out of file descriptors, mostly.
const PAUSE: Duration = Duration::from_millis(100);
/// How long an idle client may take to hear that its connection is closed.
const CLOSING: Duration = Duration::from_secs(5);
/// Streams that were reset before they were looked at, and after a violation of the protocol: beyond these
/// the connection is ended. The defaults of h2 and hyper, which answer CVE-2023-44487 and its kin.
const MAX_PENDING_RESETS: usize = 20;
const MAX_LOCAL_RESETS: usize = 1_024;

/// A port and what is served on it.
#[derive(Debug)]
pub struct Port<S, B> {
    /// The port, with TLS if it has any.
    pub bound: Bound,
    /// What is spoken.
    pub protocol: Protocol,
    /// Answers requests, which carry a [`Peer`] as extension.
    pub service: S,
    /// The answer where there are as many calls as there may be.
    pub overloaded: fn() -> Response<B>,
}

/// What every connection of a port needs. A cheap clone.
struct Host<S, B> {
    service: S,
    overloaded: fn() -> Response<B>,
    protocol: Protocol,
    builder: Arc<Builder<TokioExecutor>>,
    options: Options,
    tls: Option<tls::Server>,
    /// What is left of them for all connections.
    calls: Arc<Semaphore>,
    stop: CancellationToken,
    turned_away: Counter<u64>,
}

/// Serves until `stop`, then lets connections end once the calls on them have. Dropping the future ends them
/// at once.
pub async fn serve<S, B>(port: Port<S, B>, options: &Options, stop: impl Future<Output = ()>)
where
    S: Service<Request<Inbound>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let (listener, tls) = port.bound.into_parts();
    let host = Arc::new(Host {
        service: port.service,
        overloaded: port.overloaded,
        protocol: port.protocol,
        builder: Arc::new(builder(port.protocol, options)),
        options: options.clone(),
        tls,
        calls: Arc::new(Semaphore::new(options.max_calls)),
        stop: CancellationToken::new(),
        turned_away: TURNED_AWAY.counter(),
    });
    let mut connections = JoinSet::new();
    accept(listener, &host, &mut connections, stop).await;
    host.stop.cancel();
    while connections.join_next().await.is_some() {}
}

/// Until `stop`; then nobody can connect any more.
async fn accept<S, B>(
    listener: TcpListener,
    host: &Arc<Host<S, B>>,
    connections: &mut JoinSet<()>,
    stop: impl Future<Output = ()>,
) where
    S: Service<Request<Inbound>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let admission = Admission::new(&host.options);
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((socket, address)) => match admission.admit(address.ip()) {
                    Some(admitted) => {
                        let connection = Arc::clone(host).connection(socket, address, admitted);
                        connections.spawn(Box::pin(connection));
                    }
                    None => host.turn_away("full", address),
                },
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted");
                    sleep(PAUSE).await;
                }
            },
        }
    }
}

fn builder(protocol: Protocol, options: &Options) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    if protocol == Protocol::Grpc {
        builder = builder.http2_only();
    }
    // HTTP/1 reads bodies through the same buffer.
    let header_bytes = usize::try_from(options.max_header_bytes).unwrap_or(usize::MAX);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(options.header_seconds))
        .max_buf_size(header_bytes);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.max_concurrent_streams)
        .max_header_list_size(options.max_header_bytes)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_LOCAL_RESETS)
        .keep_alive_interval(options.keepalive())
        .keep_alive_timeout(Duration::from_secs(options.keepalive_timeout_seconds));
    builder
}

// === impl Host ===

impl<S, B> Host<S, B> {
    fn turn_away(&self, reason: &'static str, address: SocketAddr) {
        self.turned_away.add(1, &[KeyValue::new("reason", reason)]);
        tracing::debug!(reason, %address, "a connection was turned away");
    }
}

impl<S, B> Host<S, B>
where
    S: Service<Request<Inbound>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// One connection, from the accept to its end.
    async fn connection(
        self: Arc<Self>,
        socket: TcpStream,
        address: SocketAddr,
        (seat, pending): (Seat, Pending),
    ) {
        let opened_by = Instant::now() + self.options.handshake();
        settle(&socket, self.options.keepalive());
        let Some(tls) = &self.tls else {
            let peer = Peer { address, certificate: None };
            return self.drive(socket, peer, (&seat, pending), opened_by).await;
        };
        let handshake = tls.acceptor(self.protocol).accept(socket).into_fallible();
        match timeout_at(opened_by, handshake).await {
            Ok(Ok(stream)) => {
                let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                let certificate = shown.cloned().map(Arc::new);
                self.drive(stream, Peer { address, certificate }, (&seat, pending), opened_by).await;
            }
            Ok(Err((error, socket))) => {
                tracing::debug!(%error, %address, "no TLS");
                self.turn_away("tls", address);
                let _gone_or_late = timeout_at(opened_by, let_hear(socket)).await;
            }
            Err(_late) => self.turn_away("silent", address),
        }
    }

    /// Serves what was connected.
    async fn drive<Io>(&self, io: Io, peer: Peer, (seat, pending): (&Seat, Pending), opened_by: Instant)
    where
        Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let opened = Arc::new(Notify::new());
        let calls = Calls::new(Arc::clone(&self.calls), seat.calls());
        let address = peer.address;
        let service = service_fn(|request| {
            // The shortest requests of HTTP/1.0 are shorter than a preface.
            opened.notify_one();
            self.answer(request, peer.clone(), calls.clone())
        });
        let io = TokioIo::new(Opening::new(io, Arc::clone(&opened)));
        let mut connection = pin!(self.builder.serve_connection(io, service));
        tokio::select! {
            _ended = connection.as_mut() => return,
            () = opened.notified() => drop(pending),
            () = self.stop.cancelled() => {}
            () = sleep_until(opened_by) => return self.turn_away("silent", address),
        }
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(error, %address, "a connection broke");
                }
            }
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                let _broken_or_well = connection.await;
            }
            () = calls.idle(self.options.idle()) => {
                connection.as_mut().graceful_shutdown();
                let _closed_or_late = timeout(CLOSING, connection).await;
            }
        }
    }

    fn answer(
        &self,
        mut request: Request<Incoming>,
        peer: Peer,
        calls: Calls,
    ) -> impl Future<Output = Result<Response<Answer<B, Option<Call>>>, Infallible>> + Send + use<S, B> {
        let (service, overloaded) = (self.service.clone(), self.overloaded);
        let patience = self.options.patience();
        async move {
            let Some(call) = calls.begin() else {
                return Ok(overloaded().map(|body| Answer::new(body, None)));
            };
            request.extensions_mut().insert(peer);
            let request = request.map(|body| Inbound::new(body, patience));
            let answer = service.oneshot(request).await?;
            Ok(answer.map(|body| Answer::new(body, Some(call))))
        }
    }
}

/// Waits until the client has closed. What it still sends would have the kernel reset the connection, and with that
/// throw away the alert that says why.
async fn let_hear(mut socket: TcpStream) -> io::Result<()> {
    socket.shutdown().await?;
    tokio::io::copy(&mut socket, &mut tokio::io::sink()).await.map(drop)
}

/// Small writes go out at once, and a peer that vanished is noticed.
fn settle(socket: &TcpStream, keepalive: Duration) {
    let probes = socket2::TcpKeepalive::new().with_time(keepalive);
    let settled =
        socket.set_nodelay(true).and_then(|()| socket2::SockRef::from(socket).set_tcp_keepalive(&probes));
    if let Err(error) = settled {
        // The client has gone already: the next read says so.
        tracing::debug!(%error, "a connection keeps the kernel's settings");
    }
}
