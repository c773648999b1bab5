//! A session of a master's client: the channel, and the streams that were passed for it. Opened on the thread
//! of the client; three more copy.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::copying::{self, Input, Output};
use super::escape::Escapes;
use super::master::Shared;
use super::message::{NO_ESCAPE, NewSession, name, strings};
use crate::channel::{Channel, Keystrokes, PtyRequest};
use crate::engine::{ExitStatus, Lane};
use crate::error::{Error, Result};
use crate::pattern::endpoint::Endpoint;
use crate::pattern::{Letters, matches};
use crate::sys::passing::{Passed, Way, terminal_size};
use crate::wire::{Malformed, Rest, Writer, string_of};

/// Time for the server to open a channel: as long as it may take to connect somewhere.
const OPEN: Duration = Duration::from_secs(130);
/// Variables of one session; OpenSSH's figure.
const VARIABLES: usize = 4096;
/// The address that standard streams are said to come from, as OpenSSH has it.
const ORIGIN: (&str, u32) = ("127.0.0.1", 65535);

/// The terminal of a session.
pub(super) struct Terminal {
    descriptor: OwnedFd,
    channel: Channel,
}

impl Terminal {
    /// Tells the server the size that it has now.
    pub(super) fn resized(&self) {
        if let Some([columns, rows, width, height]) = terminal_size(&self.descriptor)
            && let Err(error) = self.channel.resize_pty(columns, rows, (width, height))
        {
            log::debug!(target: "feramiko::mux", "the size of a terminal is not told: {error}");
        }
    }
}

/// What runs on a channel.
enum Runs {
    Command(Vec<u8>),
    Subsystem(Vec<u8>),
    /// The other side has connected somewhere.
    Streams,
}

/// A channel that is open, and whose command is not started.
pub(super) struct Opened {
    channel: Channel,
    runs: Runs,
    without_terminal: bool,
    terminal: Option<Arc<Terminal>>,
    escapes: Option<Escapes>,
    keys: Option<Keystrokes>,
    input: Passed,
    output: Passed,
    errors: Option<Passed>,
    /// Where the user is told something.
    words: Option<Passed>,
}

fn passed(descriptor: OwnedFd, way: Way) -> Result<Passed> {
    Passed::new(descriptor, way).map_err(|error| Error::io("looking at a passed descriptor", error))
}

fn cloned(descriptor: &OwnedFd) -> Result<OwnedFd> {
    descriptor.try_clone().map_err(|error| Error::io("copying a passed descriptor", error))
}

/// Opens the channel of a session, with all that precedes its command.
pub(super) fn open(
    master: &Shared,
    request: &NewSession<'_>,
    input: OwnedFd,
    output: OwnedFd,
    errors: OwnedFd,
) -> Result<Opened> {
    let command = name(request.command)?.to_vec();
    let channel = master.transport.open_channel("session", b"", Some(OPEN))?;
    // For the requests that follow.
    channel.set_read_timeout(Some(OPEN));
    if let Some(forward) = master.options.x11.as_ref().filter(|_| request.x11 != 0)
        && let Err(error) = forward(&channel)
    {
        // As with ssh: the session is worth having without it.
        log::warn!(target: "feramiko::mux", "X11 is not forwarded: {error}");
    }
    if let Some(agent) = master.options.agent.as_ref().filter(|_| request.agent != 0)
        && let Err(error) = channel.request_forward_agent(agent)
    {
        log::warn!(target: "feramiko::mux", "the agent is not forwarded: {error}");
    }
    let tty = request.tty != 0;
    let given = tty && ask_terminal(&channel, request.term, &input)?;
    for (name, value) in permitted(&master.options.send_env, request.env)? {
        channel.set_environment_variable(name, value)?;
    }
    let terminal = match given {
        true => Some(Arc::new(Terminal { descriptor: cloned(&input)?, channel: channel.clone() })),
        false => None,
    };
    terminal.iter().for_each(|terminal| master.watch(terminal));
    let escapes = match u8::try_from(request.escape) {
        Ok(character) if tty && request.escape != NO_ESCAPE => Some(Escapes::new(character).shared()),
        _ => None,
    };
    // Old servers do not help to hide when keys are hit.
    let hidden = master.options.keystrokes.filter(|_| given);
    let keys = hidden.and_then(|interval| channel.keystrokes(interval).ok());
    Ok(Opened {
        channel,
        keys,
        runs: if request.subsystem != 0 { Runs::Subsystem(command) } else { Runs::Command(command) },
        without_terminal: tty && !given,
        terminal,
        escapes,
        words: Some(passed(cloned(&errors)?, Way::Write)?),
        input: passed(input, Way::Read)?,
        output: passed(output, Way::Write)?,
        errors: Some(passed(errors, Way::Write)?),
    })
}

/// Asks for a terminal like the one that was passed; whether the server gives one.
fn ask_terminal(channel: &Channel, term: &[u8], terminal: &OwnedFd) -> Result<bool> {
    let term = std::str::from_utf8(name(term)?).map_err(|_| Malformed::Value)?;
    let [columns, rows, width, height] = terminal_size(terminal).unwrap_or_default();
    let mut request = PtyRequest::new(term, columns, rows);
    request.pixels = (width, height);
    let request = request.clone().modes_of(terminal).unwrap_or(request);
    match channel.get_pty(&request) {
        Ok(()) => Ok(true),
        Err(Error::RequestRefused(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The variables that the master lets pass: their names and values.
fn permitted<'a>(patterns: &[Vec<u8>], env: Rest<'a>) -> Result<Vec<(&'a [u8], &'a [u8])>> {
    let mut found = Vec::new();
    for variable in strings(env) {
        let variable = name(variable?)?;
        let Some(at) = variable.iter().position(|byte| *byte == b'=') else { continue };
        let Some((key, [_, value @ ..])) = variable.split_at_checked(at) else { continue };
        let may = patterns.iter().any(|pattern| matches(pattern, key, Letters::Exact));
        if may && !key.is_empty() && found.len() < VARIABLES {
            found.push((key, value));
        }
    }
    Ok(found)
}

/// Opens a channel to somewhere behind the server.
pub(super) fn forward_streams(
    master: &Shared,
    to: &Endpoint,
    input: OwnedFd,
    output: OwnedFd,
) -> Result<Opened> {
    let (kind, rest) = match to {
        Endpoint::Tcp { host, port } => {
            let mut rest = string_of(host.as_bytes());
            rest.put(&u32::from(*port)).put(ORIGIN.0).put(&ORIGIN.1);
            ("direct-tcpip", rest)
        }
        Endpoint::Unix(path) => {
            let mut rest = string_of(path);
            rest.put("").put(&0_u32);
            ("direct-streamlocal@openssh.com", rest)
        }
    };
    Ok(Opened {
        channel: master.transport.open_channel(kind, &rest, Some(OPEN))?,
        runs: Runs::Streams,
        without_terminal: false,
        terminal: None,
        escapes: None,
        keys: None,
        input: passed(input, Way::Read)?,
        output: passed(output, Way::Write)?,
        errors: None,
        words: None,
    })
}

impl Opened {
    pub(super) fn id(&self) -> u32 {
        self.channel.id()
    }

    /// Whether a terminal was asked for and not given.
    pub(super) fn without_terminal(&self) -> bool {
        self.without_terminal
    }

    /// Starts the command and copies its streams. A command that the server does not start is a session that
    /// has ended, as with OpenSSH: the user is told.
    pub(super) fn start(self) -> Result<Session> {
        let pair = || UnixStream::pair().map_err(|error| Error::io("making a pair of sockets", error));
        let ((ended, ends), (stop, stops)) = (pair()?, pair()?);
        let channel = self.channel;
        let status = Arc::new(Mutex::new(None));
        // Dropped with whatever fails from here on: the channel is closed and the threads end.
        let session = Session {
            id: channel.id(),
            tells: !matches!(self.runs, Runs::Streams),
            status: Arc::clone(&status),
            ended,
            channel: channel.clone(),
            _stops: stops,
            _terminal: self.terminal,
        };
        let (started, what) = match &self.runs {
            Runs::Streams => (Ok(()), ""),
            Runs::Subsystem(name) => (channel.invoke_subsystem(name), "subsystem"),
            Runs::Command(command) if command.is_empty() => (channel.invoke_shell(), "shell"),
            Runs::Command(command) => (channel.exec_command(command), "exec"),
        };
        let stop = Arc::new(stop);
        channel.set_read_timeout(None);
        if let Err(error) = started {
            let text = format!("{what} request failed on channel {}: {error}\r\n", session.id);
            self.words.iter().for_each(|words| copying::say(words, &text));
            channel.close();
        }
        let stream = |to, lane| Output { channel: channel.clone(), lane, to, stop: Arc::clone(&stop) };
        let errors = self.errors.map(|errors| stream(errors, Lane::Stderr));
        let output = stream(self.output, Lane::Data);
        copying::start_output(output, errors, status, ends)?;
        let (input, words, escapes, keys) = (self.input, self.words, self.escapes, self.keys);
        copying::start_input(Input { channel, from: input, keys, escapes, words, stop })?;
        Ok(session)
    }
}

/// A session that runs. It ends when this is dropped.
pub(super) struct Session {
    id: u32,
    /// Whether the client is told how it ended.
    tells: bool,
    status: Arc<Mutex<Option<ExitStatus>>>,
    ended: UnixStream,
    channel: Channel,
    _stops: UnixStream,
    _terminal: Option<Arc<Terminal>>,
}

impl Session {
    /// Becomes readable when all output is written and the end is known.
    pub(super) fn ended(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }

    /// What the client is told of the end. A signal is not told, which makes it 255 there.
    pub(super) fn status(&self) -> Option<(u32, u32)> {
        let code = self.status.lock().as_ref().and_then(ExitStatus::code);
        code.filter(|_| self.tells).map(|code| (self.id, code))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.channel.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(variables: &[&[u8]]) -> Vec<u8> {
        variables.iter().flat_map(|variable| string_of(variable)).collect()
    }

    #[test]
    fn only_named_variables_pass() {
        let patterns = [b"LC_*".to_vec(), b"LANG".to_vec()];
        let variables: [&[u8]; 7] =
            [b"LC_ALL=C", b"LANG=a=b", b"LANG", b"=x", b"LD_PRELOAD=/x", b"LC_X=", b"XLANG=1"];
        let env = env(&variables);
        let passed: [(&[u8], &[u8]); 3] = [(b"LC_ALL", b"C"), (b"LANG", b"a=b"), (b"LC_X", b"")];
        assert_eq!(permitted(&patterns, Rest(&env)).unwrap(), passed);
        assert_eq!(permitted(&[], Rest(&env)).unwrap(), []);
        assert_eq!(permitted(&[b"*".to_vec()], Rest(&env)).unwrap().len(), 5);
        assert!(permitted(&patterns, Rest(&env[..env.len() - 1])).is_err());
        assert!(permitted(&patterns, Rest(&string_of(b"LANG=a\0b"))).is_err());
    }

    #[test]
    fn variables_have_a_limit() {
        let many = env(&vec![&b"A=1"[..]; VARIABLES + 1]);
        assert_eq!(permitted(&[b"A".to_vec()], Rest(&many)).unwrap().len(), VARIABLES);
    }
}
