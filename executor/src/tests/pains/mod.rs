//! What users of engines are known to suffer from, each on the simulated engine: first what a naive
//! client gets, then what the executor makes of the same engine. `docs/pains.md` lists them.

mod host;
mod loads;
mod memory;
mod naive;
mod process;
mod prompts;
mod queue;
mod stuck;
mod table;

use caravan_simulated_engine::{Fault, Options as Sim, Rule, text_of};
use serde_json::{Value, json};

use super::{Peer, until};
use host::{Chunk, Host, outcome};
use naive::{Client, Naive};
use process::{Home, Process};
