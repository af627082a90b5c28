use crate::Tokens;

/// The context to load a model with: the smallest of the ascending `tiers` that holds `needed`,
/// never above `limit`, the largest context of a slot.
pub fn tier(needed: Tokens, limit: Tokens, tiers: &[Tokens]) -> Tokens {
    let fitting = tiers.partition_point(|&tier| tier < needed);
    tiers.get(fitting).map_or(limit, |&tier| tier.min(limit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;

    #[test]
    fn smallest_that_fits_and_never_above_the_slot() {
        let tiers = Limits::default().tiers;
        let limit = Tokens(128_000);
        for (needed, loaded) in [
            (0, 2_048),
            (2_048, 2_048),
            (2_049, 4_096),
            (60_000, 65_536),
            (81_600, 128_000),
            (128_000, 128_000),
            (2_000_000, 128_000),
        ] {
            assert_eq!(tier(Tokens(needed), limit, &tiers), Tokens(loaded), "{needed}");
        }
        assert_eq!(tier(Tokens(100), Tokens(1_000), &[]), Tokens(1_000));
    }
}
