//! `caravan usage`

use std::{io, path::Path};

use caravan_proto::{
    json::to_value,
    v1::{Basis, DailyUsage, ListUsageRequest},
};
use comfy_table::Table;
use jiff::civil::Date;

use super::{Context, LARGEST_PAGE};
use crate::{
    exit::Exit,
    failure::Failure,
    figures::count,
    server::Server,
    stdout,
    table::{plain, with_heading},
};

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
    #[arg(long, value_name = "DAY", value_parser = day)]
    from: Option<Date>,
    /// The last day in UTC.
    #[arg(long, value_name = "DAY", value_parser = day)]
    to: Option<Date>,
    /// Only usage of this tenant; without it, of all that the key may see.
    #[arg(long)]
    tenant: Option<String>,
    /// Print CSV, with a heading.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

/// What is printed.
#[derive(Debug, Clone, Copy)]
enum Form {
    Json,
    Csv,
    Table,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    if args.from.zip(args.to).is_some_and(|(from, to)| to < from) {
        return Err(Failure::Usage("--to must not be before --from".to_owned()));
    }
    let form = match (context.json, args.csv) {
        (true, _) => Form::Json,
        (false, true) => Form::Csv,
        (false, false) => Form::Table,
    };
    let server = Server::connect(&context.server).await?;
    let written = |day: Option<Date>| day.map(|day| day.to_string()).unwrap_or_default();
    let mut request = ListUsageRequest {
        page_size: LARGEST_PAGE,
        page_token: String::new(),
        tenant: args.tenant.unwrap_or_default(),
        first_day: written(args.from),
        last_day: written(args.to),
    };
    loop {
        let list = async |request| server.access().list_usage(request).await;
        let page = server.call(request.clone(), list).await?;
        form.print(&page.usages, request.page_token.is_empty())?;
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return Ok(Exit::Done);
        }
    }
}

// === impl Form ===

impl Form {
    /// Prints a page, as it comes; the first with a heading.
    fn print(self, usages: &[DailyUsage], is_first: bool) -> Result<(), Failure> {
        const HEADING: [&str; 8] =
            ["TENANT", "DAY", "MODEL", "ANSWERED", "FAILED", "PROMPT", "CACHED", "ANSWER"];

        match self {
            Self::Json => usages.iter().try_for_each(|usage| stdout::line(to_value(usage))),
            Self::Csv => csv(usages, is_first, io::stdout())
                .map_err(|error| stdout::failed(error.into(), Path::new("stdout"))),
            Self::Table if is_first => stdout::line(table(with_heading(HEADING), usages)),
            Self::Table if usages.is_empty() => Ok(()),
            Self::Table => stdout::line(table(plain(), usages)),
        }
    }
}

/// A day in the one way in which the server takes it.
fn day(text: &str) -> Result<Date, String> {
    let written = text.parse().ok().filter(|day: &Date| day.to_string() == text);
    written.ok_or_else(|| "write a day as 2026-07-01".to_owned())
}

fn table(mut table: Table, usages: &[DailyUsage]) -> String {
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

fn csv(usages: &[DailyUsage], is_first: bool, to: impl io::Write) -> Result<(), csv::Error> {
    let mut writer = csv::Writer::from_writer(to);
    if is_first {
        writer.write_record(COLUMNS)?;
    }
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
    fn csv_has_one_heading_and_a_row_for_each() {
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
        for is_first in [true, false] {
            csv(std::slice::from_ref(&row), is_first, &mut written).unwrap();
        }
        let written = String::from_utf8(written).unwrap();
        let lines: Vec<_> = written.lines().collect();
        let row = "acme,2026-07-01,\"a,b\",2,1,10,measured,4,6,mixed,3";
        assert_eq!(lines, [&*COLUMNS.join(","), row, row]);
    }

    #[test]
    fn a_day_is_written_in_one_way() {
        assert!(day("2026-02-28").is_ok());
        for bad in ["2026-02-30", "20260201", "2026-2-1", "2026-02-01T00:00", "today", ""] {
            assert!(day(bad).is_err(), "{bad}");
        }
    }
}
