//! A session handed to another SSH connection: what a bastion does. The session's thread copies what the
//! other server sends, one more what the client sends.

use std::io::{self, Write};
use std::net::Shutdown;
use std::time::Duration;

use super::Session;
use super::session::{Handler, SessionEvent};
use crate::channel::{Channel, Poll, copy};
use crate::client::SSHClient;
use crate::engine::{ExitStatus, Lane, spawn};
use crate::error::Result;
use crate::interface::{SessionKind, SessionRequest};

/// How much is copied at a time.
const PIECE: usize = 64 * 1024;
/// The time that the other server has for each answer before the session runs: nobody sees meanwhile whether
/// the client is still there.
const START: Duration = Duration::from_secs(60);

impl Session {
    /// Hands the session to the server that `client` is connected to: the terminal, the environment,
    /// the command, shell or subsystem, then the bytes of all streams, their ends, resizes, signals and breaks,
    /// until it has ended there; how it ended. When the client is gone its channel there is closed.
    ///
    /// Signals are those that the client may send: none to the program of a forced command or of a subsystem.
    ///
    /// A forwarded agent is not handed on: a server that asks for one does not say for which session, and those
    /// of several clients may share the connection. Nor are forwarded ports and X11.
    ///
    /// ```no_run
    /// # use feramiko::{ExitStatus, SSHClient, Session};
    /// # fn session(session: Session) -> std::io::Result<ExitStatus> {
    /// let inner = SSHClient::connect("inner.example.org")?;
    /// session.hand_to(&inner)
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the other server does not run it, or the connection to it breaks.
    pub fn hand_to(self, client: &SSHClient) -> io::Result<ExitStatus> {
        // Clients send nothing on the other stream: it is dropped, and holds nothing up.
        self.channel().link().stop_reading(Lane::Stderr);
        let there = client.transport().open_channel("session", b"", Some(START))?;
        there.set_read_timeout(Some(START));
        start(self.request(), &there)?;
        there.set_read_timeout(None);
        pass_on(&self, &there);
        let (from, to) = (self.channel().clone(), there.clone());
        spawn("feramiko input", move || {
            match copy(&mut &from, &mut &to) {
                Ok(()) => to.shutdown(Shutdown::Write),
                Err(_) => {
                    // Nobody reads it any more there: what comes is dropped, and the client may know.
                    from.shutdown(Shutdown::Read);
                    from.send_eow();
                }
            }
        })?;
        if send_back(&there, self.channel())? == Sent::Unwanted {
            there.shutdown(Shutdown::Read);
            there.send_eow();
        } else {
            self.channel().shutdown(Shutdown::Write);
        }
        Ok(there.wait_exit(None)?)
    }
}

/// Asks the other server for what the client asked us for.
fn start(request: &SessionRequest, there: &Channel) -> Result<()> {
    for (name, value) in &request.env {
        there.set_environment_variable(name, value)?;
    }
    if let Some(pty) = &request.pty {
        there.get_pty(pty)?;
    }
    match &request.kind {
        SessionKind::Shell => there.invoke_shell(),
        SessionKind::Exec(command) => there.exec_command(command),
        SessionKind::Subsystem(name) => there.invoke_subsystem(name),
    }
}

/// Passes on what happens, and closes the channel there when the client's is.
fn pass_on(session: &Session, there: &Channel) {
    let (signalled, there, gone) = (session.may_signal(), there.clone(), there.clone());
    let event = move |event| {
        let passed = match event {
            SessionEvent::Resize { size: (columns, rows), pixels } => there.resize_pty(columns, rows, pixels),
            SessionEvent::Signal(name) if signalled => there.send_signal(&name),
            SessionEvent::Signal(_) => Ok(()),
            SessionEvent::Break(length) => send_break(&there, length),
        };
        if let Err(error) = passed {
            log::debug!(target: "feramiko::server", "not passed on: {error}");
        }
    };
    session.events().handle(Handler::new(event, move || gone.close()));
}

/// A break whose answer nobody waits for: what happens next would wait with it.
fn send_break(there: &Channel, length: Duration) -> Result<()> {
    let milliseconds = u32::try_from(length.as_millis()).unwrap_or(u32::MAX);
    there.link().request("break", &milliseconds.to_be_bytes(), None)
}

/// How the copying of outputs ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    All,
    /// The client takes no more.
    Unwanted,
}

/// Copies both outputs to their end. One thread loses nothing: the streams of a channel share its window, on
/// both sides.
fn send_back(there: &Channel, client: &Channel) -> Result<Sent> {
    let mut poll = Poll::new();
    poll.add(there);
    let mut piece = vec![0; PIECE];
    let mut open = [true, true];
    while open.contains(&true) {
        let Some((_, ready)) = poll.readable(None).pop() else { continue };
        let lanes = [(Lane::Data, ready.readable), (Lane::Stderr, ready.stderr_readable)];
        for ((lane, ready), open) in lanes.into_iter().zip(&mut open) {
            if !ready || !*open {
                continue;
            }
            let count = there.link().read(lane, &mut piece, None)?;
            let piece = piece.get(..count).unwrap_or_default();
            let written = match lane {
                Lane::Data => (&*client).write_all(piece),
                Lane::Stderr => client.stderr().write_all(piece),
            };
            if written.is_err() {
                return Ok(Sent::Unwanted);
            }
            *open = count > 0;
        }
    }
    Ok(Sent::All)
}
