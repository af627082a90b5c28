//! Errors in words.

/// An error with what caused it, in one line.
#[must_use]
pub fn explain(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
