//! What a llama-server tells of the requests that it has, whoever started it and whoever sent them.

use serde::Deserialize;

use super::connection::Connection;

/// Of `/metrics`: requests that wait for a slot.
const DEFERRED: &str = "llamacpp:requests_deferred";

/// One slot of `/slots`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Slot {
    is_processing: bool,
}

/// Requests on slots, and those that wait for one where `/metrics` is switched on. None if the server
/// does not tell of its slots.
pub(super) async fn requests(server: &Connection) -> Option<u32> {
    let slots: Vec<Slot> = server.get("/slots").await.ok()?.read().ok()?;
    let busy = slots.iter().filter(|slot| slot.is_processing).count();
    let metrics = server.get("/metrics").await.ok().filter(|reply| reply.is_success());
    let waiting = metrics.and_then(|reply| deferred(&reply.text())).unwrap_or(0);
    u32::try_from(busy).ok()?.checked_add(waiting)
}

fn deferred(metrics: &str) -> Option<u32> {
    metrics.lines().find_map(|line| line.strip_prefix(DEFERRED)?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Options, replay::Replay};

    async fn said(answers: &[(&'static str, u16, &str)]) -> Option<u32> {
        let answers = answers.iter().map(|(path, status, body)| (*path, (*status, (*body).to_owned())));
        let replay = Replay::start(answers.collect()).await;
        requests(&Connection::new(&replay.url, Options::default()).unwrap()).await
    }

    #[tokio::test]
    async fn slots_are_counted_and_those_that_wait_where_that_is_told() {
        let slots = r#"[{"id":0,"is_processing":true,"n_ctx":2048},{"id":1,"is_processing":false},{"id":2}]"#;
        let metrics = "# TYPE llamacpp:requests_deferred gauge\nllamacpp:requests_processing 1\n\
                       llamacpp:requests_deferred 3\n";
        assert_eq!(said(&[("/slots", 200, slots), ("/metrics", 200, metrics)]).await, Some(4));
        assert_eq!(said(&[("/slots", 200, slots), ("/metrics", 501, "{}")]).await, Some(1));
        assert_eq!(said(&[("/slots", 501, "{}"), ("/metrics", 200, metrics)]).await, None);
    }
}
