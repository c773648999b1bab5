//! The library's server under attack: what it ran, what it used, and whether it still serves.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use feramiko::{
    Algorithms, Answer, AuthAnswer, AutoAddPolicy, ExitStatus, HostKeys, InteractiveAnswer, InteractiveQuery,
    KeyKind, Limits, PKey, PtyRequest, PublicKey, SSHClient, SSHServer, Secret, ServerHandle,
    ServerInterface, Session, SessionKind, SessionRequest,
};

use super::HostKey;

/// The login grace time of the servers under attack.
pub(crate) const GRACE: Duration = Duration::from_secs(2);
/// The time in which a key exchange must end there.
pub(crate) const REKEY: Duration = Duration::from_secs(2);

/// How many may be on their way in at once, from one place.
pub(crate) const STARTUPS: usize = 60;

/// How long the application thinks about the global request `think`.
pub(crate) const THINKING: Duration = Duration::from_secs(2);

/// What an attack must not make happen, counted.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// Sessions that ran.
    pub(crate) sessions: AtomicUsize,
    /// Commands whose output could not be written any more.
    pub(crate) cut: AtomicUsize,
    /// Environment variables and terminals that were granted.
    pub(crate) granted: AtomicUsize,
}

/// Lets in `robey` by `foo`, by one key, or by answering `42`; a few commands, run in the process.
struct Shop(Arc<Marks>, Vec<PublicKey>);

impl ServerInterface for Shop {
    fn check_auth_password(&self, user: &str, password: &Secret) -> AuthAnswer {
        AuthAnswer::when(user == "robey" && password.matches("foo"))
    }

    fn check_auth_publickey(&self, user: &str, key: &PublicKey) -> AuthAnswer {
        AuthAnswer::when(user == "robey" && self.1.contains(key))
    }

    fn check_auth_interactive(&self, _: &str) -> InteractiveAnswer {
        InteractiveAnswer::Ask(InteractiveQuery::new("", "").prompt("Code: ", false))
    }

    fn check_auth_interactive_response(&self, user: &str, answers: &[Secret]) -> InteractiveAnswer {
        let right = user == "robey" && matches!(answers, [code] if code.matches("42"));
        InteractiveAnswer::Done(AuthAnswer::when(right))
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
        Answer::Yes
    }

    fn check_channel_shell_request(&self, _: &SessionRequest) -> Answer {
        Answer::Yes
    }

    fn check_channel_pty_request(&self, _: &PtyRequest) -> Answer {
        self.0.granted.fetch_add(1, Ordering::SeqCst);
        Answer::Yes
    }

    fn check_global_request(&self, kind: &str, _: &[u8]) -> Option<Vec<u8>> {
        if kind == "think" {
            std::thread::sleep(THINKING);
        }
        None
    }

    fn session(&self, mut session: Session) -> io::Result<ExitStatus> {
        self.0.sessions.fetch_add(1, Ordering::SeqCst);
        let command = match session.request().kind.clone() {
            SessionKind::Exec(command) => String::from_utf8_lossy(&command).into_owned(),
            _ => "cat".to_owned(),
        };
        let (verb, number) = command.split_once(' ').unwrap_or((&command, "0"));
        match verb {
            "echo" => session.write_all(number.as_bytes())?,
            "cat" => drop(io::copy(&mut session.channel(), &mut session.channel().clone())?),
            "deaf" => drop(session.events().recv()),
            "hold" => drop(session.read(&mut [0])?),
            "flood" => {
                let mut left: usize = number.parse().unwrap();
                while left > 0 {
                    let now = left.min(32 * 1024);
                    if let Err(error) = session.write_all(&vec![b'x'; now]) {
                        self.0.cut.fetch_add(1, Ordering::SeqCst);
                        return Err(error);
                    }
                    left -= now;
                }
            }
            _ => return Ok(ExitStatus::Code(127)),
        }
        Ok(ExitStatus::Code(0))
    }
}

/// A server, its address, and what happened there.
pub(crate) struct Stage {
    pub(crate) address: String,
    pub(crate) marks: Arc<Marks>,
    /// The key that is let in, for our own client, and the raw peer's.
    pub(crate) key: PKey,
    pub(crate) raw_key: HostKey,
    server: ServerHandle,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::with(|_, _| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Algorithms, &mut Limits)) -> Self {
        let (mut algorithms, mut limits) = (Algorithms::server_defaults(), Limits::default());
        (limits.login_grace, limits.rekey_timeout) = (GRACE, REKEY);
        limits.failure_delay = Duration::from_millis(1);
        (limits.startups_begin, limits.startups_per_source) = (STARTUPS, STARTUPS);
        change(&mut algorithms, &mut limits);
        let marks = Arc::new(Marks::default());
        let key = PKey::generate(KeyKind::Ed25519).unwrap();
        let raw_key = HostKey::new();
        let known = vec![key.public_key().clone(), PublicKey::from_blob(&raw_key.blob()).unwrap()];
        let counted = Arc::clone(&marks);
        let server = SSHServer::builder()
            .host_key(PKey::generate(KeyKind::Ed25519).unwrap())
            .algorithms(algorithms)
            .limits(limits)
            .serve(TcpListener::bind("127.0.0.1:0").unwrap(), move |_| {
                Shop(Arc::clone(&counted), known.clone())
            })
            .unwrap();
        Self { address: server.address(), marks, key, raw_key, server }
    }

    /// How many sessions ran so far.
    pub(crate) fn sessions(&self) -> usize {
        self.marks.sessions.load(Ordering::SeqCst)
    }

    /// How many connections the server holds.
    pub(crate) fn connections(&self) -> usize {
        self.server.connections()
    }

    /// Let in as soon as the server has seen that those before have gone: until then it may refuse start-ups.
    pub(crate) fn good_client(&self) -> SSHClient {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match self.try_good_client() {
                Ok(client) => return client,
                Err(error) => assert!(Instant::now() < deadline, "a good client is not let in: {error}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn try_good_client(&self) -> feramiko::Result<SSHClient> {
        crate::given::client().username("robey").key(self.key.clone()).connect(&self.address)
    }

    /// An honest client gets what it asks for.
    pub(crate) fn serves(&self) {
        let output = self.good_client().output("echo still here").unwrap();
        assert_eq!(output.stdout, b"still here");
    }
}

/// Memory that the process has resident, and had at most since `Memory::mark`, in KiB.
pub(crate) struct Memory(u64);

impl Memory {
    pub(crate) fn mark() -> Self {
        // 5 sets the high-water mark back, proc(5).
        fs::write("/proc/self/clear_refs", "5").unwrap();
        Self(field("VmRSS:"))
    }

    /// How much more there was at the highest, in KiB.
    pub(crate) fn grown(&self) -> u64 {
        field("VmHWM:").saturating_sub(self.0)
    }
}

fn field(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// What an unoptimised build, thread stacks and the allocator may take besides an attack's bound, the
/// raw peer's own buffers included.
const SLACK: u64 = 8 * 1024;

/// An attack: its row, its memory bound in KiB, and what it does and expects.
pub(crate) type Case<T> = (&'static str, u64, fn(&T));

/// Runs the attacks one after another; after each `serves` must hold. All that fail are named.
pub(crate) fn run<T>(stage: &T, serves: impl Fn(&T), cases: &[Case<T>]) {
    let mut failed = Vec::new();
    for (row, bound, attack) in cases {
        let memory = Memory::mark();
        let verdict = catch_unwind(AssertUnwindSafe(|| {
            attack(stage);
            let grown = memory.grown();
            assert!(grown <= bound + SLACK, "{grown} KiB more memory, {bound} are allowed");
            serves(stage);
        }));
        if let Err(panic) = verdict {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            failed.push(format!("{row}: {}", text.unwrap_or_default()));
        }
    }
    assert!(failed.is_empty(), "{} of {} attacks:\n{}", failed.len(), cases.len(), failed.join("\n"));
}
