//! One request and its answer: frames of RFC 9987, bounded in length and in time.

use std::io;
use std::time::{Duration, Instant};

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
    fn step_until(self) -> Option<Instant> {
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
    if request.len() > FRAME_BYTES {
        return Err(too_long(request.len()));
    }
    write_all(connection, &string_of(request), patience.step_until())?;
    let mut header = [0; 4];
    let (begin, end) = header.split_at_mut(1);
    read_exact(connection, begin, patience.until)?;
    let deadline = patience.step_until();
    read_exact(connection, end, deadline)?;
    let length = usize::try_from(u32::from_be_bytes(header)).unwrap_or(usize::MAX);
    if length > FRAME_BYTES {
        return Err(too_long(length));
    }
    if length == 0 {
        return Err(AgentError::Malformed(Malformed::Truncated));
    }
    let mut answer = vec![0; length];
    read_exact(connection, &mut answer, deadline)?;
    Ok(answer)
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
