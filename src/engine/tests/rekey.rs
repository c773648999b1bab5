//! New keys while data flows: by bytes, by time, and by both sides at once.

use std::time::{Duration, Instant};

use super::{Random, engines, serve_echo, soon, through_echo, within};
use crate::engine::{Limits, Link, MemoryStream};

/// New keys after every so many bytes of either direction.
const BYTES: u64 = 4096;

/// When the last exchange ended, if none is under way.
fn last_exchange(link: &Link) -> Option<Instant> {
    let lanes = link.core().outbox.lanes.lock();
    lanes.rekey.last.filter(|_| lanes.rekey.ours.is_none())
}

/// Waits for `count` exchanges to end that were not seen yet.
fn wait_for_exchanges(link: &Link, count: usize) {
    let (deadline, mut seen, mut last) = (soon().unwrap(), 0, last_exchange(link));
    while seen < count {
        assert!(Instant::now() < deadline, "only {seen} exchanges");
        let now = last_exchange(link);
        if now.is_some() && now != last {
            (seen, last) = (seen + 1, now);
        }
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
            let before = last_exchange(&client);
            let serving = serve_echo(server);
            load(&client, 5, 150_000, Instant::now());
            assert_ne!(last_exchange(&client), before, "no exchange");
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
        for _ in 0..300 {
            let other = server.clone();
            let there = std::thread::spawn(move || other.core().begin_rekey().unwrap());
            client.core().begin_rekey().unwrap();
            there.join().unwrap();
            wait_for_exchanges_over(&client);
            wait_for_exchanges_over(&server);
        }
        worker.join().unwrap();
        drop(server);
        finish(client, serving);
    });
}

/// Waits until no exchange is under way.
fn wait_for_exchanges_over(link: &Link) {
    let deadline = soon().unwrap();
    while last_exchange(link).is_none() {
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
        drop(server);
        finish(client, serving);
    });
}
