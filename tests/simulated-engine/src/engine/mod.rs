//! The engine without its wire: prompts in, generations out.

mod failure;
mod generation;
mod host_memory;
mod memory;
mod prompt;
mod runner;
mod scheduler;
mod slots;
mod window;

use std::sync::Arc;

use crate::fault::Faults;
use crate::library::Library;
use crate::options::Options;
use crate::process::Process;
use crate::stats::Stats;

pub(crate) use failure::Failure;
pub(crate) use generation::{Ask, DoneReason, Engine, Format, Generation, Mangle};
pub(crate) use memory::Sizes;
pub(crate) use prompt::{Message, Overflow, Prompt, ROLES};
pub(crate) use runner::{KeepAlive, ReloadSet};

/// An engine with nothing loaded.
pub(crate) fn new_engine(options: Options, process: Arc<Process>) -> Engine {
    let stats = Arc::new(Stats::new(options.max_counted));
    let scheduler = Arc::new(scheduler::Scheduler::new(&options, stats.clone()));
    let library = Library::new(&options);
    Engine { options, library, stats, faults: Faults::default(), scheduler, process }
}
