//! The other implementations, for interop tests: finds them, starts their servers and clients,
//! and ends them. A test file takes it in with `mod peers;`.
//!
//! `tests/peers/install` brings them onto the machine. Where one is absent its tests say so and
//! pass; with `FERAMIKO_PEERS=required`, as under `tests/run`, they fail.

#![allow(dead_code, unused_imports, reason = "no test uses everything")]

mod programs;

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use feramiko::{ExitStatus, Session, SessionKind};
#[allow(unused_imports, reason = "no test uses everything")]
pub(crate) use programs::{Running, SFTP_SERVER, command, output, program, require, sftp_server};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

/// Two cores may be busy with other tests; a server that is not up by then never will be.
const START: Duration = Duration::from_secs(60);
/// A server that did not end by then is killed.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked at meanwhile.
const STEP: Duration = Duration::from_millis(5);
/// Another listener may have taken the port that was free a moment before.
const TRIES: u32 = 5;

/// The Python that has paramiko and AsyncSSH.
pub(crate) fn python() -> Option<PathBuf> {
    Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/venv/bin/python"))
        .filter(|path| path.is_file())
}

/// Runs the command of a session of our server by a shell.
pub(crate) fn run_shell(session: Session) -> io::Result<ExitStatus> {
    let SessionKind::Exec(command) = session.request().kind.clone() else {
        return Ok(ExitStatus::Code(1));
    };
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(String::from_utf8_lossy(&command).into_owned());
    session.run_command(shell)
}

/// The user these tests run as, whom an sshd of theirs lets in.
pub(crate) fn user() -> String {
    let output = output(Command::new("id").arg("-un"), "");
    String::from_utf8(output.stdout).expect("the name is text").trim().to_owned()
}

/// The Python implementations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Python {
    Paramiko,
    AsyncSsh,
}

impl Python {
    pub(crate) const BOTH: [Self; 2] = [Self::Paramiko, Self::AsyncSsh];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Paramiko => "paramiko",
            Self::AsyncSsh => "asyncssh",
        }
    }

    fn command(self, role: &str, spec: &Value) -> Option<Command> {
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/peers/{}_{role}.py", self.name()));
        let mut command = Command::new(require(self.name(), python())?);
        command.arg("-B").arg(script).arg(spec.to_string());
        Some(command)
    }

    /// Runs a client to its end and returns its answer; `tests/peers/peer.py` says what `spec` may
    /// hold. A client that fails answers with `error`.
    pub(crate) fn client(self, spec: &Value) -> Option<Value> {
        self.clients(&json!([spec]))?.pop()
    }

    /// Runs clients one after the other, in one program, which starts more slowly than it connects; their answers.
    pub(crate) fn clients(self, specs: &Value) -> Option<Vec<Value>> {
        let output = output(&mut self.command("client", specs)?, "");
        let said = String::from_utf8_lossy(&output.stderr);
        let text = String::from_utf8_lossy(&output.stdout);
        let answers: Vec<_> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let asked = specs.as_array().map(Vec::len);
        assert_eq!(asked, Some(answers.len()), "{} answers to {specs}:\n{said}", self.name());
        Some(answers)
    }

    /// Starts a server on a port of its own.
    pub(crate) fn server(self, spec: &Value) -> Option<Server> {
        let server = Server::spawn(self.command("server", spec)?, &[]);
        Some(server.unwrap_or_else(|said| panic!("{} does not serve {spec}:\n{said}", self.name())))
    }
}

/// A server that another program runs. It ends with this value.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    said: Arc<Mutex<String>>,
    port: u16,
    /// What the server reads while it runs.
    folder: Option<Folder>,
}

impl Server {
    /// Starts a server and waits until it says that it is `listening` on a port, or, as programs
    /// that were told the port do, one of the `ready` lines.
    fn spawn(mut command: Command, ready: &[(&str, u16)]) -> Result<Self, String> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| error.to_string())?;
        let said = Arc::new(Mutex::new(String::new()));
        let lines = follow(&mut child, &said);
        let mut server = Self { child, said, port: 0, folder: None };
        loop {
            match lines.recv_timeout(START) {
                Ok(line) => {
                    let told = line.strip_prefix("listening ").and_then(|port| port.trim().parse().ok());
                    let known = ready.iter().find(|(text, _)| line.contains(text)).map(|(_, port)| *port);
                    if let Some(port) = told.or(known) {
                        server.port = port;
                        return Ok(server);
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Err(format!("not ready in time\n{}", server.log())),
                Err(RecvTimeoutError::Disconnected) => return Err(server.log()),
            }
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// All that the server has printed.
    pub(crate) fn log(&self) -> String {
        self.said.lock().expect("no reader panics").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Every server here ends when its standard input does.
        drop(self.child.stdin.take());
        for _ in 0..PATIENCE.as_millis() / STEP.as_millis() {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(STEP);
        }
        // The child is ours and not yet waited for: its number, and its group's, is nobody else's. What a
        // keeper has started is in the group.
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _ = group.map(|group| kill_process_group(group, Signal::KILL));
        let _ = self.child.wait();
    }
}

/// Keeps what a child prints and passes its lines on, until both its streams end.
fn follow(child: &mut Child, said: &Arc<Mutex<String>>) -> Receiver<String> {
    let (sender, receiver) = channel();
    let streams: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|stream| Box::new(stream) as _),
        child.stderr.take().map(|stream| Box::new(stream) as _),
    ];
    for stream in streams.into_iter().flatten() {
        let (said, sender) = (Arc::clone(said), sender.clone());
        thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                let text = String::from_utf8_lossy(&line).into_owned();
                said.lock().expect("no reader panics").push_str(&text);
                // Nobody listens once the server is ready.
                let _ = sender.send(text);
                line.clear();
            }
        });
    }
    receiver
}

/// A folder of one test, removed with this value. All names of a run are equally long: what is said about paths
/// comes in columns.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("feramiko-peers-{}-{count:04}", std::process::id()));
        // One of a run that was killed, under the same number.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("the temporary folder is ours");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The path of a file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The kinds of keys: the names and the bits that `ssh-keygen` takes for them.
pub(crate) const KEY_KINDS: &[(&str, &[&str])] = &[
    ("ed25519", &["-t", "ed25519"]),
    ("ecdsa256", &["-t", "ecdsa", "-b", "256"]),
    ("ecdsa384", &["-t", "ecdsa", "-b", "384"]),
    ("ecdsa521", &["-t", "ecdsa", "-b", "521"]),
    ("rsa", &["-t", "rsa", "-b", "2048"]),
];

/// Key pairs made by `ssh-keygen`, one of each kind. They stay for the next run: making them takes
/// longer than most tests.
#[derive(Debug)]
pub(crate) struct Keys {
    folder: PathBuf,
}

impl Keys {
    /// The set called `name`, made if it is not there; `None` without `ssh-keygen`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        /// Held while one test of this process makes a set.
        static MAKING: Mutex<()> = Mutex::new(());
        let _making = MAKING.lock().expect("no other test failed to make keys");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("peer-keys-{name}"));
        if !folder.is_dir() {
            let keygen = require("ssh-keygen", program("ssh-keygen"))?;
            // Other processes may be at it too: whoever is first with the whole set wins.
            let making = folder.with_extension(std::process::id().to_string());
            let _ = fs::remove_dir_all(&making);
            fs::create_dir(&making).expect("the target folder is ours");
            KEY_KINDS.iter().for_each(|(kind, arguments)| make_key(&keygen, arguments, &making.join(kind)));
            if fs::rename(&making, &folder).is_err() {
                let _ = fs::remove_dir_all(&making);
            }
        }
        Some(Self { folder })
    }

    /// The path of a private key.
    pub(crate) fn private(&self, kind: &str) -> PathBuf {
        self.folder.join(kind)
    }

    /// The line of a public key.
    pub(crate) fn public(&self, kind: &str) -> String {
        let path = self.folder.join(format!("{kind}.pub"));
        fs::read_to_string(path).expect("ssh-keygen wrote it").trim().to_owned()
    }

    /// The paths of all private keys, as `host_keys` of a specification wants them.
    pub(crate) fn all_private(&self) -> Value {
        KEY_KINDS.iter().map(|(name, _)| json!(self.private(name))).collect()
    }

    /// The lines of all public keys, as `authorized_keys` of a specification wants them.
    pub(crate) fn all_public(&self) -> Value {
        KEY_KINDS.iter().map(|(name, _)| json!(self.public(name))).collect()
    }
}

fn make_key(keygen: &Path, arguments: &[&str], path: &Path) {
    let mut command = Command::new(keygen);
    command.args(arguments).args(["-q", "-N", "", "-C", "feramiko test", "-f"]).arg(path);
    assert!(output(&mut command, "").status.success(), "ssh-keygen makes no {}", path.display());
}

/// OpenSSH's server on a port of its own, with a host key of each kind. It lets in `user()` with
/// any of the keys; `more` are further lines of its configuration, which come first and therefore
/// win.
pub(crate) fn sshd(host_keys: &Keys, authorized: &Keys, more: &str) -> Option<Server> {
    let sshd = require("sshd", program("sshd"))?;
    Some(start("sshd", |folder, port| {
        fs::write(folder.file("config"), sshd_config(folder, host_keys, authorized, port, more))
            .expect("the folder is ours");
        let mut command = keeper(r#""$1" -D -e -f "$2""#);
        command.arg(&sshd).arg(folder.file("config"));
        (command, format!("Server listening on 127.0.0.1 port {port}"))
    }))
}

/// The same in a home of its own, where it reads `.shosts` and `.ssh/known_hosts`: a mount that it
/// alone sees, which only root can make.
pub(crate) fn sshd_at_home(host_keys: &Keys, authorized: &Keys, more: &str, home: &Path) -> Option<Server> {
    let root = user() == "root";
    let sshd = require("sshd (as root)", program("sshd").filter(|_| root))?;
    let roots = std::env::home_dir().expect("root has a home");
    Some(start("sshd", |folder, port| {
        fs::write(folder.file("config"), sshd_config(folder, host_keys, authorized, port, more))
            .expect("the folder is ours");
        let mut command = keeper(&inside(r#"mount --bind "$1" "$2" && shift 2"#));
        command.arg(home).arg(&roots).arg(&sshd).args(["-D", "-e", "-f"]).arg(folder.file("config"));
        (command, format!("Server listening on 127.0.0.1 port {port}"))
    }))
}

/// A line that runs its arguments where mounts are private, after `mounts`, which takes its own
/// arguments away.
pub(crate) fn inside(mounts: &str) -> String {
    format!(r#"unshare -m sh -c '{mounts} && exec "$@"' sh "$@""#)
}

/// Dropbear's server on a port of its own, with an Ed25519, an ECDSA and an RSA host key. It lets
/// in `user()` with any of the keys. It reads them in the user's home only, so that it gets one
/// of its own: a mount that it alone sees, which only root can make.
pub(crate) fn dropbear(host_keys: &Keys, authorized: &Keys) -> Option<Server> {
    let root = user() == "root";
    let dropbear = require("dropbear (as root)", program("dropbear").filter(|_| root))?;
    let convert = require("dropbearconvert", program("dropbearconvert"))?;
    let home = std::env::home_dir().expect("root has a home");
    Some(start("dropbear", |folder, port| {
        fs::create_dir(folder.file(".ssh")).expect("the folder is ours");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("the folder is ours");
        fs::write(folder.file(".ssh/authorized_keys"), authorized_keys(authorized))
            .expect("the folder is ours");
        let mut command = keeper(&inside(r#"mount --bind "$1" "$2" && shift 2"#));
        command.arg(folder.path()).arg(&home);
        command.arg(&dropbear).args(["-F", "-E", "-m", "-p"]).arg(format!("127.0.0.1:{port}"));
        for kind in ["ed25519", "ecdsa256", "rsa"] {
            let mut convert = Command::new(&convert);
            convert.args(["openssh", "dropbear"]).arg(host_keys.private(kind)).arg(folder.file(kind));
            assert!(output(&mut convert, "").status.success(), "no {kind} key");
            command.arg("-r").arg(folder.file(kind));
        }
        (command, "Not backgrounding".to_owned())
    }))
}

/// Our `sshd` program on a port of its own. It lets in `user()` with any of the keys.
pub(crate) fn our_sshd(host_keys: &Keys, authorized: &Keys) -> Server {
    start("our sshd", |folder, port| {
        fs::write(folder.file("authorized_keys"), authorized_keys(authorized)).expect("the folder is ours");
        let mut command = keeper(r#""$@""#);
        command.arg(example("sshd")).args(["-p", &port.to_string(), "--listen", "127.0.0.1", "-h"]);
        command.arg(host_keys.private("ed25519")).arg("-a").arg(folder.file("authorized_keys"));
        command.arg("-o").arg(home_in(folder));
        (command, "listening on".to_owned())
    })
}

/// A program of `demos/`, which cargo builds with the tests.
pub(crate) fn example(name: &str) -> PathBuf {
    let tests = std::env::current_exe().expect("a test is a program");
    let path = tests.parent().expect("it lies in a folder").join("../examples").join(name);
    assert!(path.exists(), "{} is not there", path.display());
    path
}

/// Starts a server that must be told its port, on a free one: what `prepare` makes of a folder and
/// a port is the command and the words that say that it is ready.
pub(crate) fn start(name: &str, prepare: impl Fn(&Folder, u16) -> (Command, String)) -> Server {
    let mut said = String::new();
    for _ in 0..TRIES {
        let folder = Folder::new();
        let port = free_port();
        let (command, ready) = prepare(&folder, port);
        match Server::spawn(command, &[(&ready, port)]) {
            Ok(mut server) => {
                server.folder = Some(folder);
                return server;
            }
            Err(error) => said = error,
        }
    }
    panic!("{name} does not start:\n{said}");
}

/// A shell that runs `line`, whose arguments follow, and ends it when its own standard input ends,
/// which happens even when the test is killed. Its output is the server's alone, so that we see
/// when the server is gone.
pub(crate) fn keeper(line: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    let script = format!("{line} </dev/null & exec >/dev/null 2>&1; read -r _; kill $!; wait");
    command.args(["-c", &script, "sh"]);
    command
}

fn sshd_config(folder: &Folder, host_keys: &Keys, authorized: &Keys, port: u16, more: &str) -> String {
    let path = folder.file("authorized_keys");
    fs::write(&path, authorized_keys(authorized)).expect("the folder is ours");
    let host_keys: String = KEY_KINDS
        .iter()
        .map(|(name, _)| format!("HostKey {}\n", host_keys.private(name).display()))
        .collect();
    format!(
        "{more}\nListenAddress 127.0.0.1:{port}\n{host_keys}AuthorizedKeysFile {}\n\
         PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n\
         Subsystem sftp internal-sftp\nAcceptEnv *\nMaxStartups 200\nMaxSessions 200\nLogLevel VERBOSE\n\
         {}\n",
        path.display(),
        home_in(folder),
    )
}

/// A line of sshd_config: what sessions take for their home has nobody's start-up files, which say and do
/// what no test expects.
fn home_in(folder: &Folder) -> String {
    format!("SetEnv HOME={}", folder.path().display())
}

fn authorized_keys(keys: &Keys) -> String {
    KEY_KINDS.iter().map(|(kind, _)| keys.public(kind) + "\n").collect()
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("it is bound").port()
}
