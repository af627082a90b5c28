use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde_json::{Value, json};

use super::{fault::Fault, options::Options};

/// What came of one run.
#[derive(Debug, Clone)]
pub struct Report {
    options: Options,
    /// The faults that came while work was left.
    pub(super) struck: Vec<Fault>,
    /// Lines in output files.
    pub answered: usize,
    /// Lines in error files: each has a cause.
    pub failed: usize,
    /// Answers that engines gave again.
    pub repeated: usize,
    /// How many the faults allow.
    pub(super) repeats_allowed: usize,
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
    let head = "| seed | requests | faults | by kind | lost, twice or torn | in error files | answered again | seconds |\n\
                |---|---|---|---|---|---|---|---|\n";
    [head.to_owned()].into_iter().chain(reports.iter().map(Report::row)).collect()
}

// === impl Report ===

impl Report {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            options: options.clone(),
            struck: Vec::new(),
            answered: 0,
            failed: 0,
            repeated: 0,
            repeats_allowed: 0,
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
            "planners": options.planners,
            "gateways": options.gateways,
            "executors": options.executors,
            "engines": options.engines,
            "requests": options.requests,
            "faults": self.faults(),
            "faults_by_kind": self.kinds(),
            "answered": self.answered,
            "failed": self.failed,
            "repeated": self.repeated,
            "repeats_allowed": self.repeats_allowed,
            "makespan_seconds": self.makespan.as_secs_f64(),
            "broken": self.broken,
            "logs": self.logs,
        })
    }

    fn row(&self) -> String {
        let kinds: Vec<_> = self.kinds().into_iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        format!(
            "| {} | {} | {} | {} | {} | {} | {} of at most {} | {:.0} |\n",
            self.options.seed,
            self.options.requests,
            self.faults(),
            kinds.join(", "),
            self.broken.as_deref().unwrap_or("0"),
            self.failed,
            self.repeated,
            self.repeats_allowed,
            self.makespan.as_secs_f64(),
        )
    }

    fn kinds(&self) -> BTreeMap<&'static str, usize> {
        let mut kinds = BTreeMap::new();
        for fault in &self.struck {
            *kinds.entry(fault.kind()).or_default() += 1;
        }
        kinds
    }
}
