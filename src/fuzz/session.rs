//! A whole session without encryption: two engines, and between them somebody who meddles with packets.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Input;
use crate::engine::{Bare, ChannelLink, Incoming, Lane, Link, MemoryStream, ReadHalf, Stream, WriteHalf};
use crate::kex::Role;

/// When a session must be over, whatever was done to it; an honest one needs a millisecond.
const DEADLINE: Duration = Duration::from_secs(5);
/// Each wait of the users of a session.
const PATIENCE: Duration = Duration::from_millis(50);

/// Carries packets over, meddled with, until either side ends.
fn relay(mut from: Box<dyn ReadHalf>, mut to: Box<dyn WriteHalf>, script: &[u8]) -> io::Result<()> {
    let mut input = Input(script);
    let mut inbox = Vec::new();
    let mut piece = [0; 4096];
    let deadline = Instant::now().checked_add(DEADLINE);
    loop {
        let count = from.read(&mut piece, deadline)?;
        if count == 0 {
            return Ok(());
        }
        inbox.extend_from_slice(piece.get(..count).unwrap_or_default());
        while let Some(packet) = whole(&mut inbox) {
            for part in input.meddle(packet) {
                let mut rest = part.as_slice();
                while !rest.is_empty() {
                    match to.write_now(rest) {
                        Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => to.wait(deadline)?,
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }
}

/// The first packet, with its length, once it is there.
fn whole(inbox: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = u32::from_be_bytes(inbox.first_chunk().copied()?);
    let end = usize::try_from(length).ok()?.checked_add(4)?;
    (inbox.len() >= end).then(|| inbox.drain(..end).collect())
}

/// The client's side of a session.
fn ask(link: &Link) -> crate::Result<()> {
    let until = || Instant::now().checked_add(PATIENCE);
    let channel = link.open("session", b"", until())?;
    channel.request("exec", b"\0\0\0\x01x", Some(until()))?;
    channel.write(Lane::Data, b"some input", until())?;
    channel.send_eof();
    while channel.read(Lane::Data, &mut [0; 64], until())? > 0 {}
    channel.wait_exit(until()).map(drop)
}

/// The server's side: says yes to everything and echoes.
fn answer(link: &Link) -> crate::Result<()> {
    let until = || Instant::now().checked_add(PATIENCE);
    let mut channels: Vec<ChannelLink> = Vec::new();
    loop {
        match link.next_incoming(until())? {
            Incoming::Open(request) => channels.extend(request.accept(link)),
            Incoming::Global { reply, .. } => reply.refuse(),
            Incoming::Channel { slot, reply, .. } => {
                reply.accept(b"");
                let Some(channel) = channels.iter().find(|channel| channel.slot().id() == slot.id()) else {
                    continue;
                };
                let mut piece = [0; 64];
                while let Ok(count @ 1..) = channel.read(Lane::Data, &mut piece, until()) {
                    channel.write(Lane::Data, piece.get(..count).unwrap_or_default(), until())?;
                }
                channel.send_exit("exit-status", &[0; 4]);
                channel.close();
            }
        }
    }
}

/// Whatever happens to the packets, both sides end in time, and no thread is left.
pub fn session(data: &[u8]) {
    let started = Instant::now();
    let (near, near_middle) = MemoryStream::pair(4096);
    let (far_middle, far) = MemoryStream::pair(4096);
    let (to_server, to_client) = data.split_at(data.len() / 2);
    let links = Bare::start(Role::Client, Box::new(near))
        .and_then(|client| Ok((client, Bare::start(Role::Server, Box::new(far))?)));
    let (Ok((client, server)), Ok(near), Ok(far)) =
        (links, Box::new(near_middle).split(), Box::new(far_middle).split())
    else {
        return;
    };
    let closers = [Arc::clone(&near.closer), Arc::clone(&far.closer)];
    std::thread::scope(|scope| {
        // The relays end with the streams, by whatever error.
        scope.spawn(|| drop(relay(near.read, far.write, to_server)));
        scope.spawn(|| drop(relay(far.read, near.write, to_client)));
        let serving = scope.spawn(|| drop(answer(&server)));
        drop(ask(&client));
        client.core().close_gracefully();
        assert!(serving.join().is_ok(), "the serving thread panicked");
        server.core().close_gracefully();
        closers.iter().for_each(|closer| closer.close());
        let deadline = started.checked_add(DEADLINE);
        assert!(client.core().wait_end(deadline) && server.core().wait_end(deadline), "a side goes on");
    });
    assert!(started.elapsed() < DEADLINE, "{:?}", started.elapsed());
    for link in [client, server] {
        let core = Arc::downgrade(link.core());
        drop(link);
        // Its threads let go of it as they end.
        while core.upgrade().is_some() {
            assert!(started.elapsed() < DEADLINE, "something holds a transport that has ended");
            std::thread::yield_now();
        }
    }
}
