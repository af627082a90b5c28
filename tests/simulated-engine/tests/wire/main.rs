//! The simulated engine seen from outside, over HTTP.

mod client;
mod faults;
mod library;
mod recordings;
mod releases;
mod slots;
mod stuck;
