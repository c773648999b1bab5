//! A program whose standard streams carry a connection, as `ProxyCommand` of ssh_config(5).

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::engine::{Closer, ExitStatus, Halves, Program, ReadHalf, Running, Stream, WriteHalf, spawn};

/// When its output has ended, a program that ends too does so within this time; then the error can
/// say how.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// A program whose standard input and output lead to the server. Its standard error stays the
/// caller's unless the command says otherwise. It is ended with the connection.
///
/// ```no_run
/// use std::process::Command;
/// use feramiko::{ProxyCommand, SSHClient};
/// let mut jump = Command::new("ssh");
/// jump.args(["-W", "inner.example.org:22", "bastion.example.org"]);
/// let client = SSHClient::builder().connect_over(ProxyCommand::spawn(jump)?, "inner.example.org")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ProxyCommand {
    socket: UnixStream,
    running: Arc<Running>,
    fate: Arc<Fate>,
}

/// How the program ended, once it has.
#[derive(Debug)]
struct Fate {
    name: String,
    status: Mutex<Option<ExitStatus>>,
    known: Condvar,
}

impl Fate {
    fn tell(&self, status: io::Result<ExitStatus>) {
        *self.status.lock() = Some(status.unwrap_or(ExitStatus::Missing));
        self.known.notify_all();
    }

    /// Says of a stream that broke what became of the program, if that is known by now.
    fn explain(&self, error: io::Error) -> io::Error {
        let broken =
            [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe, io::ErrorKind::UnexpectedEof];
        if !broken.contains(&error.kind()) {
            return error;
        }
        let mut status = self.status.lock();
        if status.is_none() {
            self.known.wait_for(&mut status, LAST_WORDS);
        }
        let Some(status) = &*status else { return error };
        io::Error::new(error.kind(), format!("the proxy command {} ended: {status}", self.name))
    }

    /// An end of the stream is an error as well, of a program that has ended.
    fn explain_end(&self, count: usize) -> io::Result<usize> {
        match count {
            0 => Err(self.explain(io::ErrorKind::UnexpectedEof.into())),
            count => Ok(count),
        }
    }
}

impl ProxyCommand {
    /// Starts the program, in a process group of its own.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(mut command: Command) -> io::Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        command.process_group(0);
        Self::start(command, name)
    }

    /// The same under another name than the program's, in the process group that the command says.
    pub(super) fn start(mut command: Command, name: String) -> io::Result<Self> {
        // A pair of sockets rather than pipes: closing ours ends both directions, whoever else the
        // program has handed its end to.
        let (socket, theirs) = UnixStream::pair()?;
        command
            .stdin(Stdio::from(OwnedFd::from(theirs.try_clone()?)))
            .stdout(Stdio::from(OwnedFd::from(theirs)));
        let program = Program::start(command)?;
        let running = Arc::clone(program.running());
        let fate = Arc::new(Fate { name, status: Mutex::new(None), known: Condvar::new() });
        let told = Arc::clone(&fate);
        spawn("feramiko proxy", move || told.tell(program.wait()))?;
        Ok(Self { socket, running, fate })
    }
}

impl Stream for ProxyCommand {
    fn split(self: Box<Self>) -> io::Result<Halves> {
        let halves = Box::new(self.socket).split()?;
        Ok(Halves {
            read: Box::new(Output { inner: halves.read, fate: Arc::clone(&self.fate) }),
            write: Box::new(Input { inner: halves.write, fate: Arc::clone(&self.fate) }),
            closer: Arc::new(End { inner: halves.closer, running: self.running }),
            peer: self.fate.name.clone(),
        })
    }
}

struct Output {
    inner: Box<dyn ReadHalf>,
    fate: Arc<Fate>,
}

impl ReadHalf for Output {
    fn read(&mut self, buf: &mut [u8], deadline: Option<Instant>) -> io::Result<usize> {
        let read = self.inner.read(buf, deadline).map_err(|error| self.fate.explain(error))?;
        self.fate.explain_end(read)
    }

    fn read_now(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read_now(buf).map_err(|error| self.fate.explain(error))?;
        self.fate.explain_end(read)
    }
}

struct Input {
    inner: Box<dyn WriteHalf>,
    fate: Arc<Fate>,
}

impl WriteHalf for Input {
    fn write_now(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.inner.write_now(buf).map_err(|error| self.fate.explain(error))
    }

    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.inner.wait(deadline)
    }
}

struct End {
    inner: Arc<dyn Closer>,
    running: Arc<Running>,
}

impl Closer for End {
    fn close(&self) {
        self.inner.close();
        self.running.signal("TERM");
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.close();
    }
}
