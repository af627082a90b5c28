//! The harness of the integration tests: Caravan's programs as real processes, inputs and
//! the audit of what came of them. It holds no test; those stand in `tests/suite`.

mod api;
mod audit;
mod caravan;
pub mod chaos;
mod fleet;
mod guarded;
mod input;
mod issuer;
mod objects;
mod predict;
mod process;
mod rows;
mod up;
mod wait;

pub use api::{Api, Line, chunk, finish, reason, sha256, start};
pub use audit::{Audit, audit};
pub use caravan::{Caravan, Ended, Submitted};
pub use fleet::Fleet;
pub use guarded::{Guarded, Keys};
pub use input::{Expected, Input, MODEL};
pub use issuer::Issuer;
pub use predict::{Predicted, Shape, predict, profile_of};
pub use process::{Process, binary, is_running, signal};
pub use rows::Rows;
pub use up::Up;
pub use wait::{LIMIT, until};
