//! Adding up requests and tokens: numbers of different bases give a mixed number.

use caravan_proto::{
    Tenant,
    v1::{Basis, Usage},
};
use jiff::civil::Date;

use super::Record;

/// Requests that became final.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Tally {
    /// Answered.
    pub succeeded: i64,
    /// Failed.
    pub failed: i64,
    /// Tokens of both.
    pub usage: Usage,
}

/// Where what a tenant used of a model on one day stands among all: by tenant, then by day, then by model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageKey {
    /// Whose it is.
    pub tenant: Tenant,
    /// The day in UTC on which the results were committed.
    pub day: Date,
    /// The model, without `:latest`.
    pub model: String,
}

/// What a tenant used of a model on one day.
#[derive(Debug, Clone, PartialEq)]
pub struct DailyUsage {
    /// What it is of.
    pub key: UsageKey,
    /// Requests with their tokens.
    pub tally: Tally,
}

/// Which usage a list shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsageListing {
    /// Only this tenant's.
    pub tenant: Option<Tenant>,
    /// Only of this day and later ones.
    pub first: Option<Date>,
    /// Only of this day and earlier ones.
    pub last: Option<Date>,
    /// Only what stands behind this.
    pub after: Option<UsageKey>,
    /// At most so many.
    pub limit: i64,
}

// === impl Tally ===

impl Tally {
    /// Requests, answered or failed.
    #[must_use]
    pub fn requests(&self) -> i64 {
        self.succeeded + self.failed
    }

    /// Both together.
    #[must_use]
    pub(super) fn and(&self, other: &Self) -> Self {
        Self {
            succeeded: self.succeeded + other.succeeded,
            failed: self.failed + other.failed,
            usage: sum(&self.usage, &other.usage),
        }
    }

    pub(super) fn add(&mut self, record: &Record) {
        self.usage = sum(&self.usage, &record.usage);
        if record.succeeded {
            self.succeeded += 1;
        } else {
            self.failed += 1;
        }
    }
}

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
