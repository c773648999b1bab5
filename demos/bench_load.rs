//! Loads a server as many users at once do, for benchmarks: one JSON line, then what was opened is held until
//! the end of input, so that the server's memory can be looked at.

mod support;

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use feramiko::{AutoAddPolicy, Channel, HostKeys, PKey, PtyRequest, SSHClient};
use support::args::Options;
use support::given::Given;
use support::output::{end, say};

/// What is typed, and what a terminal with `cat` on it makes of that.
const TYPED: &[u8] = b"hello\n";
const SHOWN: &[u8] = b"hello\r\nhello\r\n";

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const USAGE: &str = "usage: bench_load --port P --key FILE [--user U] VERB ARGS
verbs: execs N PAR (so many connections, a command on each, all held), shells N ROUNDS (terminals at once),
       forwards N BYTES (so many connections through one, so many bytes there and back on each)";

struct Setup {
    port: u16,
    user: String,
    key: PKey,
}

impl Setup {
    fn connect(&self) -> Outcome<SSHClient> {
        let client = SSHClient::builder()
            .no_ssh_config()
            .no_agent()
            .no_default_keys()
            .host_keys(HostKeys::new())
            .missing_host_key(AutoAddPolicy)
            .username(&self.user)
            .key(self.key.clone())
            .deadline(Duration::from_secs(120))
            .connect(&format!("127.0.0.1:{}", self.port))?;
        Ok(client)
    }
}

/// Runs `work` for each number below `count`, on so many threads; what each gave.
fn in_parallel<T: Send>(
    count: usize,
    threads: usize,
    work: impl Fn(usize) -> Outcome<T> + Sync,
) -> Outcome<Vec<T>> {
    let work = &work;
    thread::scope(|scope| {
        let start = |worker: usize| {
            scope.spawn(move || (worker..count).step_by(threads).map(work).collect::<Outcome<Vec<_>>>())
        };
        let workers: Vec<_> = (0..threads).map(start).collect();
        let mut all = Vec::with_capacity(count);
        for worker in workers {
            all.extend(worker.join().map_err(|_| "a worker panicked")??);
        }
        Ok(all)
    })
}

/// Tells the figures and waits for the end of input.
fn told(fields: &str, started: Instant) -> Outcome<()> {
    say(format_args!("{{{fields},\"secs\":{:.6}}}", started.elapsed().as_secs_f64()))?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn execs(setup: &Setup, count: usize, parallel: usize) -> Outcome<()> {
    let started = Instant::now();
    let held = in_parallel(count, parallel, |_| {
        let client = setup.connect()?;
        client.output("true")?.check()?;
        Ok(client)
    })?;
    told(&format!("\"count\":{}", held.len()), started)
}

/// One line typed and shown.
fn line(channel: &Channel) -> io::Result<Duration> {
    let sent = Instant::now();
    let (mut channel, mut shown) = (channel, [0; SHOWN.len()]);
    channel.write_all(TYPED)?;
    channel.read_exact(&mut shown)?;
    if shown == SHOWN {
        Ok(sent.elapsed())
    } else {
        Err(io::Error::other("another text is shown than was typed"))
    }
}

fn shells(setup: &Setup, count: usize, rounds: usize) -> Outcome<()> {
    let open = |_| {
        let client = setup.connect()?;
        let channel = client.open_session()?;
        channel.get_pty(&PtyRequest::new("xterm", 80, 24))?;
        channel.exec_command("cat")?;
        // The first line is there when the terminal is.
        line(&channel)?;
        Ok((client, channel))
    };
    let held = in_parallel(count, 8, open)?;
    let started = Instant::now();
    let work = |at: usize| Ok((0..rounds).map(|_| line(&held[at].1)).collect::<io::Result<Vec<_>>>()?);
    let mut times: Vec<_> = in_parallel(count, count, work)?.into_iter().flatten().collect();
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    told(&format!("\"count\":{},\"p50ms\":{:.3},\"p99ms\":{:.3}", times.len(), at(0.5), at(0.99)), started)
}

/// How many connections the system keeps for a listener that is behind.
const QUEUE: i32 = 4096;

/// Who echoes on one connection needs little; what matters is that a thousand of them start.
const STACK: usize = 64 * 1024;

/// Where connections are echoed, for as long as the program runs.
fn echo() -> io::Result<u16> {
    fn back(stream: &TcpStream) -> io::Result<u64> {
        io::copy(&mut { stream }, &mut { stream })
    }
    let listener = TcpListener::bind("127.0.0.1:0")?;
    // More than are ever opened: one connection too many for the queue would wait a second for its next try.
    rustix::net::listen(&listener, QUEUE)?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // What is not echoed the other end misses.
            let _ = thread::Builder::new().stack_size(STACK).spawn(move || drop(back(&stream)));
        }
    });
    Ok(port)
}

fn forwards(setup: &Setup, count: usize, bytes: usize) -> Outcome<()> {
    let (client, port, sent) = (setup.connect()?, echo()?, vec![b'x'; bytes]);
    let started = Instant::now();
    let open = |_| Ok(client.transport().open_direct_tcpip("127.0.0.1", port, ("127.0.0.1", 0))?);
    let held = in_parallel(count, 8, open)?;
    let work = |at: usize| {
        let (mut channel, mut back) = (&held[at], vec![0; bytes]);
        channel.write_all(&sent)?;
        channel.read_exact(&mut back)?;
        if back == sent { Ok(()) } else { Err("other bytes come back than were sent".into()) }
    };
    in_parallel(count, count, work)?;
    told(&format!("\"count\":{}", held.len()), started)
}

fn run() -> Outcome<()> {
    let names = &[("port", 'p'), ("key", 'k'), ("user", 'u')];
    let args =
        Given::from_env(Options { letters: "p:k:u:", names }).map_err(|error| format!("{error}\n{USAGE}"))?;
    let setup = Setup {
        port: args.last('p').ok_or(USAGE)?.parse()?,
        user: args.last('u').unwrap_or("root").to_owned(),
        key: PKey::from_file(args.last('k').ok_or(USAGE)?, None)?,
    };
    let words: Vec<&str> = args.operands.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["execs", count, parallel] => execs(&setup, count.parse()?, parallel.parse()?),
        ["shells", count, rounds] => shells(&setup, count.parse()?, rounds.parse()?),
        ["forwards", count, bytes] => forwards(&setup, count.parse()?, bytes.parse()?),
        _ => Err(USAGE.into()),
    }
}

fn main() -> ExitCode {
    end("bench_load", run().map_err(|error| error as Box<dyn std::error::Error>))
}
