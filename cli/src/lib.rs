//! The command `caravan`: a client of the three public services, and `caravan up`, which
//! runs all roles in one process. It holds no logic of the roles themselves: what it
//! knows of a batch it learned over gRPC, or, to plan without a server, from the planner's code.

mod batch_options;
mod command;
mod defaults;
mod delivery;
mod delta;
mod download;
mod exit;
mod failure;
mod figures;
mod input;
mod interrupt;
mod local_file;
mod patience;
mod progress;
mod rows;
mod server;
mod span;
mod stderr;
mod stdout;
mod summary;
mod table;
mod up;
mod upload;
mod watch;

pub use command::Cli;
