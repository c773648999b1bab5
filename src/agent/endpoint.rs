//! How an agent is reached: frames over a UNIX socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::AgentError;
use super::message::Failure;

/// The largest frame; OpenSSH's figure.
const FRAME: u32 = 256 * 1024;
/// Time to list keys.
pub(super) const LIST: Duration = Duration::from_secs(5);
/// Time to sign: a person may have to confirm or touch something.
pub(super) const SIGN: Duration = Duration::from_secs(120);

/// A connected agent.
pub(super) struct Endpoint(UnixStream);

fn io(error: &std::io::Error) -> AgentError {
    match error.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => AgentError::Timeout,
        _ => AgentError::Io(error.to_string()),
    }
}

impl Endpoint {
    pub(super) fn connect(path: &Path) -> Result<Self, AgentError> {
        UnixStream::connect(path).map(Self).map_err(|error| io(&error))
    }

    #[cfg(test)]
    pub(super) fn from_stream(stream: UnixStream) -> Self {
        Self(stream)
    }

    /// Sends a request and reads the answer, all of it within `patience`.
    pub(super) fn ask(&mut self, request: &[u8], patience: Duration) -> Result<Vec<u8>, AgentError> {
        let deadline = Instant::now().checked_add(patience).ok_or(AgentError::Timeout)?;
        let frame = crate::wire::string_of(request);
        self.0.set_write_timeout(Some(patience)).map_err(|error| io(&error))?;
        self.0.write_all(&frame).map_err(|error| io(&error))?;
        let mut header = [0; 4];
        self.read_exact(&mut header, deadline)?;
        let length = u32::from_be_bytes(header);
        if length == 0 || length > FRAME {
            return Err(AgentError::TooMuch);
        }
        let mut answer = vec![0; usize::try_from(length).map_err(|_| AgentError::TooMuch)?];
        self.read_exact(&mut answer, deadline)?;
        if answer.first() == Some(&Failure::NUMBER) { Err(AgentError::Refused) } else { Ok(answer) }
    }

    fn read_exact(&mut self, mut buf: &mut [u8], deadline: Instant) -> Result<(), AgentError> {
        while !buf.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(AgentError::Timeout);
            }
            self.0.set_read_timeout(Some(left)).map_err(|error| io(&error))?;
            match self.0.read(buf) {
                Ok(0) => return Err(AgentError::Io("it closed the connection".to_owned())),
                Ok(count) => buf = buf.get_mut(count..).unwrap_or_default(),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io(&error)),
            }
        }
        Ok(())
    }
}
