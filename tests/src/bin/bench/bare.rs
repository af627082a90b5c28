use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use serde_json::json;

/// A bare loop: so many connections, each sending the next request when it has its answer.
pub(crate) async fn run(
    engine: &str,
    requests: usize,
    slots: usize,
    system: &str,
) -> anyhow::Result<Duration> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let next = AtomicUsize::new(0);
    let connection = || async {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= requests {
                return anyhow::Ok(());
            }
            let body = json!({
                "model": "simulated", "stream": false, "truncate": false, "shift": false, "keep_alive": -1,
                "messages": [{"role": "system", "content": system},
                             {"role": "user", "content": format!("bare question {index}")}],
                "options": {"num_ctx": 2048, "num_predict": 16},
            });
            let answer = client.post(format!("{engine}/api/chat")).json(&body).send().await?;
            anyhow::ensure!(answer.status().is_success(), "the engine answered {}", answer.status());
            answer.bytes().await?;
        }
    };
    let since = Instant::now();
    futures::future::try_join_all((0..slots).map(|_| connection())).await?;
    Ok(since.elapsed())
}
