use caravan_proto::{
    error::Reason,
    name::{Id, Resource},
};
use tonic::Status;

/// The id that a request has in `field`, as a resource name or bare.
pub(super) fn parse<R: Resource>(field: &'static str, name: &str) -> Result<Id<R>, Status> {
    name.parse().map_err(|error| Reason::InvalidArgument.field(field, format!("{error}")))
}
