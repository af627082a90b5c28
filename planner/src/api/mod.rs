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

pub use access::Access;
pub use batches::Batches;
pub use files::Files;
pub use fleet::FleetApi;
pub(crate) use latest::Latest;
pub use models::Models;
pub use status::status;
use tenant::{principal, tenant};
pub use work::Work;
