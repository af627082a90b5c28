//! Getting models: what an engine is given, and what it says meanwhile.

use std::io;

use bytes::Bytes;
use futures::stream::BoxStream;

/// How far an engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it does.
    pub stage: Stage,
    /// In its own words.
    pub message: String,
    /// Bytes that are there.
    pub completed: u64,
    /// Bytes in all, as far as it knows; 0 if it does not.
    pub total: u64,
}

/// What an engine does to get a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Bytes are on their way.
    Transfer,
    /// It makes a model of them.
    Import,
}

/// Hears of every step; must not block.
pub type Progress<'a> = &'a (dyn Fn(Step) + Send + Sync);

/// A GGUF file that is somewhere else.
pub trait ModelFile: Send + Sync {
    /// SHA-256 of the whole, 64 hex digits in lower case.
    fn sha256(&self) -> &str;

    /// Bytes of the whole.
    fn bytes(&self) -> u64;

    /// The bytes from the first one on. They end after the last one and only if the whole has its
    /// SHA-256; else with an error that says why for a person.
    fn read(&self) -> BoxStream<'static, io::Result<Bytes>>;
}
