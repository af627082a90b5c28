//! All processes of a run and the links between them.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use tokio::{sync::Mutex, time::sleep};

use super::{
    config,
    engine::Control,
    fault::{Deed, Fault, Seat, What, Wire},
    link::{Link, Weather},
    options::Options,
};
use crate::Process;

/// Planners, gateways, executors and engines, each on a free port, each connection over a link.
/// Everything ends when this is dropped.
#[derive(Debug)]
pub(super) struct Cluster {
    options: Options,
    directory: PathBuf,
    wires: BTreeMap<Wire, Wired>,
    members: BTreeMap<Seat, Mutex<Member>>,
}

#[derive(Debug)]
struct Wired {
    link: Link,
    /// Held by the fault that holds: one at a time on a link.
    turn: Mutex<()>,
}

/// A process at work; its lock is held by the fault that holds.
#[derive(Debug)]
struct Member {
    process: Process,
    /// Of an engine.
    control: Option<Control>,
}

// === impl Cluster ===

impl Cluster {
    /// Starts everything; files and logs go to `directory`. Returns when every process is ready.
    ///
    /// # Errors
    /// If one does not come up.
    pub(super) async fn start(options: &Options, directory: &Path) -> anyhow::Result<Self> {
        let mut wires = BTreeMap::new();
        for wire in config::wires(options) {
            wires.insert(wire, Wired { link: Link::new().await?, turn: Mutex::default() });
        }
        let (options, directory) = (options.clone(), directory.to_owned());
        let mut cluster = Self { options, directory, wires, members: BTreeMap::new() };
        for seat in config::seats(&cluster.options) {
            let member = cluster.launch(seat).await?;
            cluster.members.insert(seat, Mutex::new(member));
        }
        Ok(cluster)
    }

    /// URLs of the gateways as clients dial them.
    pub(super) fn gateways(&self) -> Vec<String> {
        (0..self.options.gateways).map(|gateway| self.url(Wire::ClientGateway(gateway))).collect()
    }

    /// Brings the fault about, lets it hold, and ends it.
    ///
    /// # Errors
    /// If a process had ended by itself before, ends otherwise than it should, or does not come up again.
    pub(super) async fn suffer(&self, fault: &Fault) -> anyhow::Result<()> {
        match fault.what {
            What::Process(seat, deed) => self.strike(seat, deed, fault.time).await,
            What::Wire(wire, weather) => {
                let wired = self.wires.get(&wire).context("no such link")?;
                let _turn = wired.turn.lock().await;
                wired.link.be(weather);
                sleep(fault.time).await;
                wired.link.be(Weather::Clear);
                Ok(())
            }
            What::Engine(engine, trouble) => {
                let member = self.member(Seat::Engine(engine))?.lock().await;
                let control = member.control.as_ref().context("no engine")?;
                control.trouble(trouble, fault.time).await
            }
        }
    }

    async fn strike(&self, seat: Seat, deed: Deed, time: Duration) -> anyhow::Result<()> {
        let mut member = self.member(seat)?.lock().await;
        member.lives(seat)?;
        match deed {
            Deed::Stop => {
                member.process.signal("STOP").await?;
                sleep(time).await;
                return member.process.signal("CONT").await;
            }
            Deed::Kill => {
                member.process.kill().await?;
                self.point(seat, None);
                sleep(time).await;
            }
            Deed::Drain => {
                member.drain(seat).await?;
                self.point(seat, None);
            }
        }
        *member = self.launch(seat).await?;
        Ok(())
    }

    /// Asks every process to stop, those that have work first.
    ///
    /// # Errors
    /// If one had ended by itself, or does not end in good order.
    pub(super) async fn stop(&self) -> anyhow::Result<()> {
        for (seat, member) in self.members.iter().rev() {
            let mut member = member.lock().await;
            member.lives(*seat)?;
            member.drain(*seat).await?;
        }
        Ok(())
    }

    /// Starts a process in its place, and points what leads there to it.
    async fn launch(&self, seat: Seat) -> anyhow::Result<Member> {
        let name = seat.to_string();
        let ready = self.directory.join(format!("{name}.ready"));
        let url = |wire| self.url(wire);
        let args = match seat {
            Seat::Engine(engine) => config::engine(&self.options, &self.answers(engine)),
            _ => {
                let file = self.directory.join(format!("{name}.toml"));
                std::fs::write(&file, config::role(seat, &self.options, &self.directory, url))?;
                vec!["--config".into(), file.into()]
            }
        };
        let args = args.into_iter().chain(["--ready-file".into(), ready.clone().into()]);
        let mut process = Process::start(config::program(seat), &name, &self.directory, args)?.quiet();
        let served = process.ready(&ready).await?;
        let served = served["grpc"].as_str().or(served["http"].as_str());
        let mut control = None;
        if let (Seat::Engine(_), Some(url)) = (seat, served) {
            let engine = Control::new(url)?;
            // Before anybody gets at it.
            engine.poison().await?;
            control = Some(engine);
        }
        if let Some(url) = served {
            self.point(seat, Some(url.strip_prefix("http://").context("no http URL")?.parse()?));
        }
        Ok(Member { process, control })
    }

    /// Points all links that lead to `seat`.
    fn point(&self, seat: Seat, target: Option<SocketAddr>) {
        let leads = |wire: &Wire| match (*wire, seat) {
            (Wire::ClientGateway(to), Seat::Gateway(number))
            | (Wire::GatewayPlanner(_, to) | Wire::ExecutorPlanner(_, to), Seat::Planner(number))
            | (Wire::ExecutorEngine(to), Seat::Engine(number)) => to == number,
            _ => false,
        };
        self.wires.iter().filter(|(wire, _)| leads(wire)).for_each(|(_, wired)| wired.link.point_to(target));
    }

    /// The file of an engine's answers.
    pub(super) fn answers(&self, engine: usize) -> PathBuf {
        self.directory.join(format!("engine-{engine}.answers"))
    }

    fn url(&self, wire: Wire) -> String {
        self.wires.get(&wire).map(|wired| format!("http://{}", wired.link.address())).unwrap_or_default()
    }

    fn member(&self, seat: Seat) -> anyhow::Result<&Mutex<Member>> {
        self.members.get(&seat).with_context(|| format!("no {seat}"))
    }
}

// === impl Member ===

impl Member {
    /// That it has not ended by itself.
    fn lives(&mut self, seat: Seat) -> anyhow::Result<()> {
        let ended = self.process.has_ended()?;
        ensure!(ended.is_none(), "{seat} ended by itself: {ended:?}: {}", self.process.log());
        Ok(())
    }

    /// Asks it to stop and waits for its end.
    async fn drain(&mut self, seat: Seat) -> anyhow::Result<()> {
        self.process.signal("TERM").await?;
        let code = self.process.ended().await?;
        // An engine knows no good end.
        let expected = if matches!(seat, Seat::Engine(_)) { None } else { Some(0) };
        ensure!(code == expected, "{seat} ended with {code:?} when it was asked to: {}", self.process.log());
        Ok(())
    }
}
