//! Adding up tokens: numbers of different bases give a mixed number.

use caravan_proto::v1::{Basis, Usage};

/// Both together.
pub(super) fn sum(a: &Usage, b: &Usage) -> Usage {
    Usage {
        prompt_tokens: a.prompt_tokens.saturating_add(b.prompt_tokens),
        prompt_basis: basis(a.prompt_basis, b.prompt_basis),
        evaluated_tokens: a.evaluated_tokens.saturating_add(b.evaluated_tokens),
        cached_tokens: a.cached_tokens.saturating_add(b.cached_tokens),
        cache_basis: basis(a.cache_basis, b.cache_basis),
        completion_tokens: a.completion_tokens.saturating_add(b.completion_tokens),
    }
}

/// What is not known adds nothing, so it leaves the other's basis.
fn basis(a: i32, b: i32) -> i32 {
    let unknown = Basis::Unspecified as i32;
    match (a, b) {
        (a, b) if a == b || b == unknown => a,
        (a, b) if a == unknown => b,
        _ => Basis::Mixed as i32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases_merge() {
        let (none, measured, estimated, mixed) =
            (Basis::Unspecified as i32, Basis::Measured as i32, Basis::Estimated as i32, Basis::Mixed as i32);
        assert_eq!(basis(none, none), none);
        assert_eq!(basis(none, measured), measured);
        assert_eq!(basis(estimated, none), estimated);
        assert_eq!(basis(measured, measured), measured);
        assert_eq!(basis(measured, estimated), mixed);
        assert_eq!(basis(mixed, measured), mixed);
    }
}
