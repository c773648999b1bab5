//! The first packets: which version, which extensions, which limits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::exchange::{Carrier, Exchange, SMALL_ANSWER};
use super::incoming::{Incoming, Wait, broken};
use super::{Answer, Asked, SFTPClient, Server, Shared};
use crate::channel::Channel;
use crate::engine::{Halves, Intake, Lane, Stream};
use crate::error::{Error, Result};
use crate::sftp::packet::message::{Init, Version, framed};
use crate::sftp::packet::{MAX_DATA, MAX_PACKET, SAFE_DATA, SFTPLimits, SFTPVendor, VERSION, extension};
use crate::wire::Rest;

/// How long a request may take if nobody says otherwise: `Limits::request_timeout`'s figure, for streams
/// that have no limits of their own.
const TIMEOUT: Duration = Duration::from_secs(3600);
/// How long the server may take for its first packet.
const START: Duration = Duration::from_secs(60);
/// What a stream takes in of its own: half of what Linux gives a socket.
const STREAM_CAPACITY: usize = 96 * 1024;
/// Servers, by their version strings, that name a link's target first. OpenSSH does it by mistake and the
/// others because it does; all else goes by the draft.
const TARGET_FIRST: [&str; 3] = ["OpenSSH", "paramiko", "feramiko"];

pub(super) fn on_channel(channel: Channel, peer_version: &str) -> Result<SFTPClient> {
    // Over the connection of a master nothing is known of the server: as on streams.
    let target_first = peer_version.is_empty() || TARGET_FIRST.iter().any(|name| peer_version.contains(name));
    // What the server says there is for nobody, and would fill the window.
    channel.link().stop_reading(Lane::Stderr);
    let core = channel.link().link().core();
    let (round_trip, timeout) = (core.round_trip(), core.limits.request_timeout);
    let carrier = Box::new(channel.link().intake());
    let halves = Box::new(channel).split().map_err(|error| Error::io("preparing the channel", error))?;
    start(halves, carrier, target_first, round_trip, timeout)
}

pub(super) fn on_stream(stream: Box<dyn Stream>) -> Result<SFTPClient> {
    let halves = stream.split().map_err(|error| Error::io("preparing the stream", error))?;
    start(halves, Box::new(Plain), true, Duration::ZERO, TIMEOUT)
}

impl Carrier for Intake {
    fn capacity(&self) -> usize {
        Self::capacity(self)
    }

    fn asks_ahead(&self, ahead: bool) {
        Self::asks_ahead(self, ahead);
    }
}

/// A stream that nothing is known of.
struct Plain;

impl Carrier for Plain {
    fn capacity(&self) -> usize {
        STREAM_CAPACITY
    }

    fn asks_ahead(&self, _ahead: bool) {}
}

fn start(
    halves: Halves,
    carrier: Box<dyn Carrier>,
    target_first: bool,
    round_trip: Duration,
    timeout: Duration,
) -> Result<SFTPClient> {
    let Halves { read, mut write, closer, .. } = halves;
    let deadline = Instant::now().checked_add(START.min(timeout));
    let init = framed(&Init { version: VERSION, extensions: Rest(b"") });
    write.write_all(&init, deadline).map_err(broken)?;
    let mut incoming = Incoming::new(read);
    let extensions = read_version(&mut incoming, deadline)?;
    let vendor = vendor(&extensions);
    let limits = SFTPLimits { read: SAFE_DATA.into(), write: SAFE_DATA.into(), ..SFTPLimits::default() };
    let server = Server { extensions, limits, vendor, target_first };
    let mut shared = Shared {
        exchange: Exchange::new(incoming, write, closer, carrier),
        server,
        directory: Mutex::new(None),
        timeout: Mutex::new(timeout),
        round_trip,
    };
    if announced(&shared.server, extension::LIMITS) {
        let asking = SFTPClient { shared: Arc::new(shared), cancel_when: None };
        let limits = asking.ask_limits()?;
        // Nobody else has it yet.
        shared = Arc::into_inner(asking.shared).ok_or(Error::Misuse("a client shared before it was made"))?;
        shared.server.limits = limits;
    }
    Ok(SFTPClient { shared: Arc::new(shared), cancel_when: None })
}

fn announced(server: &Server, name: &str) -> bool {
    server.extensions.iter().any(|(known, _)| known == name.as_bytes())
}

fn vendor(extensions: &[(Vec<u8>, Vec<u8>)]) -> Option<SFTPVendor> {
    let (_, data) = extensions.iter().find(|(name, _)| name == extension::VENDOR_ID.as_bytes())?;
    // What cannot be read says nothing; it is for show.
    SFTPVendor::decode(data).ok()
}

/// VERSION has no request's number: where an answer has it, VERSION has the version.
fn read_version(incoming: &mut Incoming, deadline: Option<Instant>) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let reply = incoming.next(Wait::Until(deadline), &mut None).map_err(hint)?;
    if reply.kind != Version::NUMBER {
        return Err(hint(Error::protocol(format!("SFTP packet {} instead of VERSION", reply.kind))));
    }
    if reply.id != VERSION {
        return Err(Error::Unsupported(format!("SFTP version {}", reply.id)));
    }
    Ok(extension::announced(Rest(&reply.body))?)
}

/// Text in the place of packets is mostly a shell's, whose start-up files print something.
fn hint(error: Error) -> Error {
    match error {
        Error::Protocol { code, text } => Error::Protocol {
            code,
            text: format!("{text}; if the server's shell prints something at its start, that is in the way"),
        },
        other => other,
    }
}

impl SFTPClient {
    /// What the server says it takes, bounded by what we take.
    fn ask_limits(&self) -> Result<SFTPLimits> {
        let asked = Asked { operation: extension::LIMITS, path: b"" };
        let answer = match self.ask(extension::request(0, extension::LIMITS, b""), SMALL_ANSWER, asked) {
            // It has announced what it does not do: then it takes what all take.
            Err(Error::Sftp(_)) => return Ok(self.shared.server.limits),
            other => other?,
        };
        let Answer::Extended(body) = answer else { return Err(self.wrong(&answer, asked)) };
        let told = SFTPLimits::decode(Rest(&body)).map_err(Error::from)?;
        let bounded = |told: u64| match told {
            0 => SAFE_DATA.into(),
            told => told.min(MAX_DATA.into()),
        };
        let packet = if told.packet == 0 { 0 } else { told.packet.min(MAX_PACKET as u64) };
        Ok(SFTPLimits { packet, read: bounded(told.read), write: bounded(told.write), handles: told.handles })
    }
}
