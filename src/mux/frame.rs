//! Messages on a UNIX socket: a length, then the message. Runs on its caller's thread, with deadlines.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::error::{Error, Phase, Result};
use crate::sys::socket;
use crate::wire::{Encode, string_of};

/// The longest message: OpenSSH's figure (CHANNEL_MUX_MAX_PACKET of channels.c).
pub(super) const FRAME_BYTES: usize = 256 * 1024;

fn failed(doing: &str, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::TimedOut => Error::Timeout(Phase::Request),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Error::Closed(None),
        _ => Error::io(format!("{doing} the control socket"), error),
    }
}

fn too_long() -> Error {
    Error::Limit { which: "FRAME_BYTES", limit: u64::try_from(FRAME_BYTES).unwrap_or(u64::MAX) }
}

/// The time after which whoever owes us bytes is taken for dead.
pub(super) fn until(time: Duration) -> Option<Instant> {
    Instant::now().checked_add(time)
}

/// Sends a message.
pub(super) fn write(stream: &UnixStream, message: &impl Encode, deadline: Option<Instant>) -> Result<()> {
    write_bytes(stream, &message.to_vec(), deadline)
}

/// Sends a message that is encoded already.
pub(super) fn write_bytes(stream: &UnixStream, message: &[u8], deadline: Option<Instant>) -> Result<()> {
    if message.len() > FRAME_BYTES {
        return Err(too_long());
    }
    let frame = string_of(message);
    let mut left = frame.as_slice();
    while !left.is_empty() {
        match socket::write_now(stream, left) {
            Ok(count) => left = left.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                socket::wait_writable(stream, deadline).map_err(|error| failed("writing to", error))?;
            }
            Err(error) => return Err(failed("writing to", error)),
        }
    }
    Ok(())
}

/// Reads a message, not a byte more; none when the stream has ended before one.
pub(super) fn read(stream: &UnixStream, deadline: Option<Instant>) -> Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    if !fill(stream, &mut length, deadline)? {
        return Ok(None);
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > FRAME_BYTES {
        return Err(too_long());
    }
    let mut message = vec![0; length];
    if fill(stream, &mut message, deadline)? { Ok(Some(message)) } else { Err(Error::Closed(None)) }
}

/// Fills `buf`; false when the stream has ended before its first byte.
fn fill(stream: &UnixStream, mut buf: &mut [u8], deadline: Option<Instant>) -> Result<bool> {
    let wanted = buf.len();
    while !buf.is_empty() {
        match socket::read(stream, buf, deadline) {
            Ok(0) if buf.len() == wanted => return Ok(false),
            Ok(0) => return Err(Error::Closed(None)),
            Ok(count) => buf = buf.get_mut(count..).unwrap_or_default(),
            // A client that is gone without a word has hung up too.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset && buf.len() == wanted => {
                return Ok(false);
            }
            Err(error) => return Err(failed("reading from", error)),
        }
    }
    Ok(true)
}
