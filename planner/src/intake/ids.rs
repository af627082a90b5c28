use hashbrown::HashTable;

/// Which ids were seen, by their 128-bit hash. Memory: 16 bytes an id, and 5 to 10 of index.
#[derive(Debug, Default)]
pub struct Ids {
    hashes: Vec<u128>,
    /// Places in `hashes`.
    index: HashTable<u32>,
}

// === impl Ids ===

impl Ids {
    /// Takes one; whether it is new.
    pub fn insert(&mut self, hash: u128) -> bool {
        let Self { hashes, index } = self;
        let at = |place: &u32| hashes.get(*place as usize).copied().unwrap_or_default();
        if index.find(low(hash), |place| at(place) == hash).is_some() {
            return false;
        }
        let place = u32::try_from(hashes.len()).unwrap_or(u32::MAX);
        hashes.push(hash);
        let at = |place: &u32| hashes.get(*place as usize).copied().unwrap_or_default();
        index.insert_unique(low(hash), place, |place| low(at(place)));
        true
    }
}

/// Its bits are as good as any: it is a hash.
fn low(hash: u128) -> u64 {
    hash as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_new_once() {
        let mut ids = Ids::default();
        // Some differ in the bits alone that the index does not look at.
        let hashes = || (0..10_000_u128).map(|number| (number % 100) | ((number / 100) << 64));
        assert!(hashes().all(|hash| ids.insert(hash)));
        assert!(!hashes().any(|hash| ids.insert(hash)));
    }
}
