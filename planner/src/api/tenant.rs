use caravan_proto::{Tenant, error::Reason};
use caravan_service::identity::Principal;
use tonic::{Request, Status};

/// Whose files and batches a call is about: those of the tenant for whom it is made, and no others.
pub(super) fn tenant<T>(request: &Request<T>) -> Result<Tenant, Status> {
    let principal = request.extensions().get::<Principal>();
    let nobody = || Reason::Internal.status("a defect of the server: nobody was asked who makes the call");
    principal.map(|principal| principal.tenant.clone()).ok_or_else(nobody)
}
