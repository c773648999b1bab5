//! Two engines over streams that misbehave: cut after any byte, passing few bytes at a time; and new
//! keys all the time. Nothing hangs, nothing is lost, no thread stays.

mod given;

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use feramiko::{
    Algorithms, Answer, AuthAnswer, Closer, ExitStatus, Halves, Limits, MemoryStream, Peer, ReadHalf,
    SSHClient, SSHServer, Secret, ServerInterface, Session, SessionRequest, Stream, WriteHalf,
};

/// No case takes longer, on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);

/// What a stream does to its bytes.
#[derive(Clone)]
struct Fault {
    /// Bytes that may still be written before the stream is cut.
    left: Arc<AtomicI64>,
    /// Bytes in one call.
    piece: usize,
}

impl Fault {
    fn cut_after(bytes: i64) -> Self {
        Self { left: Arc::new(AtomicI64::new(bytes)), piece: usize::MAX }
    }

    fn pieces(piece: usize) -> Self {
        Self { left: Arc::new(AtomicI64::new(i64::MAX)), piece }
    }
}

struct Faulty(MemoryStream, Fault);

impl Stream for Faulty {
    fn split(self: Box<Self>) -> io::Result<Halves> {
        let halves = Box::new(self.0).split()?;
        let closer = Arc::clone(&halves.closer);
        Ok(Halves {
            read: Box::new(FaultyRead(halves.read, self.1.piece)),
            write: Box::new(FaultyWrite(halves.write, self.1, closer)),
            closer: halves.closer,
            peer: halves.peer,
        })
    }
}

struct FaultyRead(Box<dyn ReadHalf>, usize);

impl ReadHalf for FaultyRead {
    fn read(&mut self, buf: &mut [u8], deadline: Option<Instant>) -> io::Result<usize> {
        let most = buf.len().min(self.1);
        self.0.read(&mut buf[..most], deadline)
    }

    fn read_now(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = buf.len().min(self.1);
        self.0.read_now(&mut buf[..most])
    }
}

struct FaultyWrite(Box<dyn WriteHalf>, Fault, Arc<dyn Closer>);

impl WriteHalf for FaultyWrite {
    fn write_now(&mut self, buf: &[u8]) -> io::Result<usize> {
        let left = usize::try_from(self.1.left.load(Ordering::SeqCst)).unwrap_or(0);
        if left == 0 {
            self.2.close();
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let count = self.0.write_now(&buf[..buf.len().min(left).min(self.1.piece)])?;
        self.1.left.fetch_sub(count as i64, Ordering::SeqCst);
        Ok(count)
    }

    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.0.wait(deadline)
    }
}

/// Echoes what comes.
struct Echo;

impl ServerInterface for Echo {
    fn check_auth_password(&self, _: &str, password: &Secret) -> AuthAnswer {
        AuthAnswer::when(password.matches("foo"))
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
        Answer::Yes
    }

    fn session(&self, session: Session) -> io::Result<ExitStatus> {
        io::copy(&mut session.channel(), &mut session.channel().clone())?;
        Ok(ExitStatus::Code(3))
    }
}

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
        Self { client: Fault::pieces(usize::MAX), server: Fault::pieces(usize::MAX), limits }
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
fn echo(client: &SSHClient, data: &[u8]) -> io::Result<Vec<u8>> {
    let channel = client.open_session()?;
    channel.exec_command("echo")?;
    let (writer, sent) = (channel.clone(), data.to_vec());
    let writing = thread::spawn(move || {
        let written = (&writer).write_all(&sent);
        writer.shutdown(Shutdown::Write);
        written
    });
    let mut back = Vec::new();
    (&channel).read_to_end(&mut back)?;
    writing.join().unwrap()?;
    let status = channel.wait_exit(Some(DEADLINE))?;
    if status != ExitStatus::Code(3) {
        return Err(io::Error::other(status.to_string()));
    }
    Ok(back)
}

/// The stream dies after n bytes, for many n, in either direction, from the version line to the last
/// byte of the data: an error, never a hang, never wrong data.
#[test]
fn a_stream_that_is_cut_after_any_byte() {
    let data = noise(5000, 1);
    let mut whole = 0;
    for (to_server, most) in [(true, 9000), (false, 9000)] {
        let cuts = (0..300).step_by(7).chain((300..most).step_by(83));
        for cut in cuts {
            let mut pair = Pair::new();
            *(if to_server { &mut pair.client } else { &mut pair.server }) = Fault::cut_after(cut);
            let back =
                pair.run(|client| client.map_err(io::Error::from).and_then(|client| echo(&client, &data)));
            if let Ok(back) = back {
                assert!(back == data, "cut after {cut}: other data came back");
                whole += 1;
            }
        }
    }
    // The last cuts come after everything.
    assert!(whole > 0);
}

#[test]
fn streams_that_pass_a_few_bytes_at_a_time() {
    for piece in [1, 3, 7, 100, 5000] {
        let data = noise(if piece < 10 { 20_000 } else { 500_000 }, 2);
        let pair = Pair { client: Fault::pieces(piece), server: Fault::pieces(piece), ..Pair::new() };
        let back = pair.run(|client| echo(&client.unwrap(), &data)).unwrap();
        assert!(back == data, "{piece}: {} bytes came back", back.len());
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
    let mut pair = Pair::new();
    pair.limits.rekey_bytes = 4096;
    let until = Instant::now() + while_rekeying();
    let rounds = AtomicUsize::new(0);
    let started = Instant::now();
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
                    assert!(echo(client, &data).unwrap() == data, "channel {seed}");
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
    assert!(rounds.load(Ordering::SeqCst) >= 3, "in {:?}", started.elapsed());
    client.close();
    drop(serving.join().unwrap());
}

/// New keys by the clock, on a connection that does nothing else.
#[test]
fn new_keys_after_a_time() {
    let mut pair = Pair::new();
    pair.limits.rekey_interval = Duration::from_millis(50);
    pair.run(|client| {
        let client = client.unwrap();
        let channel = client.open_session().unwrap();
        channel.exec_command("echo").unwrap();
        for _ in 0..20 {
            // Each echo comes after about one exchange by the clock of either side.
            thread::sleep(Duration::from_millis(30));
            (&channel).write_all(b"x").unwrap();
            let mut byte = [0];
            (&channel).read_exact(&mut byte).unwrap();
        }
        let exchanges = client.transport().exchanges();
        assert!((4..=40).contains(&exchanges), "{exchanges} exchanges");
    });
}

/// Threads close, drop and use the same things at any time; everybody gets an answer.
#[test]
fn closing_at_any_time() {
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

/// After all of that no thread of the library runs.
#[test]
fn no_thread_is_left() {
    for _ in 0..10 {
        Pair::new().run(|client| drop(echo(&client.unwrap(), b"x").unwrap()));
    }
    // Other tests run beside this one; theirs end as well.
    let deadline = Instant::now() + Duration::from_secs(120);
    while feramiko::running_threads() > 0 {
        assert!(Instant::now() < deadline, "{} threads", feramiko::running_threads());
        thread::sleep(Duration::from_millis(10));
    }
}
