//! What was used, as it is asked for and told.

use caravan_proto::{
    Tenant,
    error::Reason,
    v1::{self, Role},
};
use caravan_service::identity::Principal;
use jiff::civil::Date;
use tonic::Status;

use super::{page, tenant};
use crate::store::{DailyUsage, UsageKey, UsageListing};

/// What a caller may see of what it asks for.
pub(super) fn listing(caller: &Principal, request: &v1::ListUsageRequest) -> Result<UsageListing, Status> {
    let (first, last) = (day("first_day", &request.first_day)?, day("last_day", &request.last_day)?);
    if first.zip(last).is_some_and(|(first, last)| last < first) {
        return Err(Reason::InvalidArgument.field("last_day", "last_day must not be before first_day"));
    }
    Ok(UsageListing {
        tenant: whose(caller, tenant::named(&request.tenant)?)?,
        first,
        last,
        after: token(&request.page_token)?,
        limit: page::size(request.page_size)?,
    })
}

/// An answer with these rows, which are the whole of a page of `limit` or less.
pub(super) fn page(rows: Vec<DailyUsage>, limit: i64) -> v1::ListUsageResponse {
    let full = i64::try_from(rows.len()).is_ok_and(|rows| rows == limit);
    let last = rows.last().filter(|_| full).map(|row| &row.key);
    let next_page_token =
        last.map(|UsageKey { tenant, day, model }| format!("{tenant}/{day}/{model}")).unwrap_or_default();
    v1::ListUsageResponse { usages: rows.into_iter().map(message).collect(), next_page_token }
}

/// Nobody but an admin sees another's, and an admin everybody's.
fn whose(caller: &Principal, wanted: Option<Tenant>) -> Result<Option<Tenant>, Status> {
    if caller.roles.has(Role::Admin) {
        return Ok(wanted);
    }
    if wanted.is_some_and(|wanted| wanted != caller.tenant) {
        caller.must_be(Role::Admin)?;
    }
    Ok(Some(caller.tenant.clone()))
}

fn day(field: &'static str, given: &str) -> Result<Option<Date>, Status> {
    if given.is_empty() {
        return Ok(None);
    }
    let wrong = || Reason::InvalidArgument.field(field, format!("{field} must be a day, e.g. 2026-07-01"));
    written(given).map(Some).ok_or_else(wrong)
}

/// A day in the one way in which it is written here.
fn written(day: &str) -> Option<Date> {
    day.parse().ok().filter(|parsed: &Date| parsed.to_string() == day)
}

/// A page token says where the last row of the page before stands.
fn token(given: &str) -> Result<Option<UsageKey>, Status> {
    if given.is_empty() {
        return Ok(None);
    }
    let wrong = || Reason::InvalidArgument.field("page_token", "page_token must come from the page before");
    let key = || {
        let mut parts = given.splitn(3, '/');
        let (tenant, day) = (parts.next()?.parse().ok()?, written(parts.next()?)?);
        let model = parts.next().filter(|model| !model.contains('\0'))?.to_owned();
        Some(UsageKey { tenant, day, model })
    };
    key().map(Some).ok_or_else(wrong)
}

fn message(DailyUsage { key, tally }: DailyUsage) -> v1::DailyUsage {
    v1::DailyUsage {
        tenant: key.tenant.to_string(),
        day: key.day.to_string(),
        model: key.model,
        requests: Some(v1::RequestCounts {
            total: tally.requests(),
            succeeded: tally.succeeded,
            failed: tally.failed,
        }),
        usage: Some(tally.usage),
    }
}

#[cfg(test)]
mod tests {
    use caravan_proto::{access::Roles, error};
    use tonic::Code;

    use super::*;
    use crate::store::Tally;

    fn caller(role: Role) -> Principal {
        Principal::new("mine".parse().unwrap(), "", Roles::NONE.and(role))
    }

    fn of(tenant: &str) -> v1::ListUsageRequest {
        v1::ListUsageRequest { tenant: tenant.into(), ..Default::default() }
    }

    #[test]
    fn nobody_but_an_admin_sees_another_tenants() {
        let seen = |role, tenant| {
            listing(&caller(role), &of(tenant)).map(|wanted| wanted.tenant.map(|tenant| tenant.to_string()))
        };
        for own in ["", "mine"] {
            assert_eq!(seen(Role::Read, own).unwrap().as_deref(), Some("mine"));
        }
        let status = seen(Role::Read, "theirs").unwrap_err();
        assert_eq!(error::reason(&status).as_deref(), Some("PERMISSION_DENIED"));
        assert_eq!(seen(Role::Admin, "theirs").unwrap().as_deref(), Some("theirs"));
        assert_eq!(seen(Role::Admin, "").unwrap(), None, "everybody's");
    }

    #[test]
    fn a_page_goes_on_where_the_one_before_ended() {
        let key = UsageKey {
            tenant: "mine".parse().unwrap(),
            day: "2026-02-28".parse().unwrap(),
            model: "a/b:c".into(),
        };
        let row = DailyUsage { key: key.clone(), tally: Tally::default() };
        assert_eq!(page(vec![row.clone()], 2).next_page_token, "", "the last page is not full");
        let page_token = page(vec![row], 1).next_page_token;
        let request = v1::ListUsageRequest { page_token, ..of("") };
        assert_eq!(listing(&caller(Role::Read), &request).unwrap().after, Some(key));
    }

    #[test]
    fn what_is_no_day_and_no_token_is_refused() {
        let refused = |request: v1::ListUsageRequest| {
            let status = listing(&caller(Role::Admin), &request).unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{request:?}");
        };
        for day in ["2026-02-30", "20260201", "2026-2-1", "2026-02-01T00:00", "today"] {
            refused(v1::ListUsageRequest { first_day: day.into(), ..of("") });
            refused(v1::ListUsageRequest { last_day: day.into(), ..of("") });
        }
        let (first_day, last_day) = ("2026-02-02".into(), "2026-02-01".into());
        refused(v1::ListUsageRequest { first_day, last_day, ..of("") });
        for token in ["mine", "mine/2026-02-01", "MINE/2026-02-01/m", "mine/today/m", "mine/2026-02-01/\0"] {
            refused(v1::ListUsageRequest { page_token: token.into(), ..of("") });
        }
        refused(of("NOBODY"));
    }
}
