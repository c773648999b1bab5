//! What the measuring programs share: `bench_peer`'s command line, its clock and its one line of JSON.
//! Knows nothing of any SSH library.

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// Echoes sent before those that count.
pub const WARM_UP_PINGS: usize = 200;
/// Bytes handed to a library in one write, and asked for in one read.
pub const PIECE: usize = 256 * 1024;
/// Connections that `idle` opens at once.
pub const OPENING_AT_ONCE: usize = 4;

/// Anything that makes a run worthless.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

const USAGE: &str = "usage: --port P --key FILE [--host H] [--user U] [--cipher C] [--mac M] [--kex K] VERB
verbs: down CMD BYTES, up BYTES [CMD], connect N PAR, execs N, stats N THREADS, ping N, idle N, serve";

/// The options that stand before the verb.
#[derive(Clone, Debug)]
pub struct Options {
    pub port: u16,
    pub key: String,
    pub host: String,
    pub user: String,
    pub cipher: Option<String>,
    pub mac: Option<String>,
    pub kex: Option<String>,
}

/// What is to be measured.
#[derive(Debug)]
pub enum Verb {
    Down { command: String, bytes: u64 },
    Up { command: String, bytes: u64 },
    Connect { count: usize, parallel: usize },
    Execs(usize),
    /// `stat` by SFTP; from one thread, whatever is asked for.
    Stats(usize),
    Ping(usize),
    Idle(usize),
    Serve,
}

/// Reads the command line.
pub fn arguments() -> Result<(Options, Verb), Failure> {
    let mut options = Options {
        port: 0,
        key: String::new(),
        host: "127.0.0.1".into(),
        user: std::env::var("USER").unwrap_or_else(|_| "root".into()),
        cipher: None,
        mac: None,
        kex: None,
    };
    let mut words = std::env::args().skip(1).peekable();
    while let Some(name) = words.next_if(|word| word.starts_with("--")) {
        let value = words.next().ok_or(USAGE)?;
        match name.as_str() {
            "--port" => options.port = value.parse()?,
            "--key" => options.key = value,
            "--host" => options.host = value,
            "--user" => options.user = value,
            "--cipher" => options.cipher = Some(value),
            "--mac" => options.mac = Some(value),
            "--kex" => options.kex = Some(value),
            _ => return Err(USAGE.into()),
        }
    }
    let words: Vec<String> = words.collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let verb = match words[..] {
        ["down", command, bytes] => Verb::Down { command: command.into(), bytes: bytes.parse()? },
        ["up", bytes] => Verb::Up { command: "cat >/dev/null".into(), bytes: bytes.parse()? },
        ["up", bytes, command] => Verb::Up { command: command.into(), bytes: bytes.parse()? },
        ["connect", count, parallel] => {
            Verb::Connect { count: count.parse()?, parallel: parallel.parse::<usize>()?.max(1) }
        }
        ["execs", count] => Verb::Execs(count.parse()?),
        ["stats", count, _] => Verb::Stats(count.parse()?),
        ["ping", count] => Verb::Ping(count.parse()?),
        ["idle", count] => Verb::Idle(count.parse()?),
        ["serve"] => Verb::Serve,
        _ => return Err(USAGE.into()),
    };
    Ok((options, verb))
}

/// User and system time in seconds.
pub fn cpu(who: UsageWho) -> f64 {
    getrusage(who).map_or(0.0, |usage| {
        (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6
    })
}

/// Wall clock and CPU of this process and its children, from `start` to `report`.
#[derive(Debug)]
pub struct Meter {
    started: Instant,
    cpu: f64,
}

impl Meter {
    pub fn start() -> Self {
        Self { started: Instant::now(), cpu: Self::spent() }
    }

    fn spent() -> f64 {
        cpu(UsageWho::RUSAGE_SELF) + cpu(UsageWho::RUSAGE_CHILDREN)
    }

    /// The one line of JSON; `fields` come first.
    pub fn report(self, fields: &str) {
        let secs = self.started.elapsed().as_secs_f64();
        println!("{{{fields},\"secs\":{secs:.6},\"cpu\":{:.6}}}", Self::spent() - self.cpu);
    }
}

/// Median and 99th percentile as JSON fields.
pub fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |share: f64| {
        let index = (times.len().saturating_sub(1) as f64 * share) as usize;
        times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e6)
    };
    format!("\"count\":{},\"p50us\":{:.1},\"p99us\":{:.1}", times.len(), at(0.5), at(0.99))
}

/// Turns the outcome into an exit status and one line on stderr.
pub fn finish(program: &str, outcome: Result<(), Failure>) {
    if let Err(error) = outcome {
        eprintln!("{program}: {error}");
        std::process::exit(1);
    }
}
