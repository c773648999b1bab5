//! Packets to the server, onto a stream that takes some bytes at a time. Knows nothing of what is in them.

use std::collections::VecDeque;
use std::io;
use std::time::Instant;

use super::incoming::broken;
use crate::engine::WriteHalf;
use crate::error::Result;

/// Writes the packets from the front; what was not written stays, what was is `written`.
pub(super) fn write_all(
    half: &mut dyn WriteHalf,
    packets: &mut VecDeque<Vec<u8>>,
    written: &mut Vec<Vec<u8>>,
    deadline: Option<Instant>,
) -> Result<()> {
    while let Some(packet) = packets.front_mut() {
        let mut done = 0;
        let outcome = loop {
            let rest = packet.get(done..).unwrap_or_default();
            if rest.is_empty() {
                break Ok(());
            }
            match half.write_now(rest) {
                Ok(0) => break Err(broken(io::ErrorKind::WriteZero.into())),
                Ok(count) => done = done.saturating_add(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Err(error) = half.wait(deadline) {
                        break Err(broken(error));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(broken(error)),
            }
        };
        if let Err(error) = outcome {
            packet.drain(..done);
            return Err(error);
        }
        written.extend(packets.pop_front());
    }
    Ok(())
}
