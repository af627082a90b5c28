//! One line of an input: which endpoints there are, which fields a body may have, which
//! kind of engine honours what, and what makes a line invalid. Pure: no I/O, no clock.

mod endpoint;

pub use endpoint::{Dialect, Endpoint, EngineKind};
