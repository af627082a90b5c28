use std::collections::{BTreeMap, BTreeSet};

use caravan_proto::v1::{Engine, Executor, Model};
use serde_json::json;

use super::short;
use crate::{
    command::{Context, fleet},
    exit::Exit,
    failure::Failure,
    figures::count,
    server::Server,
    stdout,
    table::with_heading,
};

/// A model on an engine.
struct Row<'a> {
    executor: &'a Executor,
    engine: &'a Engine,
    model: &'a Model,
}

pub(super) async fn run(context: &Context) -> Result<Exit, Failure> {
    let server = Server::connect(&context.server).await?;
    let executors = fleet::list(&server, false).await?;
    let rows = rows(&executors);
    if context.json {
        rows.iter().try_for_each(|row| stdout::line(row.json()))?;
        return Ok(Exit::Done);
    }
    let mut table = with_heading(["MODEL", "DIGEST", "CONTEXT", "LOADED WITH", "HOST", "ENGINE"]);
    for Row { executor, engine, model } in &rows {
        table.add_row([
            model.name.as_str(),
            short(&model.digest),
            &known(model.max_context),
            &known(model.loaded_context),
            &executor.host,
            &engine.id,
        ]);
    }
    stdout::line(table.trim_fmt())?;
    for model in disagreements(&rows) {
        super::warn_of_digests(model);
    }
    Ok(Exit::Done)
}

/// Every model on every engine: those of one name together.
fn rows(executors: &[Executor]) -> Vec<Row<'_>> {
    let engines = executors.iter().flat_map(|executor| executor.engines.iter().map(move |e| (executor, e)));
    let rows = engines.flat_map(|(executor, engine)| {
        engine.models.iter().map(move |model| Row { executor, engine, model })
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by(|a, b| a.key().cmp(&b.key()));
    rows
}

/// Models that have several digests.
fn disagreements<'a>(rows: &[Row<'a>]) -> Vec<&'a str> {
    let mut digests: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for Row { model, .. } in rows {
        digests.entry(&model.name).or_default().insert(&model.digest);
    }
    digests.into_iter().filter(|(_, digests)| digests.len() > 1).map(|(model, _)| model).collect()
}

/// A number of tokens, if it is known.
fn known(tokens: i64) -> String {
    if tokens > 0 { count(tokens) } else { "-".to_owned() }
}

// === impl Row ===

impl Row<'_> {
    fn key(&self) -> (&str, &str, &str) {
        (&self.model.name, &self.executor.host, &self.engine.id)
    }

    fn json(&self) -> serde_json::Value {
        let Self { executor, engine, model } = self;
        let mut row = caravan_proto::json::to_value(*model);
        row["host"] = json!(executor.host);
        row["executor"] = json!(executor.name);
        row["engine"] = json!(engine.id);
        row
    }
}
