//! Calibration: what a model takes and gives on an engine, measured on it.
//!
//! A run is a sequence of phases, each bounded in time. What they measure is kept raw, in a file if there is
//! a directory for it, so that a run that was cut off goes on where it was. The profile is concluded from
//! that by functions without I/O: `formula` (what a cache takes), `line` (memory against slots and context),
//! `rates` and `knee` (speed), `reuse` and `template`; `table` and `plot` show it.
//!
//! What cannot be measured leads to a note or is listed as left out. Nothing is guessed.

mod ask;
mod attempt;
mod budget;
mod error;
mod fit;
mod formula;
mod host;
mod identity;
mod knee;
mod largest;
mod line;
mod log;
mod measurement;
mod memory;
mod options;
mod owned;
mod plot;
mod profile;
mod rates;
mod reuse;
mod room;
mod run;
pub(crate) mod shelf;
mod speed;
mod stage;
mod subject;
mod table;
mod template;
#[cfg(test)]
mod tests;
mod words;

use std::fmt;

use caravan_proto::v1::Profile;

pub use budget::Phase;
pub use error::Error;
pub use options::Options;
pub use plot::svg;
pub use subject::Subject;
pub use table::text;

/// Is told how far a calibration is.
pub trait Progress: Send + Sync + fmt::Debug {
    /// `phase` is under way, and `share` of all time is over, from 0 to 1; `what` is being measured.
    fn at(&self, phase: Phase, share: f64, what: &str);
}

/// Progress in the log.
#[derive(Debug, Clone, Copy, Default)]
pub struct Logged;

impl Progress for Logged {
    fn at(&self, phase: Phase, share: f64, what: &str) {
        tracing::info!(percent = (share * 100.0).round(), what, "{}", phase.doing());
    }
}

/// Measures `subject` within `options.budget` and gives its profile. The engine is to be idle: what others
/// do on it is measured as its own.
///
/// # Errors
/// If the engine does not answer or has no such model, if it fails in the middle, or if nothing at all could
/// be measured. What was measured until then is kept where there is a directory for it.
pub async fn calibrate(
    subject: Subject,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Profile, Error> {
    let mut run = subject.begin(options, progress).await?;
    for phase in Phase::ALL {
        run.show(phase, "");
        match phase {
            Phase::Template => template::measure(&mut run).await?,
            Phase::Memory => memory::measure(&mut run).await?,
            Phase::Reuse => reuse::measure(&mut run).await?,
            Phase::Speed => speed::measure(&mut run).await?,
            Phase::Largest => largest::measure(&mut run).await?,
        }
    }
    run.end().await
}
