//! The contract `caravan.v1`: generated messages, clients and servers, and what
//! stands beside them by hand (names, of models too, errors, JSON, resume tokens, what a profile holds for). It holds no behaviour.

pub mod delta;
pub mod error;
pub mod json;
pub mod model;
pub mod name;
pub mod profile;
pub mod resume;

/// The generated package.
#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::large_enum_variant,
    reason = "generated code"
)]
pub mod v1 {
    include!("generated/caravan.v1.rs");
}

/// The descriptor set of the package, for reflection and JSON.
pub const DESCRIPTORS: &[u8] = include_bytes!("generated/caravan.v1.bin");

/// Largest message either side accepts, in bytes: a chunk payload or a result at its
/// bound (16 MiB of line) with room for framing.
pub const MAX_MESSAGE_BYTES: usize = 40 << 20;
