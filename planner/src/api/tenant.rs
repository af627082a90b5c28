use caravan_proto::{Tenant, error::Reason};
use caravan_service::identity::Principal;
use tonic::{Request, Status};

/// Who makes a call.
pub(super) fn principal<T>(request: &Request<T>) -> Result<&Principal, Status> {
    let nobody = || Reason::Internal.status("a defect of the server: nobody was asked who makes the call");
    request.extensions().get().ok_or_else(nobody)
}

/// Whose files and batches a call is about: those of the tenant for whom it is made, and no others.
pub(super) fn tenant<T>(request: &Request<T>) -> Result<Tenant, Status> {
    principal(request).map(|principal| principal.tenant.clone())
}

/// A tenant by its name in the field `tenant`; none if it is empty.
pub(super) fn named(given: &str) -> Result<Option<Tenant>, Status> {
    let wrong = |error| Reason::InvalidArgument.field("tenant", format!("tenant names none: {error}"));
    Some(given).filter(|given| !given.is_empty()).map(str::parse).transpose().map_err(wrong)
}
