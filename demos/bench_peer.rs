//! Drives the library as client and as server for benchmarks: one JSON line per run.

mod support;

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use feramiko::{
    Algorithms, Answer, AuthAnswer, AutoAddPolicy, ExitStatus, HostKeys, Limits, LocalServer, PKey,
    PublicKey, SSHClient, SSHServer, ServerInterface, Session, SessionKind, SessionRequest,
};
use support::args::Options;
use support::given::Given;
use support::output::{end, say};

/// Echoes sent before those that count.
const WARM_UP_PINGS: usize = 200;
/// Bytes of one write, and asked for in one read.
const PIECE: usize = 256 * 1024;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const USAGE: &str =
    "usage: bench_peer --port P --key FILE [--host H] [--user U] [--cipher C] [--mac M] [--kex K] VERB ARGS
verbs: down CMD BYTES, up BYTES, get REMOTE LOCAL, put REMOTE LOCAL, sget, sput (the same over two connections),
       getdir REMOTE LOCAL, putdir LOCAL REMOTE, stats N THREADS, connect N PAR, execs N, ping N, idle N, serve";

struct Setup {
    destination: String,
    user: String,
    key: PKey,
    algorithms: Algorithms,
}

impl Setup {
    fn connect(&self) -> feramiko::Result<SSHClient> {
        SSHClient::builder()
            .no_ssh_config()
            .no_agent()
            .no_default_keys()
            .host_keys(HostKeys::new())
            .missing_host_key(AutoAddPolicy)
            .algorithms(self.algorithms.clone())
            .username(&self.user)
            .key(self.key.clone())
            .connect(&self.destination)
    }
}

/// User and system time of this process, in seconds.
fn cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn measured(fields: &str, started: Instant, cpu_before: f64) -> io::Result<()> {
    let (secs, cpu) = (started.elapsed().as_secs_f64(), cpu() - cpu_before);
    say(format_args!("{{{fields},\"secs\":{secs:.6},\"cpu\":{cpu:.6}}}"))
}

fn down(setup: &Setup, command: &str, bytes: u64) -> Outcome<()> {
    let client = setup.connect()?;
    let (started, before) = (Instant::now(), cpu());
    let mut process = client.exec_command(command)?;
    let mut stdout = process.stdout.take().ok_or("no output")?;
    let mut piece = vec![0; PIECE];
    let mut total = 0_u64;
    loop {
        match stdout.read(&mut piece)? {
            0 => break,
            count => total += count as u64,
        }
    }
    if total != bytes {
        return Err(format!("{total} bytes came, {bytes} were expected").into());
    }
    process.wait()?;
    measured(&format!("\"bytes\":{total}"), started, before)?;
    Ok(())
}

fn up(setup: &Setup, command: &str, bytes: u64) -> Outcome<()> {
    let client = setup.connect()?;
    let (started, before) = (Instant::now(), cpu());
    let mut process = client.exec_command(command)?;
    let mut stdin = process.stdin.take().ok_or("no input")?;
    let piece = vec![0; PIECE];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(piece.len() as u64) as usize;
        stdin.write_all(&piece[..now])?;
        left -= now as u64;
    }
    drop(stdin);
    let status = process.wait()?;
    if !status.success() {
        return Err(status.to_string().into());
    }
    measured(&format!("\"bytes\":{bytes}"), started, before)?;
    Ok(())
}

fn connect(setup: &Arc<Setup>, count: usize, parallel: usize) -> Outcome<()> {
    let (started, before) = (Instant::now(), cpu());
    let workers: Vec<_> = (0..parallel)
        .map(|worker| {
            let setup = Arc::clone(setup);
            let share = count / parallel + usize::from(worker < count % parallel);
            std::thread::spawn(move || -> feramiko::Result<()> {
                for _ in 0..share {
                    let client = setup.connect()?;
                    client.output("true")?.check()?;
                    client.close();
                }
                Ok(())
            })
        })
        .collect();
    for worker in workers {
        worker.join().map_err(|_| "a worker panicked")??;
    }
    measured(&format!("\"count\":{count}"), started, before)?;
    Ok(())
}

/// The most memory that this process has had resident, in KiB; 0 where the system does not tell.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// Files and trees by SFTP; the session is opened before the clock runs.
fn sftp(setup: &Setup, verb: &str, from: &str, to: &str) -> Outcome<()> {
    let client = setup.connect()?;
    let sftp = client.open_sftp()?;
    let (verb, striped) = verb.strip_prefix('s').map_or((verb, false), |verb| (verb, true));
    let other = striped.then(|| setup.connect()).transpose()?;
    let second = other.as_ref().map(SSHClient::open_sftp).transpose()?;
    let (started, before) = (Instant::now(), cpu());
    let mut transfer = sftp.transfer().recursive(verb.ends_with("dir"));
    if let Some(second) = &second {
        transfer = transfer.atomic(true).stripe(second);
    }
    let done = if verb.starts_with("get") { transfer.get(from, to)? } else { transfer.put(from, to)? };
    let fields = format!("\"bytes\":{},\"files\":{},\"peak_kib\":{}", done.bytes, done.files, peak());
    Ok(measured(&fields, started, before)?)
}

/// `stat` of the home directory, from so many threads on one session.
fn stats(setup: &Setup, count: usize, threads: usize) -> Outcome<()> {
    let sftp = setup.connect()?.open_sftp()?;
    sftp.stat(".")?;
    let (started, before) = (Instant::now(), cpu());
    std::thread::scope(|scope| {
        let work = |_| scope.spawn(|| (0..count / threads).try_for_each(|_| sftp.stat(".").map(drop)));
        let workers: Vec<_> = (0..threads).map(work).collect();
        workers.into_iter().try_for_each(|worker| {
            worker.join().map_err(|_| "a worker panicked".into()).and_then(|done| Ok(done?))
        })
    })
    .and_then(|()| -> Outcome<()> { Ok(measured(&format!("\"count\":{count}"), started, before)?) })
}

fn execs(setup: &Setup, count: usize) -> Outcome<()> {
    let client = setup.connect()?;
    let (started, before) = (Instant::now(), cpu());
    for _ in 0..count {
        client.output("true")?.check()?;
    }
    measured(&format!("\"count\":{count}"), started, before)?;
    Ok(())
}

fn ping(setup: &Setup, count: usize) -> Outcome<()> {
    let client = setup.connect()?;
    let channel = client.open_session()?;
    channel.exec_command("cat")?;
    let mut byte = [0];
    let mut once = || -> io::Result<Duration> {
        let sent = Instant::now();
        (&channel).write_all(b"x")?;
        (&channel).read_exact(&mut byte)?;
        Ok(sent.elapsed())
    };
    for _ in 0..WARM_UP_PINGS {
        once()?;
    }
    let (started, before) = (Instant::now(), cpu());
    let mut times = (0..count).map(|_| once()).collect::<io::Result<Vec<_>>>()?;
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    measured(
        &format!("\"count\":{count},\"p50us\":{:.1},\"p99us\":{:.1}", at(0.5), at(0.99)),
        started,
        before,
    )?;
    channel.shutdown(Shutdown::Write);
    Ok(())
}

fn idle(setup: &Setup, count: usize) -> Outcome<()> {
    let clients = (0..count).map(|_| setup.connect()).collect::<feramiko::Result<Vec<_>>>()?;
    say("ready")?;
    io::stdin().read_to_end(&mut Vec::new())?;
    drop(clients);
    Ok(())
}

struct Server;

impl ServerInterface for Server {
    fn check_auth_publickey(&self, _: &str, _: &PublicKey) -> AuthAnswer {
        AuthAnswer::Accept
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
        Answer::Yes
    }

    fn check_channel_subsystem_request(&self, _: &SessionRequest, name: &str) -> Answer {
        Answer::when(name == "sftp")
    }

    fn session(&self, mut session: Session) -> io::Result<ExitStatus> {
        if let SessionKind::Subsystem(_) = session.request().kind {
            return session.serve_sftp(LocalServer::new()?);
        }
        let SessionKind::Exec(command) = session.request().kind.clone() else {
            return Ok(ExitStatus::Code(1));
        };
        let command = String::from_utf8_lossy(&command).into_owned();
        if let Some(bytes) = command.strip_prefix(":source ") {
            let mut left: u64 = bytes.parse().map_err(io::Error::other)?;
            let piece = vec![0; PIECE];
            while left > 0 {
                let now = left.min(piece.len() as u64) as usize;
                session.write_all(&piece[..now])?;
                left -= now as u64;
            }
            return Ok(ExitStatus::Code(0));
        }
        if command == ":sink" {
            let mut piece = vec![0; PIECE];
            while session.read(&mut piece)? > 0 {}
            return Ok(ExitStatus::Code(0));
        }
        let mut shell = std::process::Command::new("bash");
        shell.arg("-c").arg(command);
        session.run_command(shell)
    }
}

fn serve(setup: Setup, port: &str, host: &str) -> Outcome<()> {
    let mut limits = Limits::default();
    (limits.startups_begin, limits.startups, limits.startups_per_source) = (1000, 1000, 1000);
    limits.sessions = 1000;
    let server = SSHServer::builder()
        .host_key(setup.key)
        .algorithms(setup.algorithms)
        .limits(limits)
        .serve(TcpListener::bind(format!("{host}:{port}"))?, |_| Server)?;
    say("ready")?;
    // Until the harness ends it, or its input.
    io::stdin().read_to_end(&mut Vec::new())?;
    server.shutdown(Duration::ZERO);
    Ok(())
}

fn run() -> Outcome<()> {
    let names = &[
        ("port", 'p'),
        ("key", 'k'),
        ("host", 'h'),
        ("user", 'u'),
        ("cipher", 'c'),
        ("mac", 'm'),
        ("kex", 'K'),
    ];
    let args = Given::from_env(Options { letters: "p:k:h:u:c:m:K:", names })
        .map_err(|error| format!("{error}\n{USAGE}"))?;
    let (port, host) = (args.last('p').ok_or(USAGE)?, args.last('h').unwrap_or("127.0.0.1"));
    let words: Vec<&str> = args.operands.iter().map(String::as_str).collect();
    let mut algorithms =
        if words == ["serve"] { Algorithms::server_defaults() } else { Algorithms::client_defaults() };
    args.last('c').map_or(Ok(()), |name| algorithms.set_ciphers(name))?;
    args.last('m').map_or(Ok(()), |name| algorithms.set_macs(name))?;
    args.last('K').map_or(Ok(()), |name| algorithms.set_kex(name))?;
    let user = args
        .last('u')
        .map(str::to_owned)
        .or_else(|| std::env::var("USER").ok())
        .unwrap_or_else(|| "root".into());
    let key = PKey::from_file(args.last('k').ok_or(USAGE)?, None)?;
    let setup = Setup { destination: format!("{host}:{port}"), user, key, algorithms };
    match words.as_slice() {
        ["serve"] => serve(setup, port, host),
        ["down", command, bytes] => down(&setup, command, bytes.parse()?),
        ["up", bytes] => up(&setup, "cat >/dev/null", bytes.parse()?),
        ["up", bytes, command] => up(&setup, command, bytes.parse()?),
        ["connect", count, parallel] => connect(&Arc::new(setup), count.parse()?, parallel.parse()?),
        [verb @ ("put" | "sput"), to, from] => sftp(&setup, verb, from, to),
        [verb @ ("get" | "sget" | "getdir" | "putdir"), from, to] => sftp(&setup, verb, from, to),
        ["stats", count, threads] => stats(&setup, count.parse()?, threads.parse()?),
        ["execs", count] => execs(&setup, count.parse()?),
        ["ping", count] => ping(&setup, count.parse()?),
        ["idle", count] => idle(&setup, count.parse()?),
        _ => Err(USAGE.into()),
    }
}

fn main() -> ExitCode {
    end("bench_peer", run())
}
