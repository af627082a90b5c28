/// Many short texts in one: a few bytes each, where a `String` takes some fifty.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Column {
    /// All texts, one after the other.
    #[prost(string, tag = "1")]
    text: String,
    /// The length of each, in bytes.
    #[prost(uint32, repeated, tag = "2")]
    lengths: Vec<u32>,
}

// === impl Column ===

impl Column {
    pub(crate) fn push(&mut self, text: &str) {
        self.text.push_str(text);
        // A text of a vocabulary is bounded far below 4 GiB.
        self.lengths.push(u32::try_from(text.len()).unwrap_or(u32::MAX));
    }

    pub(crate) fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether every text is one: what was decoded need not be.
    pub(crate) fn is_whole(&self) -> bool {
        let mut end = 0_usize;
        let mut whole = true;
        for length in &self.lengths {
            end = end.saturating_add(*length as usize);
            whole &= self.text.is_char_boundary(end);
        }
        whole && end == self.text.len()
    }

    /// The texts in order. Of one that is not whole, up to the first damaged text.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.lengths.iter().scan(0_usize, |end, length| {
            let start = *end;
            *end = start.saturating_add(*length as usize);
            self.text.get(start..*end)
        })
    }
}

impl<'t> FromIterator<&'t str> for Column {
    fn from_iter<I: IntoIterator<Item = &'t str>>(texts: I) -> Self {
        let mut column = Self::default();
        texts.into_iter().for_each(|text| column.push(text));
        column
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_in_order() {
        let column: Column = ["a", "", "é", "bc"].into_iter().collect();
        assert!(column.is_whole());
        assert_eq!(column.iter().collect::<Vec<_>>(), ["a", "", "é", "bc"]);
    }

    #[test]
    fn lengths_that_cut_a_character_or_miss_the_end_are_seen() {
        for lengths in [vec![1, 1], vec![1], vec![2, u32::MAX], vec![3]] {
            assert!(!Column { text: "é".to_owned(), lengths }.is_whole());
        }
    }
}
