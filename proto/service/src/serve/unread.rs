//! Requests that cannot be read are their client's mistake. tonic answers them with codes of its own, as if the server
//! were at fault, or should be asked again, and without a reason.

use caravan_proto::error::{Reason, reason};
use http::Response;
use tonic::{Code, Status, body::Body};
use tower::util::MapResponseLayer;

use crate::identity::NO_METHOD;

/// Lets what tonic says of a request that it cannot read be INVALID_ARGUMENT, or UNIMPLEMENTED as the protocol has it
/// for what it does not know, with a reason.
pub(super) fn layer() -> MapResponseLayer<fn(Response<Body>) -> Response<Body>> {
    MapResponseLayer::new(blame)
}

/// The service's own errors have a reason, and what goes wrong behind the head of an answer is no fault of the request.
fn blame(mut response: Response<Body>) -> Response<Body> {
    let status = Status::from_header_map(response.headers());
    if let Some(status) = status.filter(|status| reason(status).is_none()).and_then(|status| named(&status)) {
        // It fails for a message that is no header's value, and this one came as one.
        let _ = status.add_header(response.headers_mut());
    }
    response
}

/// A status of tonic's with a reason, if it is of reading a request.
fn named(status: &Status) -> Option<Status> {
    let said = status.message();
    Some(match status.code() {
        // No protobuf, no frame, none at all; a frame that is too long; one that is so unpacked.
        Code::Internal | Code::OutOfRange | Code::ResourceExhausted => {
            Reason::InvalidArgument.status(format!("the request cannot be read: {said}"))
        }
        Code::Unimplemented if said.is_empty() => Reason::Unimplemented.status(NO_METHOD),
        // Compressed in another way than `grpc-accept-encoding` of the answer says.
        Code::Unimplemented => {
            Reason::Unimplemented.status(format!("the request cannot be read: {said}: send it plain"))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use caravan_proto::{error::help, v1::fleet_service_server::FleetServiceServer};
    use tower::{Layer as _, ServiceExt as _};

    use super::{super::tests::Stubborn, *};

    /// The status that a call with this body is answered with, by a server that takes messages of 16 bytes.
    async fn answer(body: &'static [u8]) -> Status {
        answer_of(http::Request::builder().uri("/caravan.v1.FleetService/ListModels"), body).await
    }

    async fn answer_of(head: http::request::Builder, body: &'static [u8]) -> Status {
        let server = FleetServiceServer::new(Stubborn::default()).max_decoding_message_size(16);
        let request = head
            .header("content-type", "application/grpc")
            .body(Body::new(http_body_util::Full::from(body)))
            .expect("a request");
        let answer = layer().layer(server).oneshot(request).await.expect("infallible");
        Status::from_header_map(answer.headers()).expect("a status")
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_the_clients_mistake() {
        assert_eq!(answer(b"\0\0\0\0\0").await.code(), Code::Unimplemented, "the handler's");
        for (body, what) in [
            (&b""[..], "no message"),
            (b"\0\0\0\0\x02\x0a\x05", "no protobuf"),
            (b"\0\0\0\0\x05\x08", "a frame that is cut off"),
            (b"\0\0\0", "a frame that hardly begins"),
            (b"\x07\0\0\0\0", "a flag that there is not"),
            (b"\x01\0\0\0\0", "compressed in no way that was said"),
            (b"\0\0\0\0\x20................................", "a message that is too long"),
        ] {
            let status = answer(body).await;
            assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status}");
            assert_eq!(reason(&status).as_deref(), Some("INVALID_ARGUMENT"), "{what}");
            assert_eq!(help(&status).as_deref(), Some("docs/errors/INVALID_ARGUMENT.md"), "{what}");
            assert!(status.message().starts_with("the request cannot be read: "), "{status}");
        }
    }

    #[tokio::test]
    async fn what_is_not_known_here_has_a_reason_and_a_way_out() {
        let head = || http::Request::builder().uri("/caravan.v1.FleetService/ListModels");
        let compressed = answer_of(head().header("grpc-encoding", "gzip"), b"\x01\0\0\0\0").await;
        assert!(compressed.message().ends_with(": send it plain"), "{compressed}");
        assert!(compressed.metadata().contains_key("grpc-accept-encoding"), "{compressed:?}");
        let nowhere = answer_of(head().uri("/caravan.v1.FleetService/Scatter"), b"\0\0\0\0\0").await;
        assert_eq!(nowhere.message(), NO_METHOD);
        for status in [compressed, nowhere] {
            assert_eq!(status.code(), Code::Unimplemented, "{status}");
            assert_eq!(reason(&status).as_deref(), Some("UNIMPLEMENTED"), "{status}");
        }
    }

    #[test]
    fn what_has_a_reason_keeps_it() {
        for reason in [Reason::Internal, Reason::StorageFull, Reason::InvalidOffset] {
            let answer = blame(reason.status("said by the service").into_http());
            let status = Status::from_header_map(answer.headers()).expect("a status");
            assert_eq!((status.code(), status.message()), (reason.code(), "said by the service"));
        }
    }
}
