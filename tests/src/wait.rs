use std::time::{Duration, Instant};

/// The longest that anything may take to come about. Generous: it only bounds failures.
pub const LIMIT: Duration = Duration::from_secs(90);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(3);

/// Waits until `look` gives a value; its error is what was seen instead.
///
/// # Errors
/// After `LIMIT`, with `what` was waited for and what was seen last.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> anyhow::Result<T> {
    let begun = Instant::now();
    loop {
        match look().await {
            Ok(value) => return Ok(value),
            Err(seen) if begun.elapsed() > LIMIT => {
                anyhow::bail!("{what}: not within {LIMIT:?}; last seen: {seen}")
            }
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
}
