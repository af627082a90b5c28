//! Calls again what failed for now.

use std::time::Duration;

use caravan_proto::error;
use tonic::{Code, Status};

/// Calls without progress before it gives up.
const TRIES: u32 = 10;

/// How often calls failed since there was progress.
#[derive(Debug, Default)]
pub(crate) struct Patience(u32);

impl Patience {
    /// There was progress.
    pub(crate) fn renew(&mut self) {
        self.0 = 0;
    }

    /// Waits for as long as the server asks.
    ///
    /// # Errors
    /// `status`, if no waiting helps against it, or it was tried often enough.
    pub(crate) async fn wait(&mut self, status: Status) -> Result<(), Status> {
        self.0 += 1;
        if !matches!(status.code(), Code::Unavailable | Code::ResourceExhausted) || self.0 >= TRIES {
            return Err(status);
        }
        tokio::time::sleep(error::retry_delay(&status).unwrap_or(Duration::from_secs(1))).await;
        Ok(())
    }
}

/// What `call` gives, which may need several tries.
pub(crate) async fn patiently<T>(mut call: impl AsyncFnMut() -> Result<T, Status>) -> Result<T, Status> {
    let mut patience = Patience::default();
    loop {
        match call().await {
            Ok(answer) => return Ok(answer),
            Err(status) => patience.wait(status).await?,
        }
    }
}
