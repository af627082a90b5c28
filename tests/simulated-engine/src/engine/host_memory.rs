//! Host memory that a runner takes: real pages, for whoever watches its process.

use std::collections::VecDeque;

use memmap2::MmapMut;

use crate::options::Options;

/// Bytes that `--cache-ram` counts in.
const MIB: u64 = 1 << 20;

/// What a runner has taken so far. Its pages go with it.
#[derive(Debug, Default)]
pub(crate) struct HostMemory {
    /// Never given back while the runner lives.
    lost: Vec<MmapMut>,
    /// Copies of prompts that left their slots, the oldest first.
    prompts: VecDeque<MmapMut>,
    prompt_bytes: u64,
}

// === impl HostMemory ===

impl HostMemory {
    /// A request with a prompt of `tokens` tokens is over.
    pub(crate) fn request_ended(&mut self, options: &Options, tokens: usize) {
        self.lost.extend(pages(options.leak_kib.saturating_mul(1 << 10)));
        if options.cache_prompts {
            self.copy_prompt(options, tokens as u64 * options.token_bytes());
        }
    }

    /// Copies a prompt, and forgets the oldest ones to stay within bounds.
    fn copy_prompt(&mut self, options: &Options, bytes: u64) {
        let bound = options.cache_ram.saturating_mul(MIB);
        if bytes > bound {
            return;
        }
        while self.prompt_bytes + bytes > bound
            && let Some(oldest) = self.prompts.pop_front()
        {
            self.prompt_bytes -= oldest.len() as u64;
        }
        if let Some(copy) = pages(bytes) {
            self.prompt_bytes += copy.len() as u64;
            self.prompts.push_back(copy);
        }
    }
}

/// So many bytes, all of them resident. None where the host has none left: then nothing grows.
fn pages(bytes: u64) -> Option<MmapMut> {
    let length = usize::try_from(bytes).ok().filter(|length| *length > 0)?;
    let mut map = MmapMut::map_anon(length).ok()?;
    map.fill(1);
    Some(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_prompts_have_a_bound_and_what_is_lost_has_none() {
        let options =
            Options { cache_prompts: true, cache_ram: 1, leak_kib: 4, layers: 1, ..Options::default() };
        assert_eq!(options.token_bytes(), 4 << 10);
        let mut memory = HostMemory::default();
        for _ in 0..10 {
            memory.request_ended(&options, 100);
        }
        assert_eq!((memory.lost.len(), memory.prompts.len(), memory.prompt_bytes), (10, 2, 800 << 10));
        memory.request_ended(&options, 300);
        assert_eq!(memory.prompts.len(), 2, "one that does not fit at all is not copied");
        let none = Options { cache_ram: 0, ..options };
        let mut memory = HostMemory::default();
        memory.request_ended(&none, 1);
        assert!(memory.prompts.is_empty());
    }
}
