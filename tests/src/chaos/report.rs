use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde_json::{Value, json};

use super::{fault::Fault, options::Options, repeats::Struck};

/// What came of one run.
#[derive(Debug, Clone)]
pub struct Report {
    options: Options,
    /// The faults that came while work was left.
    pub(super) struck: Vec<Struck>,
    /// Faults that this machine does not let be brought about, and why.
    pub(super) lacks: Vec<String>,
    /// Lines in output files.
    pub answered: usize,
    /// Lines in error files: each has a cause.
    pub failed: usize,
    /// From the first upload to the end of the last batch.
    pub makespan: Duration,
    /// The first law that was broken.
    pub broken: Option<String>,
    /// Where logs and data are, if a law was broken.
    pub logs: Option<PathBuf>,
}

/// The runs as a table in Markdown.
#[must_use]
pub fn table(reports: &[Report]) -> String {
    let head = "| store, objects | seed | requests | faults | by kind | by place | lost, twice or torn | in error files \
                | answered again, most by one fault | seconds |\n|---|---|---|---|---|---|---|---|---|---|\n";
    [head.to_owned()].into_iter().chain(reports.iter().map(Report::row)).collect()
}

// === impl Report ===

impl Report {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            options: options.clone(),
            struck: Vec::new(),
            lacks: Vec::new(),
            answered: 0,
            failed: 0,
            makespan: Duration::ZERO,
            broken: None,
            logs: None,
        }
    }

    /// How many faults came while work was left.
    #[must_use]
    pub fn faults(&self) -> usize {
        self.struck.len()
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let options = &self.options;
        json!({
            "seed": options.seed,
            "store": options.store_name(),
            "objects": options.objects_name(),
            "planners": options.planners(),
            "gateways": options.gateways,
            "executors": options.executors,
            "engines": options.engines,
            "requests": options.requests,
            "faults": self.faults(),
            "faults_by_kind": self.count(Fault::kind),
            "faults_by_place": self.count(Fault::place),
            "not_drawn": self.lacks,
            "answered": self.answered,
            "failed": self.failed,
            "repeated": self.repeated(),
            "repeated_by_fault": self.repeats(),
            "makespan_seconds": self.makespan.as_secs_f64(),
            "broken": self.broken,
            "logs": self.logs,
        })
    }

    /// Answers that engines gave again; each has a fault that explains it.
    #[must_use]
    pub fn repeated(&self) -> usize {
        self.struck.iter().map(|struck| struck.repeats).sum()
    }

    fn row(&self) -> String {
        let list = |counts: BTreeMap<&str, usize>| {
            let counts = counts.into_iter().map(|(what, count)| format!("{count} {what}"));
            counts.collect::<Vec<_>>().join(", ")
        };
        let most = self.struck.iter().map(|struck| struck.repeats).max().unwrap_or_default();
        format!(
            "| {}, {} | {} | {} | {} | {} | {} | {} | {} | {}, {} | {:.0} |\n",
            self.options.store_name(),
            self.options.objects_name(),
            self.options.seed,
            self.options.requests,
            self.faults(),
            list(self.count(Fault::kind)),
            list(self.count(Fault::place)),
            self.broken.as_deref().and_then(|broken| broken.lines().next()).unwrap_or("0"),
            self.failed,
            self.repeated(),
            most,
            self.makespan.as_secs_f64(),
        )
    }

    fn count(&self, by: impl Fn(&Fault) -> &'static str) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for struck in &self.struck {
            *counts.entry(by(&struck.fault)).or_default() += 1;
        }
        counts
    }

    /// The faults that had answers given again, and how many.
    fn repeats(&self) -> Vec<Value> {
        let repeating = self.struck.iter().filter(|struck| struck.repeats > 0);
        repeating.map(|struck| json!([struck.fault.to_string(), struck.repeats])).collect()
    }
}
