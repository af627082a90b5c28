use std::{fs::File, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use caravan_proto::{
    MAX_MESSAGE_BYTES,
    v1::{
        self, access_service_server::AccessServiceServer, batch_service_server::BatchServiceServer,
        credential_service_server::CredentialServiceServer, file_service_server::FileServiceServer,
        fleet_service_server::FleetServiceServer, work_service_server::WorkServiceServer,
    },
};
use caravan_service::{
    Shutdown,
    compression::ACCEPTED,
    config::{self, Section},
    identity::Guard,
    listen::{self, Bound},
    serve::{self, Services, serve},
    tls,
};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::{
    Options,
    api::{Access, Batches, Files, FleetApi, Latest, Models, Work},
    dispatch::{Errands, Fleet, Lessor, Sessions},
    garbage::Garbage,
    keys::{self, KeyHolders},
    objects::{self, Objects},
    prepare::Preparer,
    results::Gatherer,
    signals::Signals,
    store::{self, Migrated, Store, StoreUrl},
    upkeep::Upkeep,
    vocabularies::Vocabularies,
    webhooks::Webhooks,
};

/// How long streams and steps may take to end once nobody is served any more.
const CLOSING: Duration = Duration::from_secs(2);

/// Why the planner cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A key of the configuration.
    #[error("cannot start")]
    Configuration(#[from] config::Error),
    /// The data directory.
    #[error("cannot use the data directory {}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another planner has the data directory.
    #[error("the data directory {} is in use by another process: stop it, or choose another directory", path.display())]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// The port.
    #[error(transparent)]
    Listen(#[from] listen::Error),
    /// The certificate or what belongs to it.
    #[error("no TLS can be served")]
    Tls(#[from] tls::Error),
    /// The database.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A key that is to be made.
    #[error(transparent)]
    Key(#[from] keys::Error),
    /// The object store.
    #[error(transparent)]
    Objects(#[from] objects::OpenError),
    /// Nothing to tell webhooks with.
    #[error("no TLS for webhooks")]
    Webhooks(#[source] reqwest::Error),
    /// The server.
    #[error(transparent)]
    Serve(#[from] serve::Error),
}

/// A planner that is ready to run.
pub struct Service {
    options: Options,
    bound: Bound,
    store: Arc<dyn Store>,
    objects: Objects,
    guard: Guard,
    /// Held for as long as a database in the data directory is in use.
    _lock: Option<File>,
}

// === impl Options ===

impl Options {
    /// Takes the database, which it brings up to date, and the port.
    ///
    /// # Errors
    /// As [`check`](Self::check), or if one of them cannot be had.
    pub async fn build(self) -> Result<Service, Error> {
        self.check(Section::TOP)?;
        let (database, lock) = self.take_database()?;
        let tls = tls::Server::new(&self.tls)?;
        let bound = listen::bind(&self.listen).await?.with_tls(tls);
        self.identity.check_address("identity", "listen", bound.local_addr())?;
        let store = database.open(self.store).await?;
        let keys = Arc::new(KeyHolders::new(Arc::clone(&store)));
        let guard = Guard::new(&self.identity, keys)?.believing_gateways();
        let objects = Objects::open(&self.objects(), &self.objects).await?;
        let proposed = Uuid::now_v7();
        let identify = async || store.identity(proposed).await;
        let identity = store::start::patiently(self.store.start(), identify).await?;
        objects.belong_to(identity).await?;
        Ok(Service { options: self, bound, store, objects, guard, _lock: lock })
    }

    /// Brings the database up to date, and nothing else.
    ///
    /// # Errors
    /// If it cannot be had, or is of a later version.
    pub async fn migrate(self) -> Result<Migrated, Error> {
        let (database, _lock) = self.take_database()?;
        Ok(database.migrate(self.store).await?)
    }

    /// Makes a key, with nobody asked who wants it: whoever has the database has everything. Gives it with its
    /// text.
    ///
    /// # Errors
    /// If the database cannot be had, or `wanted` is no key.
    pub async fn create_key(self, wanted: v1::Key) -> Result<(v1::Key, String), Error> {
        let (database, _lock) = self.take_database()?;
        let store = database.open(self.store).await?;
        let (key, text) = keys::create(&*store, wanted).await?;
        Ok((keys::message(key), text))
    }

    /// One process has a database in a file; any number share a server.
    fn take_database(&self) -> Result<(StoreUrl, Option<File>), Error> {
        let database = self.database();
        let lock = database.file().map(|_| lock(&self.data_dir)).transpose()?;
        Ok((database, lock))
    }
}

fn lock(directory: &std::path::Path) -> Result<File, Error> {
    let failed = |source| Error::Directory { path: directory.to_owned(), source };
    std::fs::create_dir_all(directory).map_err(failed)?;
    let file = File::options().create(true).write(true).truncate(false).open(directory.join("lock"));
    let file = file.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::InUse { path: directory.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

// === impl Service ===

impl Service {
    /// The address in force.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.bound.local_addr()
    }

    /// Where clients find it, `http://host:port`, or `https://` with TLS.
    #[must_use]
    pub fn url(&self) -> String {
        self.bound.url()
    }

    /// Serves until `shutdown`.
    ///
    /// # Errors
    /// If the server fails.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), Error> {
        let Self { options, bound, store, objects, guard, _lock } = self;
        let webhooks =
            Webhooks::new(options.webhooks.clone(), Arc::clone(&store)).map_err(Error::Webhooks)?;
        let (signals, fleet, tasks) = (Signals::default(), Fleet::default(), TaskTracker::new());
        let gatherer =
            Arc::new(Gatherer::new(options.commit, Arc::clone(&store), objects.clone(), signals.clone()));
        let vocabularies = Vocabularies::new(options.vocabularies, objects.clone(), fleet.clone());
        let errands = Errands::new(Arc::clone(&store));
        let sessions = Arc::new(Sessions::new(
            options.lease,
            Arc::clone(&store),
            fleet.clone(),
            Arc::clone(&gatherer),
            vocabularies.clone(),
            errands.clone(),
            signals.clone(),
        ));
        let preparer = Arc::new(Preparer::new(
            options.prepare.clone(),
            options.lease,
            Arc::clone(&store),
            objects.clone(),
            vocabularies,
        ));
        let stop = CancellationToken::new();
        let lessor =
            Lessor::new(options.lease, Arc::clone(&store), objects.clone(), fleet.clone(), signals.clone());
        let (fit, is_fit) = watch::channel(true);
        let upkeep = Upkeep::new(
            options.lease,
            Arc::clone(&store),
            objects.clone(),
            Arc::clone(&preparer),
            fleet.clone(),
            signals.clone(),
            fit,
        );
        tasks.spawn(lessor.run(stop.clone()));
        let garbage = Garbage::new(options.garbage, Arc::clone(&store), objects.clone());
        tasks.spawn(upkeep.run(stop.clone()));
        tasks.spawn(garbage.run(stop.clone()));
        tasks.spawn(webhooks.run(stop.clone()));

        let streams = shutdown.token();
        let models =
            Models { store: Arc::clone(&store), fleet: fleet.clone(), errands, stop: streams.clone() };
        let work = Work::new(Arc::clone(&sessions), Arc::clone(&store), objects.clone());
        let batches = Batches {
            store: Arc::clone(&store),
            objects: objects.clone(),
            retention: options.garbage.retention(),
            quotas: options.quotas,
            webhooks: options.webhooks,
            preparer,
            fleet,
            latest: Latest::new(Arc::clone(&store), signals.clone(), tasks.clone(), streams.clone()),
            signals,
            tasks: tasks.clone(),
            stop: streams.clone(),
        };
        let access = Access::new(Arc::clone(&store));
        let files = Files::new(Arc::clone(&store), objects, options.max_file_bytes, tasks.clone());
        let fleet_api = FleetApi::new(store, options.lease, models, tasks.clone(), streams);
        let services = Services::new()
            .serving_while(is_fit)
            .guarded_by(guard)
            .add(
                FileServiceServer::new(files)
                    .max_decoding_message_size(MAX_MESSAGE_BYTES)
                    .accept_compressed(ACCEPTED)
                    .send_compressed(ACCEPTED),
            )
            .add(
                BatchServiceServer::new(batches)
                    .max_decoding_message_size(MAX_MESSAGE_BYTES)
                    .max_encoding_message_size(MAX_MESSAGE_BYTES)
                    .accept_compressed(ACCEPTED)
                    .send_compressed(ACCEPTED),
            )
            .add(FleetServiceServer::new(fleet_api))
            .add(AccessServiceServer::new(access.clone()))
            .add(CredentialServiceServer::new(access))
            .add(
                WorkServiceServer::new(work)
                    .max_decoding_message_size(MAX_MESSAGE_BYTES)
                    .max_encoding_message_size(MAX_MESSAGE_BYTES),
            );
        let leaving = async {
            shutdown.cancelled().await;
            // No further lease, then no executor, then the last commits.
            stop.cancel();
            tokio::select! {
                () = async { tokio::join!(sessions.stop(), gatherer.stop()); } => {}
                () = shutdown.expired() => {}
            }
        };
        let (served, ()) = tokio::join!(serve(bound, services, &options.serve, shutdown.clone()), leaving);
        tasks.close();
        // Whatever still runs then is dropped with the process, and begun anew by the next one.
        let _late = tokio::time::timeout(CLOSING, tasks.wait()).await;
        Ok(served?)
    }
}
