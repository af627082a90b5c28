//! Calls that anybody may make, who they are or not: health and reflection. They never take all the room that
//! there is for calls.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tokio::sync::Semaphore;
use tonic::body::Body;
use tower::{Layer, Service, layer::layer_fn};

use super::overloaded;
use crate::{connection::Answer, identity::is_open};

/// Bytes of a request of theirs, which names a service or a symbol.
pub(super) const MESSAGE_BYTES: usize = 4 << 10;

/// Lets so many of these calls be open at once; one more is told to try again.
pub(super) fn layer<S>(most: usize) -> impl Layer<S, Service = Bounded<S>> + Clone {
    let places = Arc::new(Semaphore::new(most));
    layer_fn(move |inner| Bounded { inner, places: Arc::clone(&places) })
}

#[derive(Debug, Clone)]
pub(super) struct Bounded<S> {
    inner: S,
    places: Arc<Semaphore>,
}

// === impl Bounded ===

impl<S> Service<Request<Body>> for Bounded<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if !is_open(request.uri().path()) {
            return Box::pin(self.inner.call(request));
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Box::pin(std::future::ready(Ok(overloaded().into_http())));
        };
        let answer = self.inner.call(request);
        Box::pin(async move { Ok(answer.await?.map(|body| Body::new(Answer::new(body, place)))) })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body::Frame;
    use http_body_util::StreamBody;
    use tonic::{Code, Status};
    use tower::{ServiceExt as _, service_fn};

    use super::*;

    #[tokio::test]
    async fn who_may_be_anybody_leaves_room_for_others() {
        let service = service_fn(async |_: Request<Body>| {
            let open = futures::stream::pending::<Result<Frame<Bytes>, Status>>();
            Ok(Response::new(Body::new(StreamBody::new(open))))
        });
        let bounded = layer(1).layer(service);
        let call = async |path: &str| {
            let request = Request::builder().uri(path).body(Body::default()).expect("a request");
            bounded.clone().oneshot(request).await.expect("infallible")
        };
        let watched = call("/grpc.health.v1.Health/Watch").await;
        let code =
            |answer: &Response<Body>| Status::from_header_map(answer.headers()).map(|status| status.code());
        assert_eq!(code(&watched), None, "let in");
        for path in
            ["/grpc.health.v1.Health/Check", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"]
        {
            assert_eq!(code(&call(path).await), Some(Code::Unavailable), "{path}");
        }
        assert_eq!(code(&call("/caravan.v1.FileService/ListFiles").await), None);
        drop(watched);
        assert_eq!(code(&call("/grpc.health.v1.Health/Check").await), None, "there is room again");
    }
}
