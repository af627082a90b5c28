//! Who is let in: so many connections in all, so many of one address, so many that have not asked for
//! anything yet. And what one address has left of the calls.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Options;

/// The seats of one port. A cheap clone.
#[derive(Debug, Clone)]
pub(super) struct Admission {
    all: Arc<Semaphore>,
    pending: Arc<Semaphore>,
    /// At most one entry a connection.
    taken: Arc<Mutex<HashMap<IpAddr, Taken>>>,
    per_address: usize,
    calls_per_address: usize,
}

/// What one address has.
#[derive(Debug)]
struct Taken {
    connections: usize,
    /// Calls that it has left.
    calls: Arc<Semaphore>,
}

/// What a connection has for as long as it is open.
#[derive(Debug)]
pub(super) struct Seat {
    _one: OwnedSemaphorePermit,
    taken: Arc<Mutex<HashMap<IpAddr, Taken>>>,
    origin: IpAddr,
    calls: Arc<Semaphore>,
}

/// What it has until it has asked for something.
pub(super) type Pending = OwnedSemaphorePermit;

// === impl Admission ===

impl Admission {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            all: permits(options.max_connections),
            pending: permits(options.max_pending_handshakes),
            taken: Arc::default(),
            per_address: options.max_connections_per_address,
            calls_per_address: options.max_calls_per_address,
        }
    }

    /// Nothing if a bound is reached.
    pub(super) fn admit(&self, address: IpAddr) -> Option<(Seat, Pending)> {
        let one = Arc::clone(&self.all).try_acquire_owned().ok()?;
        let pending = Arc::clone(&self.pending).try_acquire_owned().ok()?;
        let origin = origin(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Taken { connections: 0, calls: permits(self.calls_per_address) };
        let here = taken.entry(origin).or_insert_with(new);
        if here.connections >= self.per_address {
            return None;
        }
        here.connections += 1;
        let (taken, calls) = (Arc::clone(&self.taken), Arc::clone(&here.calls));
        Some((Seat { _one: one, taken, origin, calls }, pending))
    }
}

// === impl Seat ===

impl Seat {
    /// What its address has left of the calls.
    pub(super) fn calls(&self) -> Arc<Semaphore> {
        Arc::clone(&self.calls)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = taken.get_mut(&self.origin) {
            here.connections -= 1;
            if here.connections == 0 {
                taken.remove(&self.origin);
            }
        }
    }
}

fn permits(n: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(n.min(Semaphore::MAX_PERMITS)))
}

/// A host has a whole /64 of IPv6 for itself, and an IPv4 address may come in IPv6's clothes.
fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn one_address_does_not_get_all_seats() {
        let options = Options { max_connections: 3, max_connections_per_address: 2, ..Options::default() };
        let admission = Admission::new(&options);
        let here = address("2001:db8::1");
        let first = admission.admit(here).expect("a seat");
        let _second = admission.admit(address("2001:db8::2")).expect("a seat for the same network");
        assert!(admission.admit(here).is_none(), "the address has its two");
        let _other = admission.admit(address("10.0.0.1")).expect("a seat for another address");
        assert!(admission.admit(address("10.0.0.2")).is_none(), "all three are taken");
        drop(first);
        assert!(admission.admit(here).is_some(), "a seat is free again");
    }

    #[test]
    fn who_has_asked_for_nothing_yet_is_bounded_apart() {
        let options = Options { max_pending_handshakes: 1, ..Options::default() };
        let admission = Admission::new(&options);
        let (_seat, pending) = admission.admit(address("10.0.0.1")).expect("a seat");
        assert!(admission.admit(address("10.0.0.2")).is_none(), "one is pending");
        drop(pending);
        assert!(admission.admit(address("10.0.0.2")).is_some(), "nobody is pending");
    }

    #[test]
    fn nothing_is_kept_of_who_has_gone() {
        let admission = Admission::new(&Options::default());
        drop(admission.admit(address("::ffff:10.0.0.1")).expect("a seat"));
        assert!(admission.taken.lock().expect("no panic").is_empty());
    }
}
