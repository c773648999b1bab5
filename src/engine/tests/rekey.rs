//! New keys while data flows: by bytes, by time, and by both sides at once.

use std::time::{Duration, Instant};

use super::{Random, engines, serve_echo, soon, through_echo, within};
use crate::engine::{Limits, Link, MemoryStream};

/// New keys after every so many bytes of either direction.
const BYTES: u64 = 4096;

/// Whether an exchange is under way.
fn exchanging(link: &Link) -> bool {
    link.core().outbox.lanes.lock().rekey.ours.is_some()
}

/// Waits for `count` more exchanges to end.
fn wait_for_exchanges(link: &Link, count: u64) {
    let (deadline, before) = (soon().unwrap(), link.core().exchanges());
    while link.core().exchanges() < before + count {
        assert!(Instant::now() < deadline, "only {} exchanges", link.core().exchanges() - before);
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Several channels send `size` bytes each through an echo, until `until`, at least once.
fn load(client: &Link, channels: u64, size: usize, until: Instant) {
    let threads: Vec<_> = (0..channels)
        .map(|seed| {
            let client = client.clone();
            std::thread::spawn(move || {
                let mut random = Random::new(seed);
                loop {
                    let count = size / 2 + random.below(size / 2);
                    through_echo(&client, random.bytes(count)).unwrap();
                    if Instant::now() >= until {
                        break;
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn finish(client: Link, serving: std::thread::JoinHandle<()>) {
    client.close();
    drop(client);
    serving.join().unwrap();
}

fn often() -> Limits {
    Limits { rekey_bytes: BYTES, ..Limits::default() }
}

#[test]
fn every_four_kilobytes_both_ways_under_load() {
    for capacity in [1 << 20, 10_000, 300] {
        within(120, move || {
            let (client, server) = engines(MemoryStream::pair(capacity), &often());
            let serving = serve_echo(server);
            load(&client, 5, 1_000_000, Instant::now());
            // At least 2,500,000 bytes went each way; what is gathered for one write, 256 KiB, is not split.
            let exchanges = client.core().exchanges();
            assert!(exchanges > 5, "{exchanges} exchanges");
            finish(client, serving);
        });
    }
}

#[test]
fn both_sides_start_at_once_many_times() {
    within(120, || {
        let (client, server) = engines(MemoryStream::pair(5000), &Limits::default());
        let serving = serve_echo(server.clone());
        let worker = {
            let client = client.clone();
            std::thread::spawn(move || load(&client, 2, 400_000, Instant::now()))
        };
        for at in 0..300 {
            let other = server.clone();
            let there = std::thread::spawn(move || other.core().begin_rekey().unwrap());
            client.core().begin_rekey().unwrap();
            there.join().unwrap();
            wait_for_exchanges_over(&client);
            wait_for_exchanges_over(&server);
            assert!(client.core().exchanges() > at, "{at}");
        }
        worker.join().unwrap();
        drop(server);
        finish(client, serving);
    });
}

/// Waits until no exchange is under way.
fn wait_for_exchanges_over(link: &Link) {
    let deadline = soon().unwrap();
    while exchanging(link) {
        assert!(link.core().alive(), "died: {}", link.core().closed());
        assert!(Instant::now() < deadline, "the exchange does not end");
        std::thread::yield_now();
    }
}

#[test]
fn by_time() {
    within(120, || {
        let limits = Limits { rekey_interval: Duration::from_millis(50), ..Limits::default() };
        let (client, server) = engines(MemoryStream::pair(1 << 16), &limits);
        let serving = serve_echo(server.clone());
        // Idle, then in use.
        wait_for_exchanges(&client, 4);
        through_echo(&client, Random::new(1).bytes(100_000)).unwrap();
        wait_for_exchanges(&server, 4);
        through_echo(&client, Random::new(2).bytes(100_000)).unwrap();
        drop(server);
        finish(client, serving);
    });
}

/// How long `tests/run --all` has this one run; a second otherwise.
fn how_long() -> Duration {
    let long = std::env::var_os("FERAMIKO_LONG").is_some();
    Duration::from_secs(if long { 60 } else { 1 })
}

#[test]
fn for_long_by_bytes_by_time_and_by_users() {
    within(240, || {
        let limits = Limits { rekey_interval: Duration::from_millis(70), ..often() };
        let (client, server) = engines(MemoryStream::pair(20_000), &limits);
        let serving = serve_echo(server.clone());
        let until = Instant::now() + how_long();
        let worker = {
            let client = client.clone();
            std::thread::spawn(move || load(&client, 8, 60_000, until))
        };
        while Instant::now() < until {
            client.core().begin_rekey().unwrap();
            server.core().begin_rekey().unwrap();
            std::thread::sleep(Duration::from_millis(3));
        }
        worker.join().unwrap();

        assert!(client.core().exchanges() > 10, "{} exchanges", client.core().exchanges());
        drop(server);
        finish(client, serving);
    });
}
