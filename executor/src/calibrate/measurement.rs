//! What is measured, as it is kept: raw, so that whatever is concluded can be concluded again.

use serde::{Deserialize, Serialize};

/// One step of a calibration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Measurement {
    /// What a load took.
    Load(Load),
    /// Requests under load.
    Burst(Burst),
    /// Warm prompts after a cold one.
    Reuse(Reuse),
    /// What the template adds.
    Template(Template),
}

/// One load, and what it took.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Load {
    /// Slots that the engine runs with.
    pub(crate) slots: u32,
    /// Context of a slot that was asked for, in tokens.
    pub(crate) context: u64,
    /// `num_batch` that was asked for; 0: the engine's own.
    pub(crate) batch: u64,
    /// What it takes; nothing if it did not load.
    pub(crate) reading: Reading,
    /// Why it cannot be used; empty if it can.
    pub(crate) refused: String,
    /// Read again after a request that filled the context.
    pub(crate) filled: bool,
}

/// Memory of a loaded model, in bytes; 0 is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Reading {
    /// Of the engine's processes on all GPUs, as NVML says.
    pub(crate) nvml: u64,
    /// In total, as the engine says.
    pub(crate) size: u64,
    /// Of that in VRAM, as the engine says.
    pub(crate) size_vram: u64,
    /// Of the engine's processes in host memory.
    pub(crate) resident: u64,
}

/// One round of every workload with so many lanes busy.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Burst {
    /// Lanes, one request in flight each.
    pub(crate) lanes: u32,
    /// The requests that were measured.
    pub(crate) trials: Vec<Trial>,
}

/// One request under load.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Trial {
    /// Prompt tokens that were evaluated.
    pub(crate) evaluated: f64,
    /// Answer tokens that came.
    pub(crate) answered: f64,
    /// From the request to its answer, in seconds.
    pub(crate) seconds: f64,
}

/// How often a prefix is evaluated.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Reuse {
    /// Tokens of the shared prefix.
    pub(crate) prefix: u64,
    /// Tokens of each request's own part.
    pub(crate) own: u64,
    /// `num_batch`; 0: the engine's own.
    pub(crate) batch: u64,
    /// Tokens of a warm prompt that were evaluated, the median; none if nothing tells.
    pub(crate) evaluated: Option<f64>,
    /// Whether the engine counted them; else they are estimated from the time that it took.
    pub(crate) counted: bool,
}

/// Tokens of conversations, as the engine counted them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Template {
    /// Each conversation.
    pub(crate) chats: Vec<Chat>,
    /// Largest difference between what the engine counted and what its own rendering has, in tokens; none
    /// where it does not render or its tokenizer is not known.
    pub(crate) rendering_differs: Option<u64>,
}

/// One conversation of a [`Template`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Chat {
    /// Words of all its messages.
    pub(crate) words: u64,
    /// Whether it begins with a system message.
    pub(crate) system: bool,
    /// Answers in it.
    pub(crate) exchanges: u64,
    /// Tokens, as the engine counted them.
    pub(crate) tokens: u64,
}

// === impl Load ===

impl Load {
    /// Whether it is another reading of the same load.
    pub(crate) fn is_of(&self, slots: u32, context: u64, batch: u64) -> bool {
        (self.slots, self.context, self.batch) == (slots, context, batch)
    }

    pub(crate) fn is_safe(&self) -> bool {
        self.refused.is_empty()
    }
}

// === impl Reading ===

impl Reading {
    /// Whether the engine says that a part of the model is on the CPU, though another is not.
    pub(crate) fn is_split(&self) -> bool {
        0 < self.size_vram && self.size_vram < self.size
    }
}
