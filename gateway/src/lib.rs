//! The gateway: the public edge, stateless.
