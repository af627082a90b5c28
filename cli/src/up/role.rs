use std::time::Duration;

use caravan_service::Shutdown;
use tokio::task::JoinSet;

use crate::failure::Failure;
use caravan_service::explain;

/// A role at work, with a shutdown of its own: roles stop one after the other.
#[derive(Debug)]
pub(crate) struct Role {
    name: &'static str,
    stop: Shutdown,
    task: JoinSet<Result<(), String>>,
}

// === impl Role ===

impl Role {
    /// Starts `run`; once told to stop it has `drain` to end what it does.
    pub(crate) fn start<R, E>(name: &'static str, drain: Duration, run: impl FnOnce(Shutdown) -> R) -> Self
    where
        R: Future<Output = Result<(), E>> + Send + 'static,
        E: std::error::Error + 'static,
    {
        let stop = Shutdown::new(drain);
        let work = run(stop.clone());
        let mut task = JoinSet::new();
        task.spawn(async move { work.await.map_err(|error| explain(&error)) });
        Self { name, stop, task }
    }

    /// Waits for a role that ends though nobody told it to.
    pub(crate) async fn ended(&mut self) -> Failure {
        match self.end().await {
            Err(failure) => failure,
            Ok(()) => Failure::Role(format!("the {} ended by itself", self.name)),
        }
    }

    /// Tells it to stop and waits until it has; at once if it has ended already.
    pub(crate) async fn stop(&mut self) -> Result<(), Failure> {
        self.stop.trigger();
        self.end().await
    }

    async fn end(&mut self) -> Result<(), Failure> {
        let failed = |why: String| Failure::Role(format!("the {} failed: {why}", self.name));
        match self.task.join_next().await {
            Some(Ok(Ok(()))) | None => Ok(()),
            Some(Ok(Err(why))) => Err(failed(why)),
            Some(Err(defect)) => Err(failed(defect.to_string())),
        }
    }
}
