//! The GPUs of this host. What cannot be read has a reason, and is never shown as 0.

mod nvml;

use std::{
    fmt,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    time::Duration,
};

use caravan_proto::v1::Gpu;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) use nvml::Nvml;

/// Reads the GPUs of a host. May block.
pub(crate) trait Probe: Send + fmt::Debug + 'static {
    /// Every GPU now, or why none can be read.
    fn sample(&mut self) -> Result<Vec<Gpu>, String>;
}

/// The last sample.
pub(crate) type Sample = Result<Vec<Gpu>, String>;

/// Samples `probe` every `interval` on a thread for blocking work, until `stop`.
/// Returns when that thread has ended.
pub(crate) async fn run(
    mut probe: Box<dyn Probe>,
    interval: Duration,
    samples: Arc<watch::Sender<Sample>>,
    stop: CancellationToken,
) {
    let (running, stopped) = mpsc::channel::<()>();
    let thread = tokio::task::spawn_blocking(move || {
        loop {
            let sample = probe.sample();
            samples.send_if_modified(|last| {
                if let (Ok(_), Err(why)) = (&*last, &sample) {
                    tracing::warn!(why, "GPUs cannot be read");
                }
                *last = sample;
                true
            });
            // The sender is dropped when it is time to stop.
            if stopped.recv_timeout(interval) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
    });
    stop.cancelled().await;
    drop(running);
    if thread.await.is_err() {
        tracing::error!("the thread that reads GPUs ended by a panic");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Says what the test says.
    #[derive(Debug)]
    struct Fake(Arc<Mutex<Sample>>);

    impl Probe for Fake {
        fn sample(&mut self) -> Sample {
            self.0.lock().unwrap().clone()
        }
    }

    #[tokio::test]
    async fn samples_are_published_until_it_is_stopped() {
        let gpu = Gpu { index: 0, vram_used_bytes: Some(5), ..Default::default() };
        let now = Arc::new(Mutex::new(Ok(vec![gpu.clone()])));
        let (samples, stop) =
            (Arc::new(watch::Sender::new(Err("not read yet".into()))), CancellationToken::new());
        let mut seen = samples.subscribe();
        let probe = Box::new(Fake(Arc::clone(&now)));
        let running = run(probe, Duration::from_millis(1), Arc::clone(&samples), stop.clone());
        let watching = async {
            assert_eq!(seen.wait_for(|s| s.is_ok()).await.unwrap().clone(), Ok(vec![gpu]));
            *now.lock().unwrap() = Err("gone".into());
            assert_eq!(seen.wait_for(|s| s.is_err()).await.unwrap().clone(), Err("gone".into()));
            stop.cancel();
        };
        tokio::time::timeout(Duration::from_secs(10), async { tokio::join!(running, watching) })
            .await
            .unwrap();
    }
}
