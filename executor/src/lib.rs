//! The executor, Caravan's hands: runs on a GPU host, pulls chunks from the planner,
//! drives the engines of its own host, and checks everything that they say.

pub mod engine;
