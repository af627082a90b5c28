use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use crate::Error;
use crate::fields::Fields;

/// Token texts as bytes, by id and by text: the bytes and about 10 more a token.
pub(crate) struct Table {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    index: HashTable<u32>,
    longest: usize,
}

// === impl Table ===

impl Table {
    pub(crate) fn with_capacity(tokens: usize) -> Self {
        let (bytes, ends) = (Vec::with_capacity(tokens * 8), Vec::with_capacity(tokens));
        Self { bytes, ends, index: HashTable::with_capacity(tokens), longest: 0 }
    }

    /// All tokens of a vocabulary. Empty ones get a name, as llama.cpp gives them one.
    ///
    /// # Errors
    /// Two tokens have one text.
    pub(crate) fn of(fields: &Fields) -> Result<Self, Error> {
        let mut table = Self::with_capacity(fields.tokens.len());
        for (id, text) in fields.tokens.iter().enumerate() {
            match text {
                "" => table.push(format!("[EMPTY_{id}]").as_bytes())?,
                text => table.push(text.as_bytes())?,
            }
        }
        Ok(table)
    }

    /// Add the next id's text.
    ///
    /// # Errors
    /// Another token has this text, which no engine accepts.
    pub(crate) fn push(&mut self, text: &[u8]) -> Result<(), Error> {
        if self.id(text).is_some() {
            return Err(Error::Invalid(format!(
                "the token `{}`, there twice,",
                String::from_utf8_lossy(text)
            )));
        }
        let id = self.push_hidden(text);
        let Self { bytes, ends, index, .. } = self;
        let hash = |id: &u32| xxh3_64(slice(bytes, ends, *id));
        index.insert_unique(xxh3_64(text), id, hash);
        self.longest = self.longest.max(text.len());
        Ok(())
    }

    /// Add the next id's text without making it findable.
    pub(crate) fn push_hidden(&mut self, text: &[u8]) -> u32 {
        let id = self.len();
        self.bytes.extend_from_slice(text);
        // Bounded by the size of a definition, far below 4 GiB.
        self.ends.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
        id
    }

    /// The token with exactly this text.
    pub(crate) fn id(&self, text: &[u8]) -> Option<u32> {
        if text.len() > self.longest {
            return None;
        }
        self.index.find(xxh3_64(text), |id| self.text(*id) == text).copied()
    }

    pub(crate) fn text(&self, id: u32) -> &[u8] {
        slice(&self.bytes, &self.ends, id)
    }

    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.ends.len()).unwrap_or(u32::MAX)
    }

    /// Bytes of the longest text that can be found.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }
}

fn slice<'t>(bytes: &'t [u8], ends: &[u32], id: u32) -> &'t [u8] {
    let id = id as usize;
    let start = id.checked_sub(1).map_or(0, |before| ends[before]);
    &bytes[start as usize..ends[id] as usize]
}
