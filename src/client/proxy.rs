//! A program whose standard streams carry a connection, or that makes one and passes it on, as `ProxyCommand` of
//! ssh_config(5).

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::cancel::Cancel;
use crate::engine::{Closer, ExitStatus, Halves, Program, ReadHalf, Running, Stream, WriteHalf, spawn};
use crate::sys::passing::{self, PassedStream};
use crate::sys::pipe::{Pipe, Stop};

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
    output: Pipe,
    input: Pipe,
    stop: Arc<Stop>,
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

    /// Waits for the program aside, and tells when it has ended.
    fn watch(name: String, program: Program) -> io::Result<Arc<Self>> {
        let fate = Arc::new(Self { name, status: Mutex::new(None), known: Condvar::new() });
        let told = Arc::clone(&fate);
        spawn("feramiko proxy", move || told.tell(program.wait()))?;
        Ok(fate)
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
        // Pipes, as OpenSSH has them: a server that is the program itself looks at what its streams are.
        let (their_input, input) = io::pipe()?;
        let (output, their_output) = io::pipe()?;
        let stop = Stop::new()?;
        let (output, input) = (Pipe::new(output.into(), &stop)?, Pipe::new(input.into(), &stop)?);
        command.stdin(Stdio::from(their_input)).stdout(Stdio::from(their_output));
        let program = Program::start(command)?;
        let running = Arc::clone(program.running());
        Ok(Self { output, input, stop, running, fate: Fate::watch(name, program)? })
    }

    /// The connection that a program makes and passes on over its standard output before it ends, as
    /// `ProxyUseFdpass` of ssh_config(5) and `nc -F` have it. A program that has not done so at the deadline, or
    /// when the connect is cancelled, is ended.
    pub(super) fn receive(
        mut command: Command,
        name: String,
        deadline: Option<Instant>,
        cancel: &Cancel,
    ) -> io::Result<Box<dyn Stream>> {
        let (socket, theirs) = UnixStream::pair()?;
        let _watch = cancel.watch(Box::new(socket.try_clone()?).split()?.closer);
        command
            .stdin(Stdio::from(OwnedFd::from(theirs.try_clone()?)))
            .stdout(Stdio::from(OwnedFd::from(theirs)));
        let program = Program::start(command)?;
        let running = Arc::clone(program.running());
        let fate = Fate::watch(name, program)?;
        let received = passing::receive(&socket, deadline).and_then(passing::stream);
        match received.map_err(|error| fate.explain(error)) {
            Ok(PassedStream::Tcp(stream)) => Ok(Box::new(stream)),
            Ok(PassedStream::Unix(stream)) => Ok(Box::new(stream)),
            Err(error) => {
                running.signal("TERM");
                Err(error)
            }
        }
    }
}

impl Stream for ProxyCommand {
    fn split(self: Box<Self>) -> io::Result<Halves> {
        Ok(Halves {
            read: Box::new(Output { inner: self.output, fate: Arc::clone(&self.fate) }),
            write: Box::new(Input { inner: self.input, fate: Arc::clone(&self.fate) }),
            closer: Arc::new(End { stop: self.stop, running: self.running }),
            peer: self.fate.name.clone(),
        })
    }
}

struct Output {
    inner: Pipe,
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
    inner: Pipe,
    fate: Arc<Fate>,
}

impl WriteHalf for Input {
    fn write_now(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.inner.write_now(buf).map_err(|error| self.fate.explain(error))
    }

    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.inner.wait_writable(deadline)
    }
}

struct End {
    stop: Arc<Stop>,
    running: Arc<Running>,
}

impl Closer for End {
    fn close(&self) {
        self.stop.stop();
        self.running.signal("TERM");
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.close();
    }
}
