//! The way to the database, which may not be there yet.

use std::time::Duration;

use backon::Retryable as _;
use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};
use tokio::time::timeout;

use super::Options;
use crate::store::{Error, start};

/// An address that does not answer at all is given up after this time, and tried again.
const ATTEMPT: Duration = Duration::from_secs(5);

/// What every connection says of itself.
pub(super) fn base(url: &PgConnectOptions) -> PgConnectOptions {
    let settings = [
        // Plans are small; to compile one would take longer than to run it a hundred times.
        ("jit", "off"),
        // A planner that vanished with its host holds nothing for longer than a lease lives.
        ("tcp_keepalives_idle", "4"),
        ("tcp_keepalives_interval", "2"),
        ("tcp_keepalives_count", "3"),
        // Nor one that vanished before it had taken an answer.
        ("tcp_user_timeout", "10000"),
    ];
    url.clone().application_name("caravan-planner").options(settings)
}

/// A connection of its own, as soon as the database takes it.
///
/// # Errors
/// If it refuses, or does not answer in time.
pub(super) async fn first(url: &PgConnectOptions, options: Options) -> Result<PgConnection, Error> {
    let connect = async || {
        let attempt = timeout(ATTEMPT, PgConnection::connect_with(&base(url))).await;
        attempt.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    };
    let told = |error: &sqlx::Error, pause: Duration| {
        let error: &dyn std::error::Error = error;
        tracing::warn!(error, host = url.get_host(), ?pause, "the database is not there yet");
    };
    let connected = connect.retry(start::pauses(options.start())).when(is_absent).notify(told).await;
    connected.map_err(|source| match is_absent(&source) {
        true => Error::Absent { place: place(url), seconds: options.start_ms / 1000, source },
        false => Error::Database(source),
    })
}

/// Where it should be, without who asks.
fn place(url: &PgConnectOptions) -> String {
    match url.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", url.get_host(), url.get_port()),
    }
}

/// Whether it may be there in a moment; what it refuses, it will refuse again.
pub(in crate::store) fn is_absent(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => true,
        // Starting up, shutting down, too many connections.
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| code.starts_with("57P") || code.starts_with("53"))
        }
        _ => false,
    }
}
