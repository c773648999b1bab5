//! A transport on a connection that another program made, logged in on and holds: OpenSSH's PROTOCOL.mux
//! §9. It has no keys and no login; the other program passes on what concerns channels, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use super::core::Start;
use super::link::Link;
use super::login::{Finished, PeerExtensions};
use super::reader::Inbox;
use super::stream::Halves;
use super::{Limits, start};
use crate::error::Result;
use crate::kex::{Algorithms, Kex, Role, Setup};
use crate::packet::{Opener, Sealer};
use crate::sys::traffic::TrafficClasses;

/// The master is on this machine; how far the server is it does not say.
const ROUND_TRIP: Duration = Duration::from_millis(1);

/// Starts the threads of a client on a stream that the master has switched to passing packets on.
pub(crate) fn start_shared(halves: Halves, limits: Limits) -> Result<Link> {
    let setup = Setup {
        role: Role::Client,
        algorithms: Algorithms::client_defaults(),
        our_ident: Vec::new(),
        peer_ident: Vec::new(),
        host_keys: Vec::new(),
        moduli: Arc::default(),
    };
    let parts = Start {
        role: Role::Client,
        kex: Kex::new(setup.clone()),
        setup,
        host_keys: Vec::new(),
        // Nothing of ours is used up: the timer of new keys would pass for ever.
        limits: Limits { rekey_bytes: u64::MAX, rekey_interval: Duration::MAX, ..limits },
        peer: halves.peer,
        peer_ident: String::new(),
        keepalive: None,
        traffic: TrafficClasses::default(),
        round_trip: ROUND_TRIP,
        extensions: PeerExtensions::default(),
        closer: halves.closer,
        serving: false,
        shared: true,
        taker: None,
    };
    let login = Finished {
        read: halves.read,
        write: halves.write,
        sealer: Sealer::shared(),
        opener: Opener::shared(),
        inbox: Inbox::new(),
    };
    start(login, parts)
}
