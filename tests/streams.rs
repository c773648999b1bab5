//! Two engines over streams that misbehave: cut after any byte, passing few bytes at a time; and new
//! keys all the time. Nothing hangs, nothing is lost.

mod given;

use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use feramiko::{Algorithms, Limits, MemoryStream, Peer, SSHClient, SSHServer};
use given::faulty::{Fault, Faulty, says_that_the_stream_broke};
use given::{Echo, within};

/// No case takes longer, on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

struct Pair {
    client: Fault,
    server: Fault,
    limits: Limits,
}

impl Pair {
    fn new() -> Self {
        let mut limits = Limits::default();
        (limits.linger, limits.sessions) = (Duration::from_millis(500), 100);
        limits.connect_timeout = DEADLINE;
        Self { client: Fault::NONE, server: Fault::NONE, limits }
    }

    /// Runs `work` with a client whose server runs beside it; both must end.
    fn run<T>(self, work: impl FnOnce(feramiko::Result<SSHClient>) -> T) -> T {
        let started = Instant::now();
        let (ours, theirs) = MemoryStream::pair(1 << 16);
        let mut algorithms = Algorithms::server_defaults();
        algorithms.set_kex("curve25519-sha256").unwrap();
        let server = SSHServer::builder()
            .host_key(given::host_key())
            .algorithms(algorithms)
            .limits(self.limits.clone())
            .build()
            .unwrap();
        let (server_fault, client_fault) = (self.server, self.client);
        let serving = thread::spawn(move || {
            server.serve_stream(Faulty(theirs, server_fault), &Peer::named("test"), Echo)
        });
        let result = work(
            given::client()
                .username("robey")
                .password("foo")
                .limits(self.limits)
                .deadline(DEADLINE)
                .connect_over(Faulty(ours, client_fault), "here"),
        );
        // However it ended, it ended.
        let _ = serving.join().unwrap();
        assert!(started.elapsed() < DEADLINE, "{:?}", started.elapsed());
        result
    }
}

fn noise(length: usize, seed: u32) -> Vec<u8> {
    (0..length as u32).map(|at| (at.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 13) as u8).collect()
}

/// Sends `data` through a command while reading it back.
fn echo(client: &SSHClient, data: &[u8]) -> feramiko::Result<Vec<u8>> {
    let channel = client.open_session()?;
    channel.exec_command("echo")?;
    let back = given::echoed(&channel, data)?;
    assert!(back == data, "other data came back: {} bytes", back.len());
    assert_eq!(channel.wait_exit(Some(DEADLINE))?, Echo::STATUS);
    Ok(back)
}

/// The stream dies after n bytes, for many n, in either direction, from the version line to the last
/// byte of the data: an error, never a hang, never wrong data.
#[test]
fn a_stream_that_is_cut_after_any_byte() {
    let _watch = within(600);
    let data = noise(5000, 1);
    for to_server in [true, false] {
        let (mut whole, mut broken) = (0, 0);
        for cut in (0..300).step_by(7).chain((300..9000).step_by(83)) {
            let mut pair = Pair::new();
            *(if to_server { &mut pair.client } else { &mut pair.server }) = Fault::cut_after(cut);
            match pair.run(|client| client.and_then(|client| echo(&client, &data))) {
                Ok(_) => whole += 1,
                Err(error) => {
                    assert!(says_that_the_stream_broke(&error), "cut after {cut}: {error:?}");
                    broken += 1;
                }
            }
        }
        // The last cuts come after everything, most come before.
        assert!(whole > 0 && broken > 80, "to the server: {to_server}: {whole} whole, {broken} broken");
    }
}

#[test]
fn streams_that_pass_a_few_bytes_at_a_time() {
    let _watch = within(300);
    for piece in [1, 3, 7, 100, 5000] {
        let data = noise(if piece < 10 { 20_000 } else { 500_000 }, 2);
        let pair = Pair { client: Fault::pieces(piece), server: Fault::pieces(piece), ..Pair::new() };
        pair.run(|client| echo(&client.unwrap(), &data)).unwrap();
    }
}

/// How long the rekeying tests go on; `tests/run --all` asks for a minute.
fn while_rekeying() -> Duration {
    Duration::from_secs(std::env::var("FERAMIKO_REKEY_SECONDS").map_or(2, |text| text.parse().unwrap()))
}

/// Both sides want new keys every 4 KiB, and users ask for them as well, while several channels are
/// full both ways.
#[test]
fn new_keys_every_4_kib_from_both_sides_at_once() {
    let _watch = within(300);
    let mut pair = Pair::new();
    pair.limits.rekey_bytes = 4096;
    let until = Instant::now() + while_rekeying();
    let rounds = AtomicUsize::new(0);
    let (ours, theirs) = MemoryStream::pair(1 << 15);
    let server =
        SSHServer::builder().host_key(given::host_key()).limits(pair.limits.clone()).build().unwrap();
    let serving = thread::spawn(move || server.serve_stream(theirs, &Peer::named("test"), Echo));
    let mut algorithms = Algorithms::client_defaults();
    algorithms.set_kex("curve25519-sha256").unwrap();
    let client = given::client()
        .username("robey")
        .password("foo")
        .algorithms(algorithms)
        .limits(pair.limits)
        .connect_over(ours, "here")
        .unwrap();
    thread::scope(|scope| {
        for seed in 0..3 {
            let (client, rounds) = (&client, &rounds);
            scope.spawn(move || {
                let data = noise(100_000, seed);
                while Instant::now() < until {
                    echo(client, &data).unwrap();
                    rounds.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        scope.spawn(|| {
            while Instant::now() < until {
                client.transport().renegotiate_keys().unwrap();
                thread::yield_now();
            }
        });
    });
    // Each round moves 100,000 bytes each way; not every 4 KiB of them, as an exchange takes a while.
    let (rounds, exchanges) = (rounds.load(Ordering::SeqCst), client.transport().exchanges());
    assert!(rounds >= 3 && exchanges > 10, "{rounds} rounds, {exchanges} exchanges");
    client.close();
    drop(serving.join().unwrap());
}

/// New keys by the clock, on a connection that does nothing else.
#[test]
fn new_keys_after_a_time() {
    let _watch = within(120);
    let mut pair = Pair::new();
    pair.limits.rekey_interval = Duration::from_millis(50);
    pair.run(|client| {
        let client = client.unwrap();
        let channel = client.open_session().unwrap();
        channel.exec_command("echo").unwrap();
        // Each echo comes after about one exchange by the clock of either side.
        let deadline = Instant::now() + DEADLINE;
        while client.transport().exchanges() < 5 {
            assert!(Instant::now() < deadline, "{} exchanges", client.transport().exchanges());
            thread::sleep(Duration::from_millis(30));
            (&channel).write_all(b"x").unwrap();
            let mut byte = [0];
            (&channel).read_exact(&mut byte).unwrap();
        }
    });
}

/// Threads close, drop and use the same things at any time; everybody gets an answer.
#[test]
fn closing_at_any_time() {
    let _watch = within(300);
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut pause = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Duration::from_micros(state % 3000)
    };
    for round in 0..100 {
        let (before_channel, before_client) = (pause(), pause());
        Pair::new().run(|client| {
            let client = client.unwrap();
            let channel = client.open_session().unwrap();
            channel.exec_command("echo").unwrap();
            thread::scope(|scope| {
                let (reader, writer) = (channel.clone(), channel.clone());
                scope.spawn(move || while matches!((&reader).read(&mut [0; 999]), Ok(1..)) {});
                scope.spawn(move || while (&writer).write(&[7; 999]).is_ok() {});
                scope.spawn(|| {
                    thread::sleep(before_channel);
                    channel.close();
                });
                scope.spawn(|| {
                    thread::sleep(before_client);
                    if round % 2 == 0 {
                        client.close();
                    }
                });
            });
        });
    }
}
