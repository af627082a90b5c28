use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use caravan_proto::{access, error::Reason, v1::Role};
use http::{Extensions, HeaderMap, Request, Response};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use super::{
    Gone, Keys, Options, Principal, Standing, authenticator::Authenticator, refusal::Refusal, standing,
};
use crate::{config, trailers::trailers};

/// Services that tell of the server and nothing of what it holds.
const OPEN: [&str; 3] = [
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
];

/// What is said of a method that is not in the contract.
pub(crate) const NO_METHOD: &str = "there is no such method here";

/// Stands before every call of a server: finds out who makes it, whether they may, and puts the [`Principal`]
/// into the request's extensions. A layer, and cheap to clone. The default asks nobody who they are.
#[derive(Clone, Default)]
pub struct Guard {
    /// None: nobody is asked who they are.
    authenticator: Option<Arc<Authenticator>>,
    /// Whether a caller with role `gateway` is believed whom it names.
    believes: bool,
}

/// A service behind a guard.
#[derive(Debug, Clone)]
pub struct Guarded<S> {
    inner: S,
    guard: Guard,
}

// === impl Guard ===

impl Guard {
    /// One that asks as `options` say, and `keys` of keys.
    ///
    /// # Errors
    /// If the options cannot be met.
    pub fn new(options: &Options, keys: Arc<dyn Keys>) -> Result<Self, config::Error> {
        let authenticator = Authenticator::new(options, keys)?.map(Arc::new);
        Ok(Self { authenticator, believes: false })
    }

    /// The same, which believes gateways in whose name they call; where nobody is asked, everybody.
    #[must_use]
    pub fn believing_gateways(self) -> Self {
        Self { believes: true, ..self }
    }

    /// Whether anybody has to say who they are.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.authenticator.is_some()
    }

    /// Who makes a call with these headers over a connection with these extensions.
    ///
    /// # Errors
    /// UNAUTHENTICATED; UNAVAILABLE if nobody can be asked of a key or token.
    pub async fn identify(&self, headers: &HeaderMap, connection: &Extensions) -> Result<Principal, Status> {
        let caller = match &self.authenticator {
            Some(authenticator) => authenticator.authenticate(headers, connection).await?,
            None => Principal::anybody(),
        };
        if !self.believes || !caller.roles.has(Role::Gateway) {
            return Ok(caller);
        }
        let named = Principal::read(headers);
        Ok(named.map_err(Refusal::from)?.unwrap_or(caller))
    }

    /// What a call that was let in with these headers must end at, however long it is: its key is not good any
    /// more, which is known within twice `identity.key_cache_seconds`. None for a call without a key: a token is
    /// good for the calls that begin with it, and a certificate for its connection.
    #[must_use]
    pub fn gone(&self, headers: &HeaderMap) -> Option<Gone> {
        let authenticator = self.authenticator.as_ref()?;
        Some(standing::gone(Arc::clone(authenticator), Authenticator::key(headers)?))
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("asks", &self.asks()).field("believes", &self.believes).finish()
    }
}

/// Whether a method is one that anybody may call.
pub(crate) fn is_open(path: &str) -> bool {
    OPEN.iter().any(|service| path.starts_with(service))
}

/// Whether somebody may call a method.
///
/// # Errors
/// PERMISSION_DENIED, or UNIMPLEMENTED for a method that is not in the contract.
fn authorise(principal: &Principal, path: &str) -> Result<(), Status> {
    // As the protocol has it for what is not there; and nothing is, that has no entry.
    let needed = access::needed(path).ok_or_else(|| Reason::Unimplemented.status(NO_METHOD))?;
    principal.must_be_one(needed)
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, guard: self.clone() }
    }
}

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The clone that was polled ready is the one to call.
        let fresh = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        let guard = self.guard.clone();
        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            let path = head.uri.path();
            let mut gone = None;
            if !is_open(path) {
                let identified = guard.identify(&head.headers, &head.extensions).await;
                match identified.and_then(|principal| authorise(&principal, path).map(|()| principal)) {
                    Ok(principal) => {
                        head.extensions.insert(principal);
                        gone = guard.gone(&head.headers);
                    }
                    Err(status) => return Ok(status.into_http()),
                }
            }
            let Some(gone) = gone else { return inner.call(Request::from_parts(head, body)).await };
            // What comes in ends by itself too: whoever does not read what goes out is not asked for more.
            let body = Body::new(Standing::new(body, gone.clone(), Err));
            let answer = inner.call(Request::from_parts(head, body));
            tokio::select! {
                answer = answer => Ok(answer?.map(|body| Body::new(Standing::new(body, gone, |status| trailers(&status))))),
                status = gone.clone() => Ok(status.into_http()),
            }
        })
    }
}
