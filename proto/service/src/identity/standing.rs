//! Calls that go on: a key that is revoked ends those that are open.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use http_body::{Body, Frame, SizeHint};
use tokio::time::sleep;
use tonic::Status;

use super::{KeyHash, authenticator::Authenticator, refusal::Refusal};

/// Resolves once the key of a call is not good any more. Clones ask once for all of them.
pub type Gone = Shared<BoxFuture<'static, Status>>;

/// The body of an answer that ends early if the caller's key is `gone`: with what `end` makes of the status.
pub struct Standing<B: Body> {
    body: B,
    gone: Gone,
    end: End<B>,
    ended: bool,
}

type End<B> = fn(Status) -> Result<Frame<<B as Body>::Data>, <B as Body>::Error>;

/// Asks again and again of a key that was good, each time that what was heard of it is old. That nobody can be
/// asked is no reason to end.
pub(super) fn gone(authenticator: Arc<Authenticator>, key: KeyHash) -> Gone {
    let gone = async move {
        loop {
            sleep(authenticator.keys.time()).await;
            if let Ok(None) = authenticator.keys.of(key).await {
                return Refusal::UnknownKey.into();
            }
        }
    };
    gone.boxed().shared()
}

// === impl Standing ===

impl<B: Body> Standing<B> {
    /// `body`, until `gone`.
    pub fn new(body: B, gone: Gone, end: End<B>) -> Self {
        Self { body, gone, end, ended: false }
    }
}

impl<B: Body + Unpin> Body for Standing<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(status) = self.gone.poll_unpin(cx) {
            self.ended = true;
            return Poll::Ready(Some((self.end)(status)));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
        time::Duration,
    };

    use bytes::Bytes;
    use http::{HeaderMap, header::AUTHORIZATION};
    use http_body_util::{BodyExt as _, Empty, StreamBody};
    use tokio::time::{Instant, timeout};
    use tonic::Code;

    use super::*;
    use crate::identity::{Guard, Keys, Mode, Options, Principal};

    /// Knows every key, cannot be asked the second time, and knows none from the third on.
    #[derive(Default)]
    struct Forgetful {
        asked: AtomicUsize,
    }

    #[tonic::async_trait]
    impl Keys for Forgetful {
        async fn holder(&self, _: &KeyHash) -> Result<Option<Principal>, Status> {
            match self.asked.fetch_add(1, Relaxed) {
                0 => Ok(Some(Principal::anybody())),
                1 => Err(Status::unavailable("away")),
                _ => Ok(None),
            }
        }
    }

    fn shown(credential: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, format!("Bearer {credential}").parse().expect("a header"))])
    }

    fn guard(keys: Forgetful) -> Guard {
        let options = Options { mode: Mode::Required, ..Options::default() };
        Guard::new(&options, Arc::new(keys)).expect("good options")
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_ends_once_its_key_is_not_good_and_not_for_an_outage() {
        let asked = AtomicUsize::new(1);
        let gone = guard(Forgetful { asked }).gone(&shown("cvn_00000000_0")).expect("a key");
        let open = StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, Status>>());
        let began = Instant::now();
        let mut standing = Standing::new(open, gone, Err);
        let ended = standing.frame().await.expect("an end").expect_err("a status");
        assert_eq!(ended.code(), Code::Unauthenticated);
        assert_eq!(began.elapsed(), 2 * Options::default().key_cache());
        assert!(standing.frame().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_and_certificates_are_for_as_long_as_the_call() {
        assert!(guard(Forgetful::default()).gone(&shown("a.b.c")).is_none());
        assert!(guard(Forgetful::default()).gone(&HeaderMap::new()).is_none());
        assert!(Guard::default().gone(&shown("cvn_00000000_0")).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_with_an_end_of_its_own_has_that() {
        let gone = guard(Forgetful::default()).gone(&shown("cvn_00000000_0")).expect("a key");
        let empty = tonic::body::Body::new(Empty::<Bytes>::new());
        let mut standing = Standing::new(empty, gone, Err);
        let ended = timeout(Duration::from_secs(1), standing.frame()).await;
        assert!(ended.expect("at once").is_none());
    }
}
