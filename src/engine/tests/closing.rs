//! Users in several threads close and drop at any time during a transfer: everybody returns, what was
//! read is what was sent, and nothing is left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Random, engines, serve_echo, soon, within};
use crate::engine::{ChannelLink, Lane, Limits, Link, MemoryStream};
use crate::error::Error;

const ROUNDS: u64 = 200;

/// What ends a transfer.
#[derive(Debug, Clone, Copy)]
enum End {
    /// Every thread drops its handle when it has had enough.
    Dropped,
    ChannelsClosed,
    HalfClosed,
    ClientClosed,
    ServerClosed,
    Died,
    ClosedDuringExchange,
}

const ENDS: [End; 7] = [
    End::Dropped,
    End::ChannelsClosed,
    End::HalfClosed,
    End::ClientClosed,
    End::ServerClosed,
    End::Died,
    End::ClosedDuringExchange,
];

/// The `at`th byte that channel `id` sends.
fn byte(id: u32, at: usize) -> u8 {
    (at % 253) as u8 ^ (at / 65_536) as u8 ^ id as u8
}

/// Writes until it fails, or `enough` says so.
fn write(channel: &ChannelLink, mut random: Random, enough: &AtomicBool) {
    let mut done = 0;
    while !enough.load(Ordering::Relaxed) {
        let size = 1 + random.below(20_000);
        let bytes: Vec<u8> = (done..done + size).map(|at| byte(channel.id(), at)).collect();
        match channel.write(Lane::Data, &bytes, in_a_moment()) {
            Ok(count) => done += count,
            Err(Error::Timeout(_)) => {}
            Err(error) => return ended(&error),
        }
    }
}

/// Reads to the end, or until `enough` says so; checks every byte.
fn read(channel: &ChannelLink, mut random: Random, enough: &AtomicBool) {
    let (mut done, mut buf) = (0, vec![0; 30_000]);
    while !enough.load(Ordering::Relaxed) {
        let size = 1 + random.below(buf.len() - 1);
        match channel.read(Lane::Data, &mut buf[..size], in_a_moment()) {
            Ok(0) => return,
            Ok(count) => {
                let right = buf[..count].iter().zip(done..).all(|(got, at)| *got == byte(channel.id(), at));
                assert!(right, "other bytes came back");
                done += count;
            }
            Err(Error::Timeout(_)) => {}
            Err(error) => return ended(&error),
        }
    }
}

/// So that a thread that waits notices that it has had enough.
fn in_a_moment() -> Option<Instant> {
    Instant::now().checked_add(Duration::from_millis(20))
}

fn ended(error: &Error) {
    assert!(matches!(error, Error::Closed(_)), "{error:?}");
}

/// A writer and a reader on a channel of their own.
fn transfer(channel: &ChannelLink, random: &mut Random, enough: &Arc<AtomicBool>) -> [JoinHandle<()>; 2] {
    let mut seeds = || Random::new(random.below(1 << 30) as u64);
    let (write_seed, read_seed) = (seeds(), seeds());
    let (writer, reader) = (channel.clone(), channel.clone());
    let (enough_written, enough_read) = (Arc::clone(enough), Arc::clone(enough));
    [
        std::thread::spawn(move || write(&writer, write_seed, &enough_written)),
        std::thread::spawn(move || read(&reader, read_seed, &enough_read)),
    ]
}

/// Waits for the exit status of a channel.
fn wait(channel: &ChannelLink) -> JoinHandle<()> {
    let channel = channel.clone();
    std::thread::spawn(move || {
        if let Err(error) = channel.wait_exit(soon()) {
            ended(&error);
        }
    })
}

fn bring_about(end: End, client: &Link, server: &Link, channels: Vec<ChannelLink>, enough: &AtomicBool) {
    match end {
        End::Dropped => {
            enough.store(true, Ordering::Relaxed);
            drop(channels);
        }
        End::ChannelsClosed => channels.iter().for_each(ChannelLink::close),
        End::HalfClosed => channels.iter().for_each(ChannelLink::send_eof),
        End::ClientClosed => client.close(),
        End::ServerClosed => server.close(),
        End::Died => client.core().die(Error::Misuse("the test wants it dead")),
        End::ClosedDuringExchange => {
            client.core().begin_rekey().unwrap();
            server.core().begin_rekey().unwrap();
            channels.iter().for_each(ChannelLink::close);
            client.close();
        }
    }
}

fn round(seed: u64) {
    let mut random = Random::new(seed);
    let end = ENDS[seed as usize % ENDS.len()];
    let capacity = 100 << random.below(13);
    let limits = Limits { rekey_bytes: 1 << (12 + random.below(20)), ..Limits::default() };
    let (client, server) = engines(MemoryStream::pair(capacity), &limits);
    let cores = [Arc::downgrade(client.core()), Arc::downgrade(server.core())];
    let serving = serve_echo(server.clone());
    let enough = Arc::new(AtomicBool::new(false));
    let channels: Vec<_> =
        (0..1 + random.below(3)).map(|_| client.open("session", b"", soon()).unwrap()).collect();
    let mut threads: Vec<_> =
        channels.iter().flat_map(|channel| transfer(channel, &mut random, &enough)).collect();
    // Whoever waits for the end holds a handle.
    if !matches!(end, End::Dropped) {
        threads.extend(channels.iter().map(wait));
    }
    std::thread::sleep(Duration::from_micros(random.below(3000) as u64));
    bring_about(end, &client, &server, channels, &enough);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    drop((client, server));
    serving.join().unwrap();
    cores.iter().for_each(super::dying::wait_until_gone);
}

#[test]
fn closing_and_dropping_at_any_time() {
    for seed in 0..ROUNDS {
        within(100, move || round(seed));
    }
}
