//! Both sides with whatever bytes the other may send, for the fuzzer: without a listener, on one thread.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::answer;
use super::forward::{ForwardKind, ForwardRequest};
use super::master::Shared;
use super::message::{Hello, number};
use super::{ControlMaster, MuxClient, MuxCommand, frame};
use crate::engine::MemoryStream;
use crate::error::Result;
use crate::pattern::endpoint::Endpoint;
use crate::transport::{Transport, TransportOptions};

/// What a socket takes without anybody reading; several of the longest messages that mean something.
const BYTES: usize = 64 * 1024;
/// Time that the master gives its client, which says all at once.
const STALL: Duration = Duration::from_millis(100);

/// An end of a socket whose other end has said `bytes`, and nothing more.
fn told(bytes: &[u8]) -> io::Result<(UnixStream, UnixStream)> {
    let (near, mut far) = UnixStream::pair()?;
    far.write_all(bytes.get(..BYTES).unwrap_or(bytes))?;
    far.shutdown(Shutdown::Write)?;
    Ok((near, far))
}

/// A client of a master that says `bytes`.
pub(crate) fn client(bytes: &[u8]) {
    let Ok((near, _far)) = told(bytes) else { return };
    let Ok(mut client) = MuxClient::greet(near) else { return };
    let request = ForwardRequest {
        kind: ForwardKind::Remote,
        listen: Endpoint::tcp("", 0),
        to: Some(Endpoint::unix("/a")),
    };
    // Each ends with an answer or an error, and so does what follows.
    let _ = client.check();
    let _ = client.info("connection");
    let _ = client.forward(&request);
    let Ok(null) = std::fs::File::open("/dev/null") else { return };
    if let Ok(session) = client.start(&MuxCommand::new("true"), &null, &null, &null) {
        let _ = session.wait(|| ());
    }
}

/// A master whose client says `bytes`: all that it answers are messages of a master.
pub(crate) fn master(bytes: &[u8]) -> Result<()> {
    let (stream, _server) = MemoryStream::pair(BYTES);
    let transport = Transport::start_shared(stream, TransportOptions::default())?;
    let builder = ControlMaster::builder().stall_timeout(STALL);
    let Ok((near, mut far)) = told(bytes) else { return Ok(()) };
    let shared = Shared::unlisted(builder, &transport)?;
    // It hangs up on most.
    let _ = answer::serve(&shared, near);
    let mut answers = Vec::new();
    if far.read_to_end(&mut answers).is_ok() {
        check(&answers);
    }
    Ok(())
}

/// Frames, the first of which is a hello and all others answers.
fn check(mut answers: &[u8]) {
    let mut first = true;
    while let Some((length, rest)) = answers.split_first_chunk() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        assert!(length <= frame::FRAME_BYTES);
        // The last one may be cut off.
        let Some((message, rest)) = rest.split_at_checked(length) else { return };
        let answer = number(message).is_ok_and(|number| number & 0x8000_0000 != 0);
        assert!(answer || (first && Hello::decode_packet(message).is_ok()), "{message:?}");
        (answers, first) = (rest, false);
    }
}
