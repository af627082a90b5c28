//! What holds for any bytes that clients send, a function for each way in. `run.sh` has fuzzers look for bytes for which
//! it does not; the ones that taught them something are in `corpus`, which the tests of every change replay.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what does not hold panics: that is what fuzzers look for"
)]

mod jsonl;
mod multipart;
mod overlay;
mod proto;
mod tokens;

pub use jsonl::jsonl;
pub use multipart::multipart;
pub use proto::proto;
pub use tokens::tokens;

use caravan_proto::error::reason;
use tonic::{Code, Status};

/// One way in.
pub type Property = fn(&[u8]);

/// Every way in, by the name of its corpus.
pub const ALL: [(&str, Property); 4] =
    [("jsonl", jsonl), ("multipart", multipart), ("proto", proto), ("tokens", tokens)];

/// Bytes of an error's message at most: it repeats a few words of what came, never all of it.
const MESSAGE: usize = 2_048;

/// What a check refuses is the client's mistake, by a reason of the contract, in few words.
fn refused(status: &Status) {
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(reason(status).is_some(), "{status}");
    assert!(status.message().len() <= MESSAGE, "{status}");
}
