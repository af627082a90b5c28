//! The simulated engine seen from outside, over HTTP.

mod client;
mod faults;
mod recordings;
mod slots;
