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

use std::io;
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
///
/// # Errors
/// The file of its answers cannot be opened.
pub(crate) fn new_engine(options: Options, process: Arc<Process>) -> io::Result<Engine> {
    let stats = Arc::new(Stats::new(options.max_counted, options.answers_file.as_deref())?);
    let scheduler = Arc::new(scheduler::Scheduler::new(&options, stats.clone()));
    let library = Library::new(&options);
    Ok(Engine { options, library, stats, faults: Faults::default(), scheduler, process })
}
