//! The system's log: lines for whoever listens where syslog(3) sends them, in the form of RFC 3164 without the time,
//! which the receiver knows.
//!
//! A line that nobody takes at once is lost: what is logged must not be held up by the log.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use log::Level;

/// Linux, macOS, the BSDs.
const SOCKETS: &[&str] = &["/dev/log", "/var/run/syslog", "/var/run/log"];
/// Bytes of a line; receivers cut longer ones at 8 KiB or before.
const LINE: usize = 4096;

/// Where a line belongs; RFC 3164, section 4.1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facility(u8);

impl Facility {
    /// What syslog(3) takes where nothing is said.
    pub(crate) const USER: Self = Self(1);

    /// By its name in `SyslogFacility`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        const NAMES: &[(&str, u8)] = &[("USER", 1), ("DAEMON", 3), ("AUTH", 4), ("AUTHPRIV", 10)];
        let name = name.to_ascii_uppercase();
        let local = |digits: &str| digits.parse().ok().filter(|number| *number < 8 && digits.len() == 1);
        match name.strip_prefix("LOCAL") {
            Some(digits) => local(digits).map(|number: u8| Self(16 + number)),
            None => NAMES.iter().find(|(known, _)| *known == name).map(|(_, code)| Self(*code)),
        }
    }

    /// With how much it matters: what a line begins with.
    fn with(self, level: Level) -> u8 {
        let severity = match level {
            Level::Error => 3,
            Level::Warn => 4,
            Level::Info => 6,
            Level::Debug | Level::Trace => 7,
        };
        self.0 * 8 + severity
    }
}

/// The log, and under which name.
#[derive(Debug)]
pub(crate) struct SystemLog {
    name: &'static str,
    facility: Facility,
    /// None until somebody listens. Taken for a clone, and to put another one there.
    socket: Mutex<Option<Arc<UnixDatagram>>>,
}

impl SystemLog {
    pub(crate) fn new(name: &'static str, facility: Facility) -> Self {
        Self { name, facility, socket: Mutex::new(None) }
    }

    /// Sends a line, which holds no control characters.
    pub(crate) fn send(&self, level: Level, text: &str) -> io::Result<()> {
        let end = (0..=LINE.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        let number = process::id();
        let line = format!("<{}>{}[{number}]: {}", self.facility.with(level), self.name, &text[..end]);
        let known = self.socket().clone();
        match known.map(|there| there.send(line.as_bytes())) {
            Some(Ok(_)) => return Ok(()),
            Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
            // Whoever listened may have been started again.
            None | Some(Err(_)) => {}
        }
        let there = SOCKETS.iter().map(connected).find(Result::is_ok).ok_or(io::ErrorKind::NotFound)??;
        let sent = there.send(line.as_bytes()).map(drop);
        *self.socket() = Some(Arc::new(there));
        sent
    }

    fn socket(&self) -> MutexGuard<'_, Option<Arc<UnixDatagram>>> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn connected(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect(path)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facilities() {
        let with = |name, level| Facility::named(name).map(|facility| facility.with(level));
        assert_eq!(with("AUTH", Level::Error), Some(35));
        assert_eq!(with("user", Level::Info), Some(14));
        assert_eq!(with("AuthPriv", Level::Warn), Some(84));
        assert_eq!(with("LOCAL7", Level::Trace), Some(191));
        for bad in ["", "LOCAL", "LOCAL8", "LOCAL00", "LOCAL-1", "KERN"] {
            assert_eq!(Facility::named(bad), None, "{bad}");
        }
    }
}
