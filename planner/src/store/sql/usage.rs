//! What tenants used, a row for each day and model.

use caravan_proto::Tenant;
use jiff::civil::Date;

use super::{
    super::{Connection, Database, Row},
    batches,
    cells::Cells,
};
use crate::store::{DailyUsage, Error, Tally, UsageKey, UsageListing, accept::Accepted};

/// More than this is never added at once, nor to what is more: whatever an executor tells, a sum stays one that the
/// database can hold.
const LARGEST: i64 = (1 << 62) - 1;

/// Rows with what is read of them: all, or those of one tenant.
macro_rules! rows {
    ($of:literal) => {
        concat!(
            "SELECT tenant, day, model, succeeded, failed, prompt_tokens, prompt_basis, evaluated_tokens, cached_tokens,
                    cache_basis, completion_tokens
             FROM usage WHERE ",
            $of,
            " day BETWEEN $1 AND $2 AND (tenant, day, model) > ($3, $4, $5) ORDER BY tenant, day, model LIMIT $6"
        )
    };
}

/// Adds what a commit made final, model by model in their order: of two commits one waits for the other, never each
/// for each. It is the last that a transaction does, for until its end the tenant's other batches wait to commit.
pub(super) async fn add(
    tx: &mut Connection,
    tenant: &Tenant,
    day: Date,
    accepted: &Accepted,
) -> Result<(), Error> {
    const ADD: &str = "
        INSERT INTO usage (tenant, day, model, succeeded, failed, prompt_tokens, prompt_basis, evaluated_tokens,
                           cached_tokens, cache_basis, completion_tokens)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        ON CONFLICT (tenant, day, model) DO UPDATE SET
            succeeded = usage.succeeded + excluded.succeeded, failed = usage.failed + excluded.failed,
            prompt_tokens = usage.prompt_tokens
                + CASE WHEN usage.prompt_tokens > $12 THEN 0 ELSE excluded.prompt_tokens END,
            evaluated_tokens = usage.evaluated_tokens
                + CASE WHEN usage.evaluated_tokens > $12 THEN 0 ELSE excluded.evaluated_tokens END,
            cached_tokens = usage.cached_tokens
                + CASE WHEN usage.cached_tokens > $12 THEN 0 ELSE excluded.cached_tokens END,
            completion_tokens = usage.completion_tokens
                + CASE WHEN usage.completion_tokens > $12 THEN 0 ELSE excluded.completion_tokens END,
            prompt_basis = CASE WHEN usage.prompt_basis = 0 THEN excluded.prompt_basis
                WHEN excluded.prompt_basis IN (0, usage.prompt_basis) THEN usage.prompt_basis ELSE 3 /* mixed */ END,
            cache_basis = CASE WHEN usage.cache_basis = 0 THEN excluded.cache_basis
                WHEN excluded.cache_basis IN (0, usage.cache_basis) THEN usage.cache_basis ELSE 3 /* mixed */ END";

    for (model, Tally { succeeded, failed, usage }) in &accepted.models {
        sqlx::query(ADD)
            .bind(tenant.as_str())
            .bind(day.to_string())
            .bind(model)
            .bind(succeeded)
            .bind(failed)
            .bind(usage.prompt_tokens.clamp(0, LARGEST))
            .bind(usage.prompt_basis)
            .bind(usage.evaluated_tokens.clamp(0, LARGEST))
            .bind(usage.cached_tokens.clamp(0, LARGEST))
            .bind(usage.cache_basis)
            .bind(usage.completion_tokens.clamp(0, LARGEST))
            .bind(LARGEST)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

pub(super) async fn list(store: &Database, wanted: &UsageListing) -> Result<Vec<DailyUsage>, Error> {
    const OF_ALL: &str = rows!("");
    const OF_ONE: &str = rows!("tenant = $7 AND");

    let after = wanted.after.as_ref();
    // Texts of days are in order as days are. Nothing stands before empty ones.
    let query = sqlx::query(if wanted.tenant.is_some() { OF_ONE } else { OF_ALL })
        .bind(wanted.first.map(|day| day.to_string()).unwrap_or_default())
        .bind(wanted.last.unwrap_or(Date::MAX).to_string())
        .bind(after.map_or("", |after| after.tenant.as_str()))
        .bind(after.map(|after| after.day.to_string()).unwrap_or_default())
        .bind(after.map_or("", |after| after.model.as_str()))
        .bind(wanted.limit);
    let query = match &wanted.tenant {
        Some(tenant) => query.bind(tenant.as_str()),
        None => query,
    };
    query.fetch_all(&store.read).await?.iter().map(row).collect()
}

fn row(row: &Row) -> Result<DailyUsage, Error> {
    let cells = Cells::of("usage", row);
    let key =
        UsageKey { tenant: cells.tenant("tenant")?, day: cells.day("day")?, model: cells.get("model")? };
    let tally = Tally {
        succeeded: cells.get("succeeded")?,
        failed: cells.get("failed")?,
        usage: batches::usage(cells)?,
    };
    Ok(DailyUsage { key, tally })
}
