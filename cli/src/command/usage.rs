//! `caravan usage`

use std::{io, path::Path};

use caravan_proto::{
    json::to_value,
    v1::{Basis, DailyUsage, ListUsageRequest},
};

use super::{Context, LARGEST_PAGE};
use crate::{exit::Exit, failure::Failure, figures::count, server::Server, stdout, table::with_heading};

const COLUMNS: [&str; 11] = [
    "tenant",
    "day",
    "model",
    "succeeded",
    "failed",
    "prompt_tokens",
    "prompt_basis",
    "evaluated_tokens",
    "cached_tokens",
    "cache_basis",
    "completion_tokens",
];

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The first day in UTC, e.g. 2026-07-01.
    #[arg(long, value_name = "DAY")]
    from: Option<String>,
    /// The last day in UTC.
    #[arg(long, value_name = "DAY")]
    to: Option<String>,
    /// Only usage of this tenant; without it, of all that the key may see.
    #[arg(long)]
    tenant: Option<String>,
    /// Print CSV, with a heading.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let server = Server::connect(&context.server).await?;
    let as_csv = args.csv;
    let usages = list(&server, args).await?;
    if context.json {
        usages.iter().try_for_each(|usage| stdout::line(to_value(usage)))?;
    } else if as_csv {
        csv(&usages, io::stdout()).map_err(|error| stdout::failed(error.into(), Path::new("stdout")))?;
    } else {
        stdout::line(table(&usages))?;
    }
    Ok(Exit::Done)
}

async fn list(server: &Server, args: Args) -> Result<Vec<DailyUsage>, Failure> {
    let mut request = ListUsageRequest {
        page_size: LARGEST_PAGE,
        page_token: String::new(),
        tenant: args.tenant.unwrap_or_default(),
        first_day: args.from.unwrap_or_default(),
        last_day: args.to.unwrap_or_default(),
    };
    let mut usages = Vec::new();
    loop {
        let list = async |request| server.access().list_usage(request).await;
        let page = server.call(request.clone(), list).await?;
        usages.extend(page.usages);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return Ok(usages);
        }
    }
}

fn table(usages: &[DailyUsage]) -> String {
    let mut table =
        with_heading(["TENANT", "DAY", "MODEL", "ANSWERED", "FAILED", "PROMPT", "CACHED", "ANSWER"]);
    for row in usages {
        let (requests, usage) = (row.requests.unwrap_or_default(), row.usage.unwrap_or_default());
        table.add_row([
            row.tenant.clone(),
            row.day.clone(),
            row.model.clone(),
            count(requests.succeeded),
            count(requests.failed),
            count(usage.prompt_tokens),
            count(usage.cached_tokens),
            count(usage.completion_tokens),
        ]);
    }
    table.trim_fmt()
}

fn csv(usages: &[DailyUsage], to: impl io::Write) -> Result<(), csv::Error> {
    let mut writer = csv::Writer::from_writer(to);
    writer.write_record(COLUMNS)?;
    for row in usages {
        let (requests, usage) = (row.requests.unwrap_or_default(), row.usage.unwrap_or_default());
        writer.write_record([
            &row.tenant,
            &row.day,
            &row.model,
            &requests.succeeded.to_string(),
            &requests.failed.to_string(),
            &usage.prompt_tokens.to_string(),
            basis(usage.prompt_basis()),
            &usage.evaluated_tokens.to_string(),
            &usage.cached_tokens.to_string(),
            basis(usage.cache_basis()),
            &usage.completion_tokens.to_string(),
        ])?;
    }
    Ok(writer.flush()?)
}

fn basis(basis: Basis) -> &'static str {
    match basis {
        Basis::Unspecified => "",
        Basis::Measured => "measured",
        Basis::Estimated => "estimated",
        Basis::Mixed => "mixed",
    }
}

#[cfg(test)]
mod tests {
    use caravan_proto::v1::{RequestCounts, Usage};

    use super::*;

    #[test]
    fn csv_has_a_heading_and_a_row_for_each() {
        let usage = Usage {
            prompt_tokens: 10,
            prompt_basis: Basis::Measured.into(),
            evaluated_tokens: 4,
            cached_tokens: 6,
            cache_basis: Basis::Mixed.into(),
            completion_tokens: 3,
        };
        let row = DailyUsage {
            tenant: "acme".into(),
            day: "2026-07-01".into(),
            model: "a,b".into(),
            requests: Some(RequestCounts { total: 3, succeeded: 2, failed: 1 }),
            usage: Some(usage),
        };
        let mut written = Vec::new();
        csv(&[row], &mut written).unwrap();
        let written = String::from_utf8(written).unwrap();
        let lines: Vec<_> = written.lines().collect();
        assert_eq!(lines, [&COLUMNS.join(","), "acme,2026-07-01,\"a,b\",2,1,10,measured,4,6,mixed,3"]);
    }
}
