//! What a loaded model's KV cache takes, from the model's own dimensions: llama.cpp's arithmetic.

use caravan_tokenize::Metadata;

/// Cells of a cache are allocated in steps of so many.
pub(crate) const PAD: u64 = 256;

/// Bytes of a number of a recurrent state: always f32.
const STATE_NUMBER: f64 = 4.0;

/// Every how many layers one attends to the whole context, where a model has a window and does not say
/// which layers it is of: as llama.cpp has it for these architectures.
const PATTERNS: [(&str, u64); 10] = [
    ("gemma2", 2),
    ("gemma3", 6),
    ("gemma3n", 5),
    ("gpt-oss", 2),
    ("gptoss", 2),
    ("cohere2", 4),
    ("olmo2", 4),
    ("exaone4", 4),
    ("llama4", 4),
    ("afmoe", 4),
];

/// The cache of one slot.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Cache {
    /// Bytes of a token in the layers that keep the whole context.
    pub(crate) full: f64,
    /// Bytes of a token in the layers that keep a window.
    pub(crate) windowed: f64,
    /// Tokens of that window; 0 if there is none.
    pub(crate) window: u64,
    /// Bytes of the recurrent layers' state, whatever the context.
    pub(crate) state: f64,
}

/// One layer's part.
enum Layer {
    Full(f64),
    Windowed(f64),
    Recurrent,
    /// Keeps nothing of its own.
    None,
}

// === impl Cache ===

impl Cache {
    /// From a model's metadata; none where that does not tell. `kv_type` is what both keys and values are
    /// cached in, f16 if not known; with `swa_full` windowed layers keep the whole context.
    pub(crate) fn of(metadata: &Metadata, kv_type: &str, swa_full: bool) -> Option<Self> {
        let shape = Shape::of(metadata, element_bytes(kv_type)?)?;
        let window = metadata.sliding_window().filter(|_| !swa_full).unwrap_or(0);
        let mut cache = Self::default();
        for layer in 0..shape.layers {
            match shape.layer(layer)? {
                Layer::Windowed(bytes) if window > 0 => cache.windowed += bytes,
                Layer::Full(bytes) | Layer::Windowed(bytes) => cache.full += bytes,
                Layer::Recurrent => cache.state += shape.state_bytes()?,
                Layer::None => {}
            }
        }
        cache.window = if cache.windowed > 0.0 { window } else { 0 };
        Some(cache)
    }

    /// Bytes of one slot's cache at `context` tokens, with `batch` prompt tokens evaluated at once.
    pub(crate) fn bytes(&self, context: u64, batch: u64) -> f64 {
        let whole = context.next_multiple_of(PAD);
        let windowed = whole.min((self.window + batch).next_multiple_of(PAD));
        self.full * whole as f64 + self.windowed * windowed as f64 + self.state
    }

    /// Bytes that one token more takes in a context longer than the window.
    pub(crate) fn token_bytes(&self) -> f64 {
        self.full
    }

    /// The context from which on memory grows by `token_bytes` alone.
    pub(crate) fn linear_from(&self, batch: u64) -> u64 {
        if self.window == 0 { 0 } else { (self.window + batch).next_multiple_of(PAD) }
    }
}

/// Bytes of a cached number; none for a type that is not known.
fn element_bytes(kv_type: &str) -> Option<f64> {
    Some(match kv_type {
        "f32" => 4.0,
        "" | "f16" | "bf16" => 2.0,
        "q8_0" => 34.0 / 32.0,
        "q5_1" => 24.0 / 32.0,
        "q5_0" => 22.0 / 32.0,
        "q4_1" => 20.0 / 32.0,
        "q4_0" | "iq4_nl" => 18.0 / 32.0,
        _ => return None,
    })
}

/// What the metadata say of the layers.
struct Shape<'a> {
    metadata: &'a Metadata,
    element: f64,
    /// Layers that may cache something of their own.
    layers: u64,
    /// Which layers have a window.
    windows: Windows<'a>,
}

enum Windows<'a> {
    None,
    Each(&'a [u64]),
    AllBut { every: u64 },
    NotKnown,
}

// === impl Shape ===

impl<'a> Shape<'a> {
    fn of(metadata: &'a Metadata, element: f64) -> Option<Self> {
        let of = |name: &str| metadata.dimension(name).unwrap_or(0);
        // Layers at the end that share the cache of an earlier one, or that predict further tokens.
        let without = of("attention.shared_kv_layers") + of("nextn_predict_layers");
        let layers = metadata.dimension("block_count")?.checked_sub(without)?;
        let architecture = metadata.architecture()?;
        let known = PATTERNS.iter().find(|(name, _)| *name == architecture);
        let pattern = "attention.sliding_window_pattern";
        let windows = match (metadata.sliding_window(), metadata.dimensions(pattern)) {
            (None, _) => Windows::None,
            (Some(_), Some(each)) => Windows::Each(each),
            (Some(_), None) => match metadata.dimension(pattern).or(known.map(|(_, every)| *every)) {
                Some(every) => Windows::AllBut { every },
                None => Windows::NotKnown,
            },
        };
        Some(Self { metadata, element, layers, windows })
    }

    /// None where the metadata do not tell.
    fn layer(&self, layer: u64) -> Option<Layer> {
        let heads = self.heads(layer)?;
        if heads == 0 {
            // Where feed-forward layers stand alone, they keep no state.
            let forward = self.metadata.dimensions("feed_forward_length");
            let alone = forward.and_then(|each| at(each, layer)).is_some_and(|length| length > 0);
            return Some(if alone { Layer::None } else { Layer::Recurrent });
        }
        // Every so many layers one attends, the others are recurrent.
        let interval = self.metadata.dimension("full_attention_interval").unwrap_or(0);
        if interval > 1 && !(layer + 1).is_multiple_of(interval) {
            return Some(Layer::Recurrent);
        }
        let windowed = self.is_windowed(layer)?;
        let bytes = self.attention_bytes(heads, windowed)?;
        Some(if windowed { Layer::Windowed(bytes) } else { Layer::Full(bytes) })
    }

    /// Heads of keys and values; 0 for a layer without attention.
    fn heads(&self, layer: u64) -> Option<u64> {
        ["attention.head_count_kv", "attention.head_count"].iter().find_map(|name| {
            match self.metadata.dimensions(name) {
                Some(each) => at(each, layer),
                None => self.metadata.dimension(name),
            }
        })
    }

    fn is_windowed(&self, layer: u64) -> Option<bool> {
        match self.windows {
            Windows::None => Some(false),
            Windows::Each(each) => at(each, layer).map(|windowed| windowed > 0),
            Windows::AllBut { every } => Some(every == 0 || layer % every < every - 1),
            Windows::NotKnown => None,
        }
    }

    /// Bytes of a token: keys and values of every head, or with multi-head latent attention one
    /// compressed key and no value.
    fn attention_bytes(&self, heads: u64, windowed: bool) -> Option<f64> {
        let of = |name: &str| self.metadata.dimension(name);
        if let (Some(rank), Some(_)) = (of("attention.kv_lora_rank"), of("attention.key_length_mla")) {
            return Some((rank + of("rope.dimension_count")?) as f64 * self.element);
        }
        let length = |name: &str| {
            let own = windowed.then(|| of(&format!("attention.{name}_swa"))).flatten();
            own.or_else(|| of(&format!("attention.{name}"))).or_else(|| self.head_length())
        };
        let numbers = heads * (length("key_length")? + length("value_length")?);
        Some(numbers as f64 * self.element)
    }

    fn head_length(&self) -> Option<u64> {
        let of = |name: &str| self.metadata.dimension(name);
        of("embedding_length")?.checked_div(of("attention.head_count")?)
    }

    /// Bytes of a recurrent layer's state: its convolution's past and the state itself.
    fn state_bytes(&self) -> Option<f64> {
        let of = |name: &str| self.metadata.dimension(&format!("ssm.{name}"));
        let (inner, state) = (of("inner_size")?, of("state_size")?);
        let groups = of("group_count").unwrap_or(0);
        let past = of("conv_kernel")?.saturating_sub(1) * (inner + 2 * groups * state);
        Some(STATE_NUMBER * (past + state * inner) as f64)
    }
}

fn at(each: &[u64], layer: u64) -> Option<u64> {
    each.get(usize::try_from(layer).ok()?).copied()
}

#[cfg(test)]
#[path = "formula_tests.rs"]
mod tests;
