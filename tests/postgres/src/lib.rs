//! A PostgreSQL server that lives as long as the tests that started it, and a database for each test.
//!
//! With `CARAVAN_TEST_STORE_URL` (`postgres://USER@HOST`, of a user that may create databases) that server is
//! taken instead.

mod instance;
mod server;

use std::{io, process::Command};

use instance::Disk;
pub use instance::Instance;
use server::Server;

/// An empty database, which is dropped with this.
#[derive(Debug)]
pub struct Database {
    server: &'static Server,
    name: String,
}

// === impl Database ===

impl Database {
    /// Creates one. What is in it does not outlast a power cut, and costs no wait for the disk.
    ///
    /// # Errors
    /// If there is no PostgreSQL on this machine, or it does not start.
    pub fn create() -> io::Result<Self> {
        Self::on(Disk::Ignored)
    }

    /// Creates one on a server with PostgreSQL's own settings: what is committed is on the disk.
    ///
    /// # Errors
    /// As `create`.
    pub fn durable() -> io::Result<Self> {
        Self::on(Disk::AsShipped)
    }

    fn on(disk: Disk) -> io::Result<Self> {
        let name = format!("caravan_test_{}", uuid::Uuid::now_v7().simple());
        let database = Self { server: Server::get(disk)?, name };
        database.admin(&format!("CREATE DATABASE {}", database.name))?;
        Ok(database)
    }

    /// Where it is: `postgres://…`.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// Ends all connections and refuses new ones: what an outage looks like.
    ///
    /// # Errors
    /// If the server does not answer.
    pub fn shut(&self) -> io::Result<()> {
        self.admin(&format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", self.name))?;
        self.admin(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'",
            self.name
        ))
    }

    /// Ends the outage.
    ///
    /// # Errors
    /// If the server does not answer.
    pub fn open(&self) -> io::Result<()> {
        self.admin(&format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", self.name))
    }

    fn admin(&self, statement: &str) -> io::Result<()> {
        let psql = Command::new(self.server.program("psql"))
            .args([
                "--no-psqlrc",
                "--quiet",
                "--dbname",
                &self.server.url("postgres"),
                "--command",
                statement,
            ])
            .output()?;
        match psql.status.success() {
            true => Ok(()),
            false => Err(io::Error::other(String::from_utf8_lossy(&psql.stderr).into_owned())),
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Err(error) = self.admin(&format!("DROP DATABASE {} WITH (FORCE)", self.name)) {
            eprintln!("{} is left behind: {error}", self.name);
        }
    }
}
