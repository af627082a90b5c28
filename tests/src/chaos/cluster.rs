//! All processes of a run and the links between them.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Context as _;
use tokio::{sync::Mutex, time::sleep};

use super::{
    clock, config,
    engine::Control,
    fault::{APART, Deed, Fault, Means, Seat, What, Wire},
    ground::Ground,
    link::{Link, Target, Weather},
    member::Member,
    options::Options,
};
use crate::{Process, binary};

/// Everybody, each on a free port, each connection over a link. Everything ends when this is dropped.
#[derive(Debug)]
pub(super) struct Cluster {
    options: Options,
    directory: PathBuf,
    ground: Ground,
    wires: BTreeMap<Wire, Wired>,
    members: BTreeMap<Seat, Mutex<Member>>,
}

#[derive(Debug)]
struct Wired {
    link: Link,
    /// Held by the fault that holds: one at a time on a link.
    turn: Mutex<()>,
}

// === impl Cluster ===

impl Cluster {
    /// Starts everything; files and logs go to `directory`. Returns when every process is ready.
    ///
    /// # Errors
    /// If one does not come up.
    pub(super) async fn start(options: &Options, directory: &Path) -> anyhow::Result<Self> {
        let ground = Ground::prepare(options, directory).await?;
        let mut wires = BTreeMap::new();
        for wire in config::wires(options) {
            let link = Link::new(dialled_at(wire, options, &ground)).await?;
            wires.insert(wire, Wired { link, turn: Mutex::default() });
        }
        let (options, directory) = (options.clone(), directory.to_owned());
        let mut cluster = Self { options, directory, ground, wires, members: BTreeMap::new() };
        for seat in config::seats(&cluster.options) {
            let member = cluster.launch(seat).await?;
            cluster.members.insert(seat, Mutex::new(member));
        }
        Ok(cluster)
    }

    /// What faults can be brought about.
    pub(super) fn means(&self) -> Means {
        self.ground.means()
    }

    /// Which faults cannot be, and why.
    pub(super) fn lacks(&self) -> &[String] {
        &self.ground.lacks
    }

    /// URLs of the gateways as clients dial them.
    pub(super) fn gateways(&self) -> Vec<String> {
        let gateways = 0..self.options.gateways;
        gateways.map(|gateway| format!("http://{}", self.at(Wire::ClientGateway(gateway)))).collect()
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
            What::Disk => self.ground.fill(fault.time).await,
            What::Network(_) => self.ground.unplug(fault.time).await,
        }
    }

    async fn strike(&self, seat: Seat, deed: Deed, time: Duration) -> anyhow::Result<()> {
        let mut member = self.member(seat)?.lock().await;
        member.lives(seat)?;
        match deed {
            Deed::Stop => {
                member.stop().await?;
                sleep(time).await;
                return member.resume().await;
            }
            Deed::Jump(seconds) => return Ok(clock::jump(&self.clock(seat), seconds, time).await?),
            Deed::Kill => {
                member.kill().await?;
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

    /// Leaves the data of planners where it is found when all has ended.
    ///
    /// # Errors
    /// If there is no room for it.
    pub(super) async fn keep(&self) -> anyhow::Result<()> {
        self.ground.keep(&self.directory.join("kept")).await
    }

    /// Starts a process in its place, and points what leads there to it.
    async fn launch(&self, seat: Seat) -> anyhow::Result<Member> {
        let name = seat.to_string();
        let file = |kind: &str| self.directory.join(format!("{name}.{kind}"));
        if seat == Seat::Database {
            let (process, target) = self.ground.start_database(&name, &self.directory).await?;
            self.point(seat, Some(target));
            return Ok(Member::new(process));
        }
        if seat == Seat::Objects {
            let (process, target) = self.ground.start_objects(&name, &self.directory).await?;
            self.point(seat, Some(target));
            return Ok(Member::new(process));
        }
        let mut command = match seat {
            Seat::Engine(engine) => {
                let mut command = Command::new(binary("simulated-engine")?);
                command.args(config::engine(&self.options, &self.answers(engine)));
                command
            }
            Seat::Planner(_) => role("caravan-planner", &file("toml"))?,
            Seat::Gateway(_) => role("caravan-gateway", &file("toml"))?,
            _ => role("caravan-executor", &file("toml"))?,
        };
        let text = config::role(seat, &self.options, &self.directory, |wire| self.at(wire));
        std::fs::write(file("toml"), text)?;
        command.arg("--ready-file").arg(file("ready"));
        let command = self.ground.place(seat, command, &self.clock(seat))?;
        let mut process = Process::spawn(command, &name, &self.directory)?.quiet();
        let served = process.ready(&file("ready")).await?;
        let mut member = Member::new(process);
        let Some(url) = served["grpc"].as_str().or(served["http"].as_str()) else { return Ok(member) };
        if let Seat::Engine(_) = seat {
            let engine = Control::new(url)?;
            // Before anybody gets at it.
            engine.poison().await?;
            member.control = Some(engine);
        }
        let address = url.strip_prefix("http://").context("no http URL")?.parse()?;
        self.point(seat, Some(Target::Tcp(address)));
        Ok(member)
    }

    /// Points all links that lead to `seat`.
    fn point(&self, seat: Seat, target: Option<Target>) {
        let leads = |wire: &Wire| match (*wire, seat) {
            (Wire::ClientGateway(to), Seat::Gateway(number))
            | (Wire::GatewayPlanner(_, to) | Wire::ExecutorPlanner(_, to), Seat::Planner(number))
            | (Wire::ExecutorEngine(to), Seat::Engine(number)) => to == number,
            (Wire::PlannerDatabase(_), Seat::Database) | (Wire::PlannerObjects(_), Seat::Objects) => true,
            _ => false,
        };
        let leading = self.wires.iter().filter(|(wire, _)| leads(wire));
        leading.for_each(|(_, wired)| wired.link.point_to(target.clone()));
    }

    /// The file of an engine's answers.
    pub(super) fn answers(&self, engine: usize) -> PathBuf {
        self.directory.join(format!("engine-{engine}.answers"))
    }

    /// The file that a process has its clock from.
    fn clock(&self, seat: Seat) -> PathBuf {
        self.directory.join(format!("{seat}.clock"))
    }

    /// Where a link is dialled.
    fn at(&self, wire: Wire) -> SocketAddr {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        self.wires.get(&wire).map_or(nowhere, |wired| wired.link.address())
    }

    fn member(&self, seat: Seat) -> anyhow::Result<&Mutex<Member>> {
        self.members.get(&seat).with_context(|| format!("no {seat}"))
    }
}

/// The executor with a network of its own reaches nothing of this machine but its end of the cable.
fn dialled_at(wire: Wire, options: &Options, ground: &Ground) -> IpAddr {
    let dials = match wire {
        Wire::ExecutorPlanner(executor, _) => executor == APART,
        Wire::ExecutorEngine(engine) => engine % options.executors == APART,
        _ => false,
    };
    let cable = ground.network.as_ref().filter(|_| dials).map(|network| network.address);
    cable.unwrap_or(Ipv4Addr::LOCALHOST).into()
}

fn role(program: &str, config: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(binary(program)?);
    command.arg("--config").arg(config);
    Ok(command)
}
