use std::{error::Error, time::Duration};

use caravan_proto::error::Reason;
use tonic::Status;

use crate::objects::Fault;

/// When a client may try again after a failure of database or object store.
const RETRY: Duration = Duration::from_secs(1);

/// The status for a failure that is not the client's: the log has the cause, the client a
/// time after which to try again.
pub fn status<E: Error + 'static>(error: E) -> Status {
    if let Some(status) = Fault::behind(&error).and_then(storage) {
        tracing::warn!(error = &error as &dyn Error, "a call failed");
        return status;
    }
    tracing::error!(error = &error as &dyn Error, "a call failed");
    Reason::Unavailable.retry_after("the planner cannot reach its database or object store; try again", RETRY)
}

/// What somebody has to do something about: the client, or who runs the planner.
fn storage(fault: &Fault) -> Option<Status> {
    let (reason, advice) = (fault.reason()?, fault.advice());
    Some(match fault.object() {
        Some(object) => reason.metadata(advice, [("object", object.to_owned())]),
        None => reason.status(advice),
    })
}
