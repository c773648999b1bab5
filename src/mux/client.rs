//! A client of the master of a shared connection: OpenSSH's or ours. PROTOCOL.mux, the client's side of
//! mux.c. Runs on its caller's thread and starts none.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::forward::ForwardRequest;
use super::frame::{self, until};
use super::message::{
    Alive, AliveCheck, Done, ExitMessage, ExtInfo, ExtInfoAnswer, Failure, Hello, INFO, NO_ESCAPE,
    NewSession, NewStdioForward, PermissionDenied, Proxy, ProxyBegins, RemotePort, SessionOpened,
    StopListening, Terminate, TtyAllocFail, VERSION, extensions, fields, number, port, request_id,
};
use crate::engine::ExitStatus;
use crate::error::{Error, Result};
use crate::pattern::endpoint::Endpoint;
use crate::sys::{passing, socket};
use crate::wire::{Encode, Escaped, Rest, Writer};

/// Time for what a master answers without asking anybody.
const ANSWER: Duration = Duration::from_secs(10);
/// Time for what its user may be asked about, or the server; as long as anybody logs in.
const ASKED: Duration = Duration::from_secs(120);

/// A connection to the master of a shared connection, as `ssh -S` makes it. A master that is killed ends it;
/// one that is stopped makes its calls end after 10 seconds, after 120 where somebody may be asked.
///
/// ```no_run
/// use feramiko::{MuxClient, MuxCommand};
/// let mut master = MuxClient::connect("/run/user/1000/ssh.sock")?;
/// println!("the master is process {}", master.check()?);
/// let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
/// let session = master.start(&MuxCommand::new("uname -a"), stdin, stdout, stderr)?;
/// println!("{}", session.wait(|| ())?);
/// # Ok::<(), feramiko::Error>(())
/// ```
#[derive(Debug)]
pub struct MuxClient {
    stream: UnixStream,
    /// The number of the next request.
    next: u32,
    /// Whether the master tells about itself.
    info: bool,
}

/// What is to run over a shared connection: a shell, a command or a subsystem.
#[derive(Debug, Clone, Default)]
pub struct MuxCommand {
    command: Vec<u8>,
    subsystem: bool,
    term: Vec<u8>,
    tty: bool,
    escape: Option<u8>,
    agent: bool,
    x11: bool,
    env: Vec<Vec<u8>>,
}

impl MuxCommand {
    /// A command; the user's shell if it is empty.
    #[must_use]
    pub fn new(command: impl AsRef<[u8]>) -> Self {
        Self { command: command.as_ref().to_vec(), ..Self::default() }
    }

    /// A subsystem, such as `sftp`.
    #[must_use]
    pub fn subsystem(name: impl AsRef<[u8]>) -> Self {
        Self { subsystem: true, ..Self::new(name) }
    }

    /// Runs it on a pseudo-terminal of this type, with the modes and the size that the terminal has which is
    /// passed as standard input. To be passed before that one is made raw.
    #[must_use]
    pub fn tty(mut self, term: impl AsRef<[u8]>) -> Self {
        (self.tty, self.term) = (true, term.as_ref().to_vec());
        self
    }

    /// The character that, at the start of a line of a terminal, begins a command to the master (`~.`); none
    /// unless said.
    #[must_use]
    pub fn escape(mut self, character: u8) -> Self {
        self.escape = Some(character);
        self
    }

    /// Lets it use the master's agent, if the master does.
    #[must_use]
    pub fn forward_agent(mut self) -> Self {
        self.agent = true;
        self
    }

    /// Lets it use the master's display, if the master does.
    #[must_use]
    pub fn forward_x11(mut self) -> Self {
        self.x11 = true;
        self
    }

    /// Sets an environment variable, if the master and the server let it.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.env.push([name.as_ref(), b"=", value.as_ref()].concat());
        self
    }

    fn message(&self, id: u32) -> Vec<u8> {
        let mut env = Vec::new();
        for variable in &self.env {
            env.put(variable.as_slice());
        }
        let request = NewSession {
            id,
            reserved: b"",
            tty: self.tty.into(),
            x11: self.x11.into(),
            agent: self.agent.into(),
            subsystem: self.subsystem.into(),
            escape: self.escape.map_or(NO_ESCAPE, u32::from),
            term: &self.term,
            command: &self.command,
            env: Rest(&env),
        };
        request.to_vec()
    }
}

impl MuxClient {
    /// Connects to the master that listens at `path`. It must run as our user or as root.
    ///
    /// # Errors
    /// [`Error::Io`] when none listens there, [`Error::Timeout`], [`Error::Protocol`], [`Error::Unsupported`]
    /// for another version of the protocol.
    pub fn connect(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let stream = socket::connect_unix(path, ANSWER)
            .map_err(|error| Error::io(format!("connecting to the master at {}", path.display()), error))?;
        super::check_peer(&stream)?;
        Self::greet(stream)
    }

    /// Both sides say hello.
    pub(super) fn greet(stream: UnixStream) -> Result<Self> {
        let deadline = until(ANSWER);
        frame::write(&stream, &Hello { version: VERSION, extensions: Rest(b"") }, deadline)?;
        let answer = frame::read(&stream, deadline)?.ok_or(Error::Closed(None))?;
        let hello = Hello::decode_packet(&answer)?;
        if hello.version != VERSION {
            return Err(Error::Unsupported(format!("version {} of connection sharing", hello.version)));
        }
        let info = extensions(hello.extensions)?.contains(&INFO);
        Ok(Self { stream, next: 0, info })
    }

    /// Asks whether the master lives; the number of its process.
    ///
    /// # Errors
    /// [`Error::Timeout`], [`Error::Closed`], [`Error::Protocol`].
    pub fn check(&mut self) -> Result<u32> {
        let answer = self.ask("a check", &|id| AliveCheck { id }.to_vec(), ANSWER)?;
        Ok(Alive::decode_packet(&answer)?.pid)
    }

    /// What the master tells about `connection`, in words of its own. OpenSSH's do from 10.1 on.
    ///
    /// # Errors
    /// As [`check`](Self::check), [`Error::Unsupported`] of older masters, [`Error::MasterRefused`].
    pub fn info(&mut self, name: &str) -> Result<String> {
        if !self.info {
            return Err(Error::Unsupported("telling about itself, by the master".to_owned()));
        }
        let request = |id| ExtInfo { id, name: name.as_bytes() }.to_vec();
        let answer = self.ask("to tell", &request, ANSWER)?;
        let answer = ExtInfoAnswer::decode_packet(&answer)?;
        if answer.status == 0 {
            return Err(refused("to tell", answer.text));
        }
        Ok(String::from_utf8_lossy(answer.text).into_owned())
    }

    /// Has the master take no further clients; sessions go on.
    ///
    /// # Errors
    /// As [`check`](Self::check), and [`Error::MasterRefused`].
    pub fn stop(&mut self) -> Result<()> {
        let answer = self.ask("to stop listening", &|id| StopListening { id }.to_vec(), ASKED)?;
        Done::decode_packet(&answer)?;
        Ok(())
    }

    /// Ends the master, and with it the connection.
    ///
    /// # Errors
    /// As [`stop`](Self::stop).
    pub fn exit(&mut self) -> Result<()> {
        match self.ask("to exit", &|id| Terminate { id }.to_vec(), ASKED) {
            Ok(answer) => Done::decode_packet(&answer).map(drop).map_err(Error::from),
            // OpenSSH's may be gone before it has answered.
            Err(Error::Closed(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Opens a forwarding, which lasts as long as the master; the port that was chosen, where 0 was asked
    /// for on the server.
    ///
    /// # Errors
    /// As [`stop`](Self::stop).
    pub fn forward(&mut self, request: &ForwardRequest) -> Result<Option<u16>> {
        let answer = self.ask("a forwarding", &|id| request.message(id, true), ASKED)?;
        if number(&answer)? == RemotePort::NUMBER {
            return Ok(Some(port(RemotePort::decode_packet(&answer)?.port)?));
        }
        Done::decode_packet(&answer)?;
        Ok(None)
    }

    /// Closes a forwarding that was opened with the same request.
    ///
    /// # Errors
    /// As [`stop`](Self::stop).
    pub fn cancel_forward(&mut self, request: &ForwardRequest) -> Result<()> {
        let answer = self.ask("to close a forwarding", &|id| request.message(id, false), ASKED)?;
        Done::decode_packet(&answer)?;
        Ok(())
    }

    /// Starts a command with three descriptors of ours as its standard streams. The master reads and writes
    /// them; they stay open here as well.
    ///
    /// # Errors
    /// As [`stop`](Self::stop).
    pub fn start(
        self,
        command: &MuxCommand,
        stdin: impl AsFd,
        stdout: impl AsFd,
        stderr: impl AsFd,
    ) -> Result<MuxSession> {
        let descriptors = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
        self.begin("a session", &|id| command.message(id), &descriptors)
    }

    /// Connects two descriptors of ours to a host, or to the path of a UNIX socket, from the server: `-W` of
    /// ssh.
    ///
    /// # Errors
    /// As [`stop`](Self::stop).
    pub fn stdio_forward(self, to: &Endpoint, stdin: impl AsFd, stdout: impl AsFd) -> Result<MuxSession> {
        let (host, port) = fields(to);
        let request = |id| NewStdioForward { id, reserved: b"", host: &host, port }.to_vec();
        self.begin("a forwarding of standard streams", &request, &[stdin.as_fd(), stdout.as_fd()])
    }

    fn begin(
        mut self,
        what: &'static str,
        message: &dyn Fn(u32) -> Vec<u8>,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<MuxSession> {
        let deadline = until(ASKED);
        frame::write_bytes(&self.stream, &message(self.next), deadline)?;
        for descriptor in descriptors {
            passing::send(&self.stream, *descriptor, deadline)
                .map_err(|error| Error::io("passing a descriptor to the master", error))?;
        }
        let answer = self.answer(what, ASKED)?;
        let id = SessionOpened::decode_packet(&answer)?.session;
        Ok(MuxSession { stream: self.stream, id })
    }

    /// Has the master pass on the packets of channels from now on.
    pub(crate) fn proxy(mut self) -> Result<UnixStream> {
        let answer = self.ask("to pass packets on", &|id| Proxy { id }.to_vec(), ASKED)?;
        ProxyBegins::decode_packet(&answer)?;
        Ok(self.stream)
    }

    fn ask(
        &mut self,
        what: &'static str,
        message: &dyn Fn(u32) -> Vec<u8>,
        time: Duration,
    ) -> Result<Vec<u8>> {
        frame::write_bytes(&self.stream, &message(self.next), until(time))?;
        self.answer(what, time)
    }

    /// The answer to the request that was sent last.
    fn answer(&mut self, what: &'static str, time: Duration) -> Result<Vec<u8>> {
        let answer = frame::read(&self.stream, until(time))?.ok_or(Error::Closed(None))?;
        if request_id(&answer) != Some(self.next) {
            return Err(Error::protocol("the master answered what was not asked"));
        }
        self.next = self.next.wrapping_add(1);
        match number(&answer)? {
            PermissionDenied::NUMBER => {
                Err(refused(what, PermissionDenied::decode_packet(&answer)?.reason.0))
            }
            Failure::NUMBER => Err(refused(what, Failure::decode_packet(&answer)?.reason.0)),
            _ => Ok(answer),
        }
    }
}

fn refused(what: &'static str, reason: &[u8]) -> Error {
    Error::MasterRefused { what, reason: Escaped(reason).to_string() }
}

/// A session over a shared connection. It ends when this is dropped.
pub struct MuxSession {
    stream: UnixStream,
    id: u32,
}

impl fmt::Debug for MuxSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MuxSession({})", self.id)
    }
}

impl MuxSession {
    /// Waits until the session and its streams are done with; how it ended. Missing where the master does not
    /// say: it died, a signal ended the command, or streams were forwarded. `tty_failed` is called when the
    /// server gives no terminal: ours may be left as it was.
    ///
    /// # Errors
    /// [`Error::Protocol`] for what a master does not send.
    pub fn wait(self, mut tty_failed: impl FnMut()) -> Result<ExitStatus> {
        let mut status = None;
        loop {
            let message = match frame::read(&self.stream, None) {
                Ok(Some(message)) => message,
                // Whether it ended between two messages or in one makes no difference.
                Ok(None) | Err(Error::Closed(_)) => return Ok(status.unwrap_or(ExitStatus::Missing)),
                Err(error) => return Err(error),
            };
            let session = match number(&message)? {
                TtyAllocFail::NUMBER => {
                    tty_failed();
                    TtyAllocFail::decode_packet(&message)?.session
                }
                ExitMessage::NUMBER if status.is_none() => {
                    let exit = ExitMessage::decode_packet(&message)?;
                    status = Some(ExitStatus::Code(exit.status));
                    exit.session
                }
                other => {
                    return Err(Error::protocol(format!("the master sent {other:#010x} in a session")));
                }
            };
            if session != self.id {
                return Err(Error::protocol("the master spoke of another session"));
            }
        }
    }
}
