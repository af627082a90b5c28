//! What a tenant's clients call things by, among those of other tenants.

use std::borrow::Cow;

use caravan_proto::Tenant;

/// Stands in no tenant's name and in no client's key.
const SEPARATOR: char = '\u{1f}';

/// A client's key (an `upload_id`, a `request_id`) as it is stored: unique for its tenant.
pub(super) fn scoped<'k>(tenant: &Tenant, key: &'k str) -> Cow<'k, str> {
    // As it was before there were tenants.
    if *tenant == Tenant::default() { key.into() } else { format!("{tenant}{SEPARATOR}{key}").into() }
}

/// What [`scoped`] was made of.
pub(super) fn unscoped(stored: String) -> String {
    match stored.split_once(SEPARATOR) {
        Some((_, key)) => key.to_owned(),
        None => stored,
    }
}
