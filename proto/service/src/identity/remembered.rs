//! Keys that were verified a short while ago.

use std::{sync::Arc, time::Duration};

use moka::future::Cache;
use tonic::Status;

use super::{KeyHash, Principal, hash};

/// Keys that are remembered, good or not: some 300 bytes each. Many that are asked for once push out none that
/// is used: what the cache admits is what comes often.
const REMEMBERED: u64 = 10_000;

/// Whoever knows which keys are good.
#[tonic::async_trait]
pub trait Keys: Send + Sync + 'static {
    /// Whom the key with this hash stands for; none if no key that is good has it.
    ///
    /// # Errors
    /// If nobody can be asked at the moment.
    async fn holder(&self, sha256: &KeyHash) -> Result<Option<Principal>, Status>;
}

/// What [`Keys`] said, for a time.
pub(super) struct Remembered {
    keys: Arc<dyn Keys>,
    time: Duration,
    said: Cache<KeyHash, Option<Principal>>,
}

// === impl Remembered ===

impl Remembered {
    /// What `keys` says is good for `time`.
    pub(super) fn new(keys: Arc<dyn Keys>, time: Duration) -> Self {
        Self { keys, time, said: Cache::builder().max_capacity(REMEMBERED).time_to_live(time).build() }
    }

    /// Whom a key stands for; none if it is not good. Asked for once, however many wait for it.
    pub(super) async fn holder(&self, key: &str) -> Result<Option<Principal>, Status> {
        self.of(hash(key)).await
    }

    /// The same, for the key with this hash.
    pub(super) async fn of(&self, sha256: KeyHash) -> Result<Option<Principal>, Status> {
        let asked = self.said.try_get_with(sha256, self.keys.holder(&sha256)).await;
        asked.map_err(|status: Arc<Status>| Status::clone(&status))
    }

    /// How long what was said is good.
    pub(super) fn time(&self) -> Duration {
        self.time
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    /// Knows one key until it is revoked; counts how often it is asked.
    #[derive(Default)]
    struct Counting {
        asked: AtomicUsize,
        away: AtomicUsize,
    }

    #[tonic::async_trait]
    impl Keys for Arc<Counting> {
        async fn holder(&self, sha256: &KeyHash) -> Result<Option<Principal>, Status> {
            self.asked.fetch_add(1, Relaxed);
            if self.away.load(Relaxed) > 0 {
                return Err(Status::unavailable("away"));
            }
            Ok((*sha256 == hash("good")).then(Principal::anybody))
        }
    }

    #[tokio::test]
    async fn a_key_is_asked_for_once_and_an_outage_is_not_remembered() {
        let counting = Arc::new(Counting::default());
        let remembered = Remembered::new(Arc::new(Arc::clone(&counting)), Duration::from_secs(3_600));
        counting.away.store(1, Relaxed);
        assert!(remembered.holder("good").await.is_err());
        counting.away.store(0, Relaxed);
        for _ in 0..3 {
            assert_eq!(remembered.holder("good").await.expect("there"), Some(Principal::anybody()));
            assert_eq!(remembered.holder("bad").await.expect("there"), None);
        }
        assert_eq!(counting.asked.load(Relaxed), 3);
    }

    #[tokio::test]
    async fn what_was_said_is_good_for_its_time_only() {
        let counting = Arc::new(Counting::default());
        let remembered = Remembered::new(Arc::new(Arc::clone(&counting)), Duration::from_nanos(1));
        for _ in 0..3 {
            assert!(remembered.holder("good").await.expect("there").is_some());
        }
        assert_eq!(counting.asked.load(Relaxed), 3);
    }

    #[tokio::test]
    async fn a_flood_of_bad_keys_holds_bounded_memory() {
        let counting = Arc::new(Counting::default());
        let remembered = Remembered::new(Arc::new(Arc::clone(&counting)), Duration::from_secs(3_600));
        for key in 0..3 * REMEMBERED {
            assert_eq!(remembered.holder(&key.to_string()).await.expect("there"), None);
        }
        remembered.said.run_pending_tasks().await;
        assert!(remembered.said.entry_count() <= REMEMBERED, "{}", remembered.said.entry_count());
    }
}
