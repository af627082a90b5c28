//! The planner as the gateway calls it: what of a request goes on, and what a failed
//! call says to the client.

use std::{error::Error as _, time::Duration};

use caravan_proto::{
    MAX_MESSAGE_BYTES,
    error::{Reason, reason},
    v1::{
        access_service_client::AccessServiceClient, batch_service_client::BatchServiceClient,
        credential_service_client::CredentialServiceClient, file_service_client::FileServiceClient,
        fleet_service_client::FleetServiceClient,
    },
};
use caravan_service::{
    client::{Replicas, traced},
    identity::Principal,
};
use tonic::{
    Code, Request, Response, Status, TimeoutExpired, codec::CompressionEncoding, metadata::MetadataMap,
    service::interceptor::InterceptedService,
};

/// Request metadata that the planner gets to see: the caller's trace and deadline. What
/// the gateway itself answers for (credentials, user agents) stays here.
const FORWARDED: [&str; 3] = ["traceparent", "tracestate", "grpc-timeout"];

/// When clients should try again: by then the channel has dialled anew.
const RETRY: Duration = Duration::from_secs(1);

/// A channel that hands the current trace on.
pub(crate) type Traced = InterceptedService<Replicas, fn(Request<()>) -> Result<Request<()>, Status>>;

/// Response metadata that speaks of the connection to the planner alone.
const OF_THE_HOP: [&str; 2] = ["grpc-encoding", "grpc-accept-encoding"];

/// The planners: whichever serves. A cheap clone; all clones share the connections.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    planners: Replicas,
    encoding: Option<CompressionEncoding>,
}

impl Upstream {
    /// One of `planners`; `encoding` compresses calls of files and batches both ways.
    pub(crate) fn new(planners: Replicas, encoding: Option<CompressionEncoding>) -> Self {
        Self { planners, encoding }
    }

    pub(crate) fn planners(&self) -> &Replicas {
        &self.planners
    }

    pub(crate) fn files(&self) -> FileServiceClient<Traced> {
        let client = FileServiceClient::with_interceptor(self.planners.clone(), traced as fn(_) -> _)
            .max_decoding_message_size(MAX_MESSAGE_BYTES);
        match self.encoding {
            Some(encoding) => client.send_compressed(encoding).accept_compressed(encoding),
            None => client,
        }
    }

    pub(crate) fn batches(&self) -> BatchServiceClient<Traced> {
        let client = BatchServiceClient::with_interceptor(self.planners.clone(), traced as fn(_) -> _)
            .max_decoding_message_size(MAX_MESSAGE_BYTES);
        match self.encoding {
            Some(encoding) => client.send_compressed(encoding).accept_compressed(encoding),
            None => client,
        }
    }

    pub(crate) fn access(&self) -> AccessServiceClient<Traced> {
        AccessServiceClient::with_interceptor(self.planners.clone(), traced as fn(_) -> _)
    }

    pub(crate) fn credentials(&self) -> CredentialServiceClient<Traced> {
        CredentialServiceClient::with_interceptor(self.planners.clone(), traced as fn(_) -> _)
    }

    pub(crate) fn fleet(&self) -> FleetServiceClient<Traced> {
        FleetServiceClient::with_interceptor(self.planners.clone(), traced as fn(_) -> _)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
    }
}

/// The request as the planner gets it: in the name of whoever makes it.
pub(crate) fn outbound<T>(request: Request<T>) -> Request<T> {
    let (metadata, extensions, message) = request.into_parts();
    let mut request = Request::new(message);
    *request.metadata_mut() = forwarded(&metadata);
    if let Some(principal) = extensions.get::<Principal>() {
        principal.write(request.metadata_mut());
    }
    request
}

fn forwarded(metadata: &MetadataMap) -> MetadataMap {
    let mut kept = MetadataMap::new();
    for key in FORWARDED {
        if let Some(value) = metadata.get(key) {
            kept.insert(key, value.clone());
        }
    }
    kept
}

/// The answer as the client gets it.
pub(crate) fn inbound<T>(mut response: Response<T>) -> Response<T> {
    for key in OF_THE_HOP {
        response.metadata_mut().remove(key);
    }
    response
}

/// What the planner says goes on as it is, details and metadata included. A failure of
/// the way to it (tonic keeps its cause as source), or of the gateway's own key, becomes UNAVAILABLE with a time to retry.
/// An INTERNAL without a reason is tonic's, of an answer that it cannot read: not the client's mistake.
pub(crate) fn failure(status: Status) -> Status {
    if is_of_the_gateway(&status) {
        return refused(&status, "this gateway is refused by the planner at the moment");
    }
    let Some(cause) = status.source() else {
        if status.code() == Code::Internal && reason(&status).is_none() {
            tracing::error!(%status, "the planner's answer cannot be read");
            return Reason::Internal.status("a defect of the server; its log has the rest");
        }
        return status;
    };
    let mut chain = std::iter::successors(Some(cause), |&error| error.source());
    if chain.any(|error| error.is::<TimeoutExpired>()) {
        return Reason::DeadlineExceeded.status("the call took longer than its deadline allows");
    }
    Reason::Unavailable.retry_after("no planner can be reached; try again", RETRY)
}

/// Whether it is the gateway's own key that the planner does not take: callers are known by then.
pub(crate) fn is_of_the_gateway(status: &Status) -> bool {
    status.code() == Code::Unauthenticated
}

/// What a caller is told of a gateway that the planner refuses, which is nothing that it could mend.
pub(crate) fn refused(status: &Status, told: &str) -> Status {
    tracing::error!(why = status.message(), "the planner refuses this gateway: see client.token_file");
    Reason::Unavailable.retry_after(told, RETRY)
}

/// The gateway goes away: resume elsewhere.
pub(crate) fn leaving() -> Status {
    Reason::Unavailable.retry_after("the gateway is going away; resume the call", RETRY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_planner_says_goes_on_and_what_cannot_be_read_is_a_defect() {
        let said = Reason::Internal.status("a handler panicked");
        assert_eq!(failure(said).message(), "a handler panicked");
        let unread =
            failure(Status::internal("failed to decode Protobuf message: Batch.name: invalid wire type"));
        assert_eq!((unread.code(), reason(&unread).as_deref()), (Code::Internal, Some("INTERNAL")));
        assert!(!unread.message().contains("Protobuf"), "{unread}");
    }

    #[test]
    fn a_gateway_that_is_refused_blames_no_caller() {
        let status = failure(Reason::Unauthenticated.status("no key that is good is this one"));
        assert_eq!(reason(&status).as_deref(), Some("UNAVAILABLE"));
        assert!(!status.message().contains("key"), "{status}");
    }
}
