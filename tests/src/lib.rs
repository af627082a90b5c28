//! Integration tests and benches.
