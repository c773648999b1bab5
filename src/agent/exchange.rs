//! Requests and their answers: frames of RFC 9987, bounded in length and in time.

use std::io;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::AgentError;
use super::endpoint::Connection;
use crate::wire::{Malformed, string_of};

/// The largest frame, without its length: OpenSSH's figure, which leaves room for 1000 RSA keys.
pub(super) const FRAME_BYTES: usize = 256 * 1024;

/// How long an agent may take. No deadline is one beyond the end of time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// When all must be over. A person may be asked before the answer begins.
    pub(super) until: Option<Instant>,
    /// Time to take the request, and to finish the answer once begun: nobody is asked then.
    pub(super) step: Duration,
}

impl Patience {
    pub(super) fn new(whole: Duration, step: Duration) -> Self {
        Self { until: Instant::now().checked_add(whole), step }
    }

    /// When a step that begins now must be over.
    pub(super) fn step_until(self) -> Option<Instant> {
        let step = Instant::now().checked_add(self.step);
        self.until.into_iter().chain(step).min()
    }
}

/// Sends a request and reads the answer. After an error the connection is of no use: what comes next
/// on it could be the late answer to this request.
pub(super) fn exchange(
    connection: &mut dyn Connection,
    request: &[u8],
    patience: Patience,
) -> Result<Vec<u8>, AgentError> {
    write_frame(connection, request, patience.step_until())?;
    let mut first = [0; 1];
    read_exact(connection, &mut first, patience.until)?;
    let mut answer = read_rest(connection, first, patience.step_until())?;
    Ok(std::mem::take(&mut *answer))
}

/// Waits for a request, as long as it takes; once begun it must be whole within `step`. None when the
/// client has hung up between two.
pub(super) fn next_request(
    connection: &mut dyn Connection,
    step: Duration,
) -> Result<Option<Zeroizing<Vec<u8>>>, AgentError> {
    let mut first = [0; 1];
    match read_exact(connection, &mut first, None) {
        Err(AgentError::Closed) => return Ok(None),
        read => read?,
    }
    read_rest(connection, first, Instant::now().checked_add(step)).map(Some)
}

/// Sends a message. No copy of it stays: there may be secrets in it.
pub(super) fn write_frame(
    connection: &mut dyn Connection,
    message: &[u8],
    deadline: Option<Instant>,
) -> Result<(), AgentError> {
    if message.len() > FRAME_BYTES {
        return Err(too_long(message.len()));
    }
    write_all(connection, &Zeroizing::new(string_of(message)), deadline)
}

/// Reads what follows the first byte of a frame.
fn read_rest(
    connection: &mut dyn Connection,
    first: [u8; 1],
    deadline: Option<Instant>,
) -> Result<Zeroizing<Vec<u8>>, AgentError> {
    let mut header = [0; 4];
    let (begin, end) = header.split_at_mut(1);
    begin.copy_from_slice(&first);
    read_exact(connection, end, deadline)?;
    let length = usize::try_from(u32::from_be_bytes(header)).unwrap_or(usize::MAX);
    if length > FRAME_BYTES {
        return Err(too_long(length));
    }
    if length == 0 {
        return Err(AgentError::Malformed(Malformed::Truncated));
    }
    let mut message = Zeroizing::new(vec![0; length]);
    read_exact(connection, &mut message, deadline)?;
    Ok(message)
}

fn too_long(length: usize) -> AgentError {
    AgentError::TooLong { length: u64::try_from(length).unwrap_or(u64::MAX) }
}

fn write_all(
    connection: &mut dyn Connection,
    mut bytes: &[u8],
    deadline: Option<Instant>,
) -> Result<(), AgentError> {
    while !bytes.is_empty() {
        match connection.write(bytes, deadline) {
            Ok(0) => return Err(AgentError::Closed),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn read_exact(
    connection: &mut dyn Connection,
    mut buf: &mut [u8],
    deadline: Option<Instant>,
) -> Result<(), AgentError> {
    while !buf.is_empty() {
        match connection.read(buf, deadline) {
            Ok(0) => return Err(AgentError::Closed),
            Ok(count) => buf = buf.get_mut(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
