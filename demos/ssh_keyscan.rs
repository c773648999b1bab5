//! Asks hosts for their keys, with the options of ssh-keyscan(1): connects once for each type of key, has
//! the host prove that it holds one, and goes before anybody is authenticated.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use feramiko::{
    Algorithms, Error, Halves, HostKeys, PublicKey, ReadHalf, Stream, Transport, TransportOptions,
};
use support::args::Options;
use support::given::{Given, time};
use support::log::{level, start};
use support::output::{complain, say_bytes};

const USAGE: &str = "usage: ssh_keyscan [-46cDHqv] [-f file] [-O option] [-p port] [-T timeout] [-t type]
                   [host | addrlist namelist]";
const OPTIONS: Options = Options { letters: "46cDHqvf:O:p:T:t:", names: &[] };
/// OpenSSH's `fatal`.
const FATAL: u8 = 255;
/// So many connections at once.
const WORKERS: usize = 32;
/// No host says more before its version line.
const GREETING: usize = 16 * 1024;
const SSH_PORT: u16 = 22;

/// Types of host keys: their names, whether they are asked for unasked, and their algorithms.
const TYPES: &[(&[&str], bool, &[&str])] = &[
    (&["dsa", "ssh-dss"], false, &["ssh-dss"]),
    (&["rsa", "ssh-rsa", "rsa-sha2-256", "rsa-sha2-512"], true, &["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"]),
    (
        &["ecdsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"],
        true,
        &["ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"],
    ),
    (&["ed25519", "ssh-ed25519"], true, &["ssh-ed25519"]),
    (&["ed448", "ssh-ed448"], false, &["ssh-ed448"]),
    (&["ecdsa-sk", "sk-ecdsa-sha2-nistp256@openssh.com"], true, &["sk-ecdsa-sha2-nistp256@openssh.com"]),
    (&["ed25519-sk", "sk-ssh-ed25519@openssh.com"], true, &["sk-ssh-ed25519@openssh.com"]),
];

/// What cannot be done, with the exit status for it.
struct Fail(u8, String);

fn fatal(text: impl ToString) -> Fail {
    Fail(FATAL, text.to_string())
}

fn main() -> ExitCode {
    let given = Given::from_env(OPTIONS).map_err(|wrong| Fail(1, format!("{wrong}\n{USAGE}")));
    match given.and_then(|given| scan(&given)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(Fail(status, text)) => {
            complain(text);
            ExitCode::from(status)
        }
    }
}

/// What is asked of every host, and how the answers are shown.
struct Scan {
    port: u16,
    timeout: Duration,
    v4: bool,
    v6: bool,
    certificates: bool,
    hashed: bool,
    records: bool,
    /// The kinds of records, by their numbers; all if there is none.
    record_hash: Option<u8>,
    quiet: bool,
}

/// One connection to be made.
struct Job {
    /// Addresses or names, with commas between them; the first that answers is asked.
    addresses: String,
    /// What the key is shown with.
    names: String,
    algorithms: &'static [&'static str],
}

/// What a connection brought.
#[derive(Default)]
struct Found {
    said: String,
    key: Option<PublicKey>,
}

impl Scan {
    fn new(given: &Given) -> Result<Self, Fail> {
        let port = given.last('p').unwrap_or("22");
        let port = port.parse().ok().filter(|port| *port > 0);
        let port =
            port.ok_or_else(|| Fail(1, format!("Bad port '{}'", given.last('p').unwrap_or_default())))?;
        let seconds = given.last('T').unwrap_or("5");
        let timeout = time(seconds).ok().filter(|seconds| *seconds > 0);
        let timeout = timeout.ok_or_else(|| Fail(1, format!("Bad timeout '{seconds}'\n{USAGE}")))?;
        let mut record_hash = None;
        for option in given.all('O') {
            record_hash = match option.to_ascii_lowercase().as_str() {
                "hashalg=sha1" => Some(1),
                "hashalg=sha256" => Some(2),
                _ => return Err(fatal(format!("Unsupported option \"{option}\""))),
            };
        }
        let (v4, v6) = (given.has('4') || !given.has('6'), given.has('6') || !given.has('4'));
        Ok(Self {
            port,
            timeout: Duration::from_secs(timeout.into()),
            v4,
            v6,
            certificates: given.has('c'),
            hashed: given.has('H'),
            records: given.has('D'),
            record_hash,
            quiet: given.has('q'),
        })
    }

    /// The key that a host proves to hold, of a type that is asked for.
    fn ask(&self, job: &Job) -> Found {
        let mut found = Found::default();
        for name in job.addresses.split(',').filter(|name| !name.is_empty()) {
            match self.connect(name) {
                Ok(stream) => {
                    if self.exchange(name, stream, job, &mut found) {
                        break;
                    }
                }
                Err(error) => found.said += &format!("{name}: {error}\n"),
            }
        }
        found
    }

    fn connect(&self, name: &str) -> io::Result<TcpStream> {
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "no address of the family asked for");
        let wanted = |address: &SocketAddr| if address.is_ipv4() { self.v4 } else { self.v6 };
        for address in (name, self.port).to_socket_addrs()?.filter(wanted) {
            match TcpStream::connect_timeout(&address, self.timeout) {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Exchanges keys; whether an SSH server has answered.
    fn exchange(&self, name: &str, stream: TcpStream, job: &Job, found: &mut Found) -> bool {
        let mut options = TransportOptions::default();
        options.algorithms = Algorithms::client_defaults().compatible();
        options.limits.connect_timeout = self.timeout;
        let certified =
            |plain: &&str| format!("{}-cert-v01@openssh.com", plain.trim_end_matches("@openssh.com"));
        let names: Vec<_> = match self.certificates {
            true => job.algorithms.iter().map(certified).collect(),
            false => job.algorithms.iter().map(|name| (*name).to_owned()).collect(),
        };
        if let Err(error) = options.algorithms.set_host_keys(&names.join(",")) {
            found.said += &format!("{error}\n");
            return true;
        }
        let heard = Arc::new(Mutex::new(Vec::new()));
        let stream = Heard { stream, heard: Arc::clone(&heard) };
        let ended = Transport::start_client(stream, options, |key| {
            found.key = Some(key.clone());
            // That was all.
            Err(Error::Cancelled)
        });
        let heard =
            heard.lock().map(|heard| String::from_utf8_lossy(&heard).into_owned()).unwrap_or_default();
        let Some(version) = heard.lines().find(|line| line.starts_with("SSH-")) else {
            let why = ended.err().map_or_else(String::new, |error| error.to_string());
            found.said += &format!("{name}: {why}\n");
            return false;
        };
        if !self.quiet {
            let mark = if self.records { ';' } else { '#' };
            found.said += &format!("{mark} {name}:{} {}\n", self.port, version.trim_end().escape_debug());
        }
        true
    }

    /// The lines about a key.
    fn shown(&self, names: &str, key: &PublicKey) -> Result<String, Fail> {
        if self.certificates || !self.hashed && self.port == SSH_PORT {
            return self.line(names, key);
        }
        names.split(',').map(|name| self.line(name, key)).collect()
    }

    fn line(&self, names: &str, key: &PublicKey) -> Result<String, Fail> {
        if self.records {
            let records = key.sshfp_records().map_err(fatal)?.into_iter();
            let wanted = records.filter(|record| self.record_hash.is_none_or(|hash| record.hash == hash));
            return Ok(wanted.map(|record| format!("{names} IN SSHFP {record}\n")).collect());
        }
        if self.certificates {
            return Ok(format!("{}\n", key.to_line()));
        }
        let port = self.port;
        let name = if port == SSH_PORT { names.to_owned() } else { format!("[{names}]:{port}") };
        let name = name.to_ascii_lowercase();
        let name = if self.hashed { HostKeys::hash_host(&name, None).map_err(fatal)? } else { name };
        Ok(format!("{name} {}\n", key.to_line()))
    }
}

/// A connection, of which the first bytes that come are kept: they are shown also when nothing is agreed.
struct Heard {
    stream: TcpStream,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Stream for Heard {
    fn split(self: Box<Self>) -> io::Result<Halves> {
        let mut halves = Box::new(self.stream).split()?;
        halves.read = Box::new(Ear { read: halves.read, heard: self.heard });
        Ok(halves)
    }
}

struct Ear {
    read: Box<dyn ReadHalf>,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Ear {
    fn keep(&self, bytes: &[u8]) {
        if let Ok(mut heard) = self.heard.lock() {
            let room = GREETING.saturating_sub(heard.len());
            heard.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        }
    }
}

impl ReadHalf for Ear {
    fn read(&mut self, buf: &mut [u8], deadline: Option<Instant>) -> io::Result<usize> {
        let count = self.read.read(buf, deadline)?;
        self.keep(&buf[..count]);
        Ok(count)
    }

    fn read_now(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.read.read_now(buf)?;
        self.keep(&buf[..count]);
        Ok(count)
    }

    fn quick_ack(&mut self) {
        self.read.quick_ack();
    }
}

/// The algorithms of the types that are asked for.
fn types(given: &Given) -> Result<Vec<&'static [&'static str]>, Fail> {
    let Some(list) = given.last('t') else {
        return Ok(TYPES
            .iter()
            .filter(|(_, unasked, _)| *unasked)
            .map(|(.., algorithms)| *algorithms)
            .collect());
    };
    let asked: Vec<_> =
        list.split(',').filter(|name| !name.is_empty()).map(str::to_ascii_lowercase).collect();
    let known = |name: &String| TYPES.iter().any(|(names, ..)| names.contains(&name.as_str()));
    if let Some(name) = asked.iter().find(|name| !known(name)) {
        return Err(fatal(format!("Unknown key type \"{name}\"")));
    }
    let wanted = |names: &[&str]| asked.iter().any(|name| names.contains(&name.as_str()));
    Ok(TYPES.iter().filter(|(names, ..)| wanted(names)).map(|(.., algorithms)| *algorithms).collect())
}

/// The hosts of the files and of the command line, each as `addresses names`.
fn hosts(given: &Given) -> Result<Vec<String>, Fail> {
    let mut hosts = Vec::new();
    for path in given.all('f') {
        let mut text = Vec::new();
        let read = match path {
            "-" => io::stdin().read_to_end(&mut text).map(drop),
            path => fs::read(path).map(|bytes| text = bytes),
        };
        read.map_err(|error| fatal(format!("{path}: {error}")))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        hosts.extend(lines.filter(|line| !line.is_empty()).map(str::to_owned));
    }
    hosts.extend(given.operands.iter().cloned());
    Ok(hosts)
}

/// Every address of a network; anything else is a host by itself.
fn expand(host: &str) -> Box<dyn Iterator<Item = String>> {
    let network = host
        .split_once('/')
        .and_then(|(address, bits)| Some((address.parse::<IpAddr>().ok()?, bits.parse::<u32>().ok()?)));
    let hosts = |bits: u32, width: u32| 1_u128.checked_shl(width - bits).map_or(u128::MAX, |count| count - 1);
    match network {
        Some((IpAddr::V4(address), bits)) if bits <= 32 => {
            let first = address.to_bits();
            let last = first | u32::try_from(hosts(bits, 32)).unwrap_or(u32::MAX);
            Box::new((first..=last).map(|address| std::net::Ipv4Addr::from_bits(address).to_string()))
        }
        Some((IpAddr::V6(address), bits)) if bits <= 128 => {
            let first = address.to_bits();
            let last = first | hosts(bits, 128);
            Box::new((first..=last).map(|address| std::net::Ipv6Addr::from_bits(address).to_string()))
        }
        _ => Box::new(std::iter::once(host.to_owned())),
    }
}

/// Asks all hosts, many at once; whether there was a key. Answers are shown in the order of the questions.
fn scan(given: &Given) -> Result<bool, Fail> {
    let hosts = hosts(given)?;
    if hosts.is_empty() && !given.has('f') {
        return Err(Fail(1, USAGE.to_owned()));
    }
    if given.has('v') {
        start(level(given.count('v')), None).map_err(fatal)?;
    }
    let (scan, types) = (Scan::new(given)?, types(given)?);
    let mut jobs = hosts.iter().flat_map(|host| expand(host)).flat_map(|host| {
        let host = host.trim().to_owned();
        let (addresses, names) = host.split_once([' ', '\t']).unwrap_or((&host, &host));
        let (addresses, names) = (addresses.to_owned(), names.trim().to_owned());
        let job = move |algorithms| Job { addresses: addresses.clone(), names: names.clone(), algorithms };
        types.clone().into_iter().map(job).collect::<Vec<_>>()
    });
    let (answers, answered) = mpsc::channel();
    let mut shower = Shower { scan: &scan, next: 0, waiting: BTreeMap::new(), found: false };
    thread::scope(|scope| {
        let mut ask = |number: usize| {
            let Some(job) = jobs.next() else { return false };
            let (answers, scan) = (answers.clone(), &scan);
            scope.spawn(move || {
                let found = scan.ask(&job);
                // It listens as long as anybody asks.
                let _ = answers.send((number, job, found));
            });
            true
        };
        let mut asked = 0;
        while asked < WORKERS && ask(asked) {
            asked += 1;
        }
        let mut received = 0;
        while received < asked {
            let Ok((number, job, found)) = answered.recv() else { break };
            received += 1;
            shower.take(number, job, found)?;
            if ask(asked) {
                asked += 1;
            }
        }
        Ok(shower.found)
    })
}

/// Shows answers in order.
struct Shower<'a> {
    scan: &'a Scan,
    next: usize,
    waiting: BTreeMap<usize, (Job, Found)>,
    found: bool,
}

impl Shower<'_> {
    fn take(&mut self, number: usize, job: Job, found: Found) -> Result<(), Fail> {
        self.waiting.insert(number, (job, found));
        while let Some((job, found)) = self.waiting.remove(&self.next) {
            self.next += 1;
            found.said.lines().for_each(complain);
            let Some(key) = found.key else { continue };
            self.found = true;
            let lines = self.scan.shown(&job.names, &key)?;
            say_bytes(lines.as_bytes()).map_err(fatal)?;
        }
        Ok(())
    }
}
