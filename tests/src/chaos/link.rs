//! A TCP connection's way through the harness, where it can be cut, silenced and slowed.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    task::JoinSet,
    time::sleep,
};

/// Bytes that one direction of a connection holds at most, beside the kernel's own buffers.
const BUFFER_BYTES: usize = 16 << 10;
/// After an accept that failed: no file descriptor is free.
const PAUSE: Duration = Duration::from_millis(50);

/// How a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Weather {
    /// Bytes pass.
    #[default]
    Clear,
    /// Connections are reset, old and new ones.
    Cut,
    /// Half-open: nothing passes, not even an end, and nobody is told.
    Silent,
    /// Every piece of at most `BUFFER_BYTES` is held back so long.
    Late(Duration),
    /// So many bytes a second, each way of each connection.
    Slow(u32),
}

/// Where connections go on to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// To this port.
    Tcp(SocketAddr),
    /// To this socket.
    Unix(PathBuf),
}

/// What a link is told.
#[derive(Debug, Clone, Default)]
struct Told {
    weather: Weather,
    /// None: connections are reset.
    target: Option<Target>,
}

/// A port of this machine from which connections go on to wherever it points.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    told: watch::Sender<Told>,
    /// Ends with the link, and all connections with it.
    _serving: JoinSet<()>,
}

// === impl Link ===

impl Link {
    /// A link that points nowhere yet, dialled at this address.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn new(at: IpAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((at, 0)).await?;
        let address = listener.local_addr()?;
        let told = watch::Sender::default();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, told.subscribe()));
        Ok(Self { address, told, _serving: serving })
    }

    /// Where it listens, for as long as it lives.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// New connections go to `target`; those that are open end as their other end does.
    pub fn point_to(&self, target: Option<Target>) {
        self.told.send_modify(|told| told.target = target);
    }

    /// From now on, for what is open and what comes.
    pub fn be(&self, weather: Weather) {
        self.told.send_modify(|told| told.weather = weather);
    }
}

async fn serve(listener: TcpListener, told: watch::Receiver<Told>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((near, _)) => { connections.spawn(carry(near, told.clone())); }
                Err(_) => sleep(PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Carries one connection to its end.
async fn carry(mut near: TcpStream, mut told: watch::Receiver<Told>) {
    let Told { weather, target } = told.borrow_and_update().clone();
    let carried = match target.filter(|_| weather != Weather::Cut) {
        Some(Target::Tcp(address)) => match TcpStream::connect(address).await {
            Ok(mut far) => {
                // Without it small messages wait for acknowledgements; a failure only costs time.
                let _ = far.set_nodelay(true);
                let carried = join(&mut near, &mut far, told).await;
                if !carried {
                    reset(&far);
                }
                carried
            }
            Err(_) => false,
        },
        Some(Target::Unix(path)) => match UnixStream::connect(path).await {
            Ok(mut far) => join(&mut near, &mut far, told).await,
            Err(_) => false,
        },
        None => false,
    };
    if !carried {
        reset(&near);
    }
}

/// Carries both directions to their ends; false if they do not end in good order.
async fn join(
    near: &mut TcpStream,
    far: &mut (impl AsyncRead + AsyncWrite + Unpin),
    told: watch::Receiver<Told>,
) -> bool {
    let _ = near.set_nodelay(true);
    let mut cut = told.clone();
    let ((near_read, near_write), (far_read, far_write)) = (near.split(), split(far));
    let ways = async {
        tokio::try_join!(way(near_read, far_write, told.clone()), way(far_read, near_write, told.clone()))
    };
    tokio::select! {
        carried = ways => carried.is_ok(),
        _ = cut.wait_for(|told| told.weather == Weather::Cut) => false,
    }
}

/// Closing will send a reset instead of an end.
fn reset(stream: &TcpStream) {
    // It fails if the connection is gone, which is what is wanted.
    let _ = stream.set_zero_linger();
}

/// Carries one direction, to its end.
async fn way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut told: watch::Receiver<Told>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer).await;
        // What came meanwhile arrives when it is over, as by TCP's own repeats.
        let audible = told.wait_for(|told| told.weather != Weather::Silent).await;
        let weather = audible.map_err(io::Error::other)?.weather;
        let length = read?;
        if length == 0 {
            return to.shutdown().await;
        }
        match weather {
            Weather::Late(delay) => sleep(delay).await,
            Weather::Slow(rate) => sleep(Duration::from_secs(length as u64) / rate.max(1)).await,
            Weather::Clear | Weather::Cut | Weather::Silent => {}
        }
        to.write_all(&buffer[..length]).await?;
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::time::timeout;

    use super::*;

    /// Long enough for the loopback, short enough to wait for in vain.
    const MOMENT: Duration = Duration::from_millis(200);

    async fn pair(link: &Link) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        link.point_to(listener.local_addr().ok().map(Target::Tcp));
        let near = TcpStream::connect(link.address()).await.unwrap();
        (near, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn silence_holds_bytes_and_ends_back_and_then_they_come() {
        let link = Link::new(Ipv4Addr::LOCALHOST.into()).await.unwrap();
        let (mut near, mut far) = pair(&link).await;
        link.be(Weather::Silent);
        near.write_all(b"caravan").await.unwrap();
        near.shutdown().await.unwrap();
        let mut heard = Vec::new();
        assert!(timeout(MOMENT, far.read_to_end(&mut heard)).await.is_err(), "{heard:?}");
        link.be(Weather::Clear);
        far.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"caravan");
    }

    #[tokio::test]
    async fn a_cut_resets_what_is_open_and_what_comes() {
        let link = Link::new(Ipv4Addr::LOCALHOST.into()).await.unwrap();
        let (mut near, mut far) = pair(&link).await;
        near.write_all(b"c").await.unwrap();
        assert_eq!(far.read_u8().await.unwrap(), b'c');
        link.be(Weather::Cut);
        for end in [&mut near, &mut far] {
            assert_eq!(end.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        }
        let mut new = TcpStream::connect(link.address()).await.unwrap();
        assert!(new.read_u8().await.is_err());
    }
}
