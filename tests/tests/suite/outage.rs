//! A database that takes nothing for longer than leases live.

use std::time::Duration;

use anyhow::ensure;
use caravan_proto::v1::{Batch, ChunkLimits};
use caravan_simulated_engine::{Options, SimulatedEngine};
use caravan_tests::{Fleet, Input, until};
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

const SLOTS: usize = 4;
const REQUESTS: usize = 2_000;
/// Leases would run out three times over.
const CONFIG: &str = "[lease]\nttl_ms = 1500\n";

#[tokio::test]
async fn an_outage_of_the_database_loses_nobody_and_repeats_nothing() -> anyhow::Result<()> {
    let engine = SimulatedEngine::start(Options { slots: SLOTS, answer_ms: 8, ..Options::default() })?;
    let fleet = Fleet::on_sqlite(CONFIG).await?;
    let executor = fleet.executor("first", &engine.url(), SLOTS).await?;
    let (api, input) = (fleet.api()?, Input::chats(REQUESTS, "s"));
    let policy =
        Batch { chunk_limits: Some(ChunkLimits { max_requests: 50, max_seconds: 0.0 }), ..Batch::default() };
    let batch = api.create(&input, policy).await?.name;
    let some = |batch: &Batch| batch.requests.is_some_and(|requests| requests.succeeded > 50);
    api.when(&batch, "has some answers", some).await?;

    let database = SqliteConnectOptions::new().filename(fleet.data_dir().join("caravan.db"));
    let mut database = SqliteConnection::connect_with(&database).await?;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut database).await?;
    let channel = caravan_tests::Api::new(&fleet.planner_url())?.channel();
    let health = |wanted: ServingStatus| {
        let mut health = HealthClient::new(channel.clone());
        async move {
            until(&format!("the planner says {wanted:?}"), async || {
                let asked = health.check(HealthCheckRequest::default()).await;
                let said = asked.map_err(|status| status.to_string())?.get_ref().status();
                if said == wanted { Ok(()) } else { Err(format!("{said:?}")) }
            })
            .await
        }
    };
    health(ServingStatus::NotServing).await?;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let during = api.get(&batch).await?;
    ensure!(
        during.requests.is_some_and(|requests| requests.succeeded < REQUESTS as i64),
        "it ended: {during:?}"
    );
    sqlx::query("ROLLBACK").execute(&mut database).await?;
    database.close().await?;

    health(ServingStatus::Serving).await?;
    let ended = api.ended(&batch).await?;
    let audit = api.audit(&input, &ended).await?;
    ensure!(audit.answered == REQUESTS, "{:?}", audit.failed);
    let answers = engine.stats().answers;
    ensure!(answers == REQUESTS as u64, "{} answers were asked for again", answers - REQUESTS as u64);
    ensure!(!executor.log().contains("not connected"), "the executor was lost");
    Ok(())
}
