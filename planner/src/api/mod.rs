//! The contract's services over the planner's parts: checks what clients send, maps what
//! happened to statuses, and does nothing else.

mod access;
mod batches;
mod files;
mod fleet;
mod latest;
mod lifecycle;
mod models;
mod name;
mod offer;
mod pace;
mod page;
mod status;
mod tenant;
mod usage;
mod view;
mod watch;
mod work;

/// What the services check of a request before they look at anything that is stored. Pure functions: what they refuse
/// is the client's mistake, with a reason and a field. They are public for who holds them to any bytes.
pub mod check {
    pub use super::{
        batches::{check_request_id as request_id, place as cursor},
        files::{check_start as upload_start, check_upload_id as upload_id, listing as files},
        lifecycle::kinds,
        models::check_name as model,
        page::{next as next_page_token, size as page_size, token as page_token},
        watch::revision as resume_token,
    };
}

pub use access::Access;
pub use batches::Batches;
pub use files::Files;
pub use fleet::FleetApi;
pub(crate) use latest::Latest;
pub use models::Models;
pub use status::status;
use tenant::{principal, tenant};
pub use work::Work;
