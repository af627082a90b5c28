//! A simulated engine: speaks Ollama's native API without a model, a GPU or a wait, for tests and load.
//!
//! What it copies from the real thing is what a batch runner depends on: slots with a prefix cache each,
//! a FIFO queue in front of them, reloads on changed options, context limits, statuses, error texts and
//! counts, and what hurts: versions and model families with peculiarities, sliding-window caches, slots and
//! memory that are lost, runners and schedulers that hang. Its answers are a function of the question
//! ([`answer_for`]), a token is a whitespace-separated word, its speeds are settable, and its faults come
//! on demand ([`Rule`], [`Running`]). It is no measure of quality
//! or of real speed, and slots do not slow each other down.

mod answer;
mod api;
mod engine;
mod fault;
mod library;
mod options;
mod process;
mod release;
mod schema;
mod stats;
mod tokens;
mod vocabulary;

pub use answer::answer_for;
pub use fault::{Fault, Faults, Rule};
pub use options::{Emulate, Options};
pub use process::{Running, SimulatedEngine};
pub use stats::{Snapshot, SystemPrompt};
pub use tokens::{count_tokens, text_of};
