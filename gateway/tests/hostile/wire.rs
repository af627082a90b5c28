//! HTTP/2 as bytes: what no library would send, and as much of it as there is time for.

use std::net::{IpAddr, SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpSocket,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

use crate::edge::PATIENCE;

/// The preface of HTTP/2 and empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
/// Codes of errors.
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// A connection: what the server says, and what it is told.
pub(crate) struct Wire(pub(crate) Said, pub(crate) Told);

pub(crate) struct Said(OwnedReadHalf);

pub(crate) struct Told(OwnedWriteHalf);

/// What the server sent.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    flags: u8,
    payload: Vec<u8>,
}

// === impl Frame ===

impl Frame {
    /// An answer that is nothing but a refusal.
    pub(crate) fn is_refusal(&self) -> bool {
        self.kind == HEADERS && self.flags & END_STREAM != 0
    }

    /// The code with which it ends a stream or the connection.
    pub(crate) fn error(&self) -> Option<u32> {
        let at = match self.kind {
            RST_STREAM => 0,
            GOAWAY => 4,
            _ => return None,
        };
        let code = self.payload.get(at..at + 4)?;
        Some(u32::from_be_bytes(code.try_into().expect("four bytes")))
    }
}

// === impl Wire ===

impl Wire {
    /// A connection from an address of this machine.
    pub(crate) async fn from(here: IpAddr, to: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((here, 0).into()).expect("an address of this machine");
        let (said, told) = socket.connect(to).await.expect("a connection").into_split();
        let mut wire = Self(Said(said), Told(told));
        wire.1.send(PREFACE).await.expect("it is open");
        wire
    }
}

// === impl Told ===

impl Told {
    /// Fails if the server has closed the connection.
    pub(crate) async fn send(&mut self, frames: &[u8]) -> std::io::Result<()> {
        timeout(PATIENCE, self.0.write_all(frames)).await.expect("the server reads")
    }
}

// === impl Said ===

impl Said {
    /// The next frame; none if the connection is closed.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        timeout(PATIENCE, self.0.read_exact(&mut head)).await.expect("in time").ok()?;
        let [a, b, c, kind, flags, ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        timeout(PATIENCE, self.0.read_exact(&mut payload)).await.expect("in time").ok()?;
        Some(Frame { kind, flags, payload })
    }

    /// The code with which the server ends the connection.
    pub(crate) async fn ended(&mut self) -> Option<u32> {
        let mut last = None;
        while let Some(frame) = self.frame().await {
            if frame.kind == GOAWAY {
                last = frame.error();
            }
        }
        last
    }
}

/// A frame of a stream.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The stream that is opened as this one.
pub(crate) fn stream(index: usize) -> u32 {
    u32::try_from(index * 2 + 1).expect("not so many")
}

/// The head of a gRPC call, whose message has yet to come.
pub(crate) fn call(path: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).expect("short")], text.as_bytes()].concat();
    let (path, kind) = (text(path), text("application/grpc"));
    // POST, http; then names of the static table, and one of its own.
    [&b"\x83\x86\x04"[..], &path, b"\x0f\x10", &kind, b"\x00\x02te\x08trailers"].concat()
}

/// The reset of a stream that the client is tired of.
pub(crate) fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

/// A call's only message, in protobuf.
pub(crate) fn message(stream: u32, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("short").to_be_bytes();
    frame(DATA, END_STREAM, stream, &[&[0], &length[..], bytes].concat())
}
