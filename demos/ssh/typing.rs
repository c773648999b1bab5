//! What the user types: to the server, and to the program itself after the escape character, ssh(1), "ESCAPE
//! CHARACTERS".

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use feramiko::{Channel, Escape, Escapes, ForwardKind, ForwardRule, Forwards, HostConfig, Transport};
use log::LevelFilter;
use rustix::process::{Signal, getpid, kill_process};

use crate::Outcome;
use crate::forwards::{Forwardings, request};
use crate::support::prompt::{Echo, ask};
use crate::support::stdio;
use crate::support::terminal;

/// How long a break is; OpenSSH's figure.
const BREAK: Duration = Duration::from_secs(1);
/// What LogLevel may be, from the least.
const LEVELS: [(LevelFilter, &str); 6] = [
    (LevelFilter::Off, "QUIET"),
    (LevelFilter::Error, "ERROR"),
    (LevelFilter::Warn, "INFO"),
    (LevelFilter::Info, "VERBOSE"),
    (LevelFilter::Debug, "DEBUG"),
    (LevelFilter::Trace, "DEBUG3"),
];
const COMMANDS: &str = "Commands:\r
      -L[bind_address:]port:host:hostport    Request local forward\r
      -R[bind_address:]port:host:hostport    Request remote forward\r
      -D[bind_address:]port                  Request dynamic forward\r
      -KL[bind_address:]port:host:hostport   Cancel local forward\r
      -KR[bind_address:]port:host:hostport   Cancel remote forward\r
      -KD[bind_address:]port                 Cancel dynamic forward\r\n";

/// The input of a session. Clones share whether it was ended.
#[derive(Clone)]
pub(crate) struct Typing {
    transport: Transport,
    channel: Channel,
    /// None where nothing is a command.
    escapes: Option<Escapes>,
    /// How far apart keys leave, where a person hits them.
    interval: Option<Duration>,
    forwardings: Forwardings,
    config: HostConfig,
    ended: Arc<AtomicBool>,
}

impl Typing {
    pub(crate) fn new(
        transport: &Transport,
        channel: &Channel,
        tty: bool,
        forwardings: &Forwardings,
        config: &HostConfig,
    ) -> Self {
        Self {
            transport: transport.clone(),
            channel: channel.clone(),
            escapes: config.escape_char().filter(|_| tty).map(Escapes::new),
            interval: config.keystroke_interval().filter(|_| tty),
            forwardings: forwardings.clone(),
            config: config.clone(),
            ended: Arc::default(),
        }
    }

    /// Whether the user has ended the session with `~.`.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Passes on what is typed, to its end or that of the session.
    pub(crate) fn follow(&mut self, typed: &mut impl Read) {
        // Old servers do not help to hide when keys are hit.
        match self.interval.and_then(|interval| self.channel.keystrokes(interval).ok()) {
            Some(mut keys) => {
                self.pass_all(typed, &mut keys);
                // Who has closed the channel waits for nothing.
                let _ = keys.finish();
            }
            None => self.pass_all(typed, &mut self.channel.clone()),
        }
        self.channel.shutdown(Shutdown::Write);
    }

    fn pass_all(&mut self, typed: &mut impl Read, to: &mut impl Write) {
        let mut piece = vec![0; 128 * 1024];
        loop {
            match typed.read(&mut piece) {
                Ok(0) => break,
                Ok(count) if self.pass(&piece[..count], to).is_err() => break,
                Err(error) if error.kind() != io::ErrorKind::Interrupted => break,
                _ => {}
            }
        }
    }

    fn pass(&mut self, bytes: &[u8], to: &mut impl Write) -> io::Result<()> {
        let Some(mut escapes) = self.escapes.take() else { return to.write_all(bytes) };
        let mut plain = Vec::with_capacity(bytes.len());
        for byte in bytes {
            match escapes.take(*byte) {
                Escape::Nothing => {}
                Escape::Byte(byte) => plain.push(byte),
                Escape::Both(first, second) => plain.extend([first, second]),
                command => {
                    // What was typed before it has left when it is acted on.
                    if !plain.is_empty() {
                        to.write_all(&plain)?;
                        to.flush()?;
                        plain.clear();
                    }
                    self.act(command, &escapes.shown(*byte), &escapes)?;
                }
            }
        }
        self.escapes = Some(escapes);
        to.write_all(&plain)
    }

    fn act(&self, command: Escape, shown: &str, escapes: &Escapes) -> io::Result<()> {
        match command {
            Escape::End => {
                say(&format!("{shown}\r\n"));
                self.ended.store(true, Ordering::SeqCst);
                // What shares the connection ends with it; a network that is gone keeps nobody waiting.
                self.channel.close();
                self.transport.close();
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            Escape::Break => {
                say(&format!("{shown}\r\n"));
                told(self.channel.send_break(BREAK));
            }
            Escape::Rekey => told(self.transport.renegotiate_keys()),
            Escape::List => say(&escapes.list(&self.transport.channels())),
            Escape::Help => say(&escapes.help()),
            Escape::More => verbosity(shown, 1),
            Escape::Less => verbosity(shown, -1),
            Escape::Suspend => {
                say(&format!("{shown} [suspend ssh]\r\n"));
                // The terminal is as it was until the program is continued.
                kill_process(getpid(), Signal::TSTP)?;
            }
            Escape::CommandLine if self.config.is("EnableEscapeCommandline") => self.command_line(),
            Escape::CommandLine => say("commandline disabled\r\n"),
            _ => say(&format!("{shown} is not built: a program that does not fork has no background\r\n")),
        }
        Ok(())
    }

    /// `~C`: asks for a line and acts on it.
    fn command_line(&self) {
        let line = terminal::as_it_was(|| ask("\r\nssh> ", Echo::On)).ok().flatten();
        let line = line.and_then(|line| String::from_utf8(line.expose().to_vec()).ok()).unwrap_or_default();
        match line.trim() {
            "" => {}
            "?" | "-h" | "help" => say(COMMANDS),
            line => match self.forward(line) {
                Ok(text) => say(&format!("{text}\r\n")),
                Err(error) => say(&format!("{error}\r\n")),
            },
        }
    }

    fn forward(&self, line: &str) -> Outcome<&'static str> {
        let line = line.strip_prefix('-').unwrap_or(line);
        let (line, cancels) = line.strip_prefix('K').map_or((line, false), |line| (line, true));
        let (kind, rule) = match line.split_at_checked(1) {
            Some(("L", word)) => (ForwardKind::Local, ForwardRule::local(word.trim())),
            Some(("R", word)) => (ForwardKind::Remote, ForwardRule::remote(word.trim())),
            Some(("D", word)) => (ForwardKind::Local, ForwardRule::dynamic(word.trim())),
            _ => return Err("Invalid command.".into()),
        };
        let request = request(&self.config, kind, rule?);
        if cancels {
            self.forwardings.close(&request)?;
            return Ok("Canceled forwarding.");
        }
        self.forwardings.open(&request)?;
        Ok("Forwarding port.")
    }
}

/// Tells the user something, on a terminal in raw mode.
fn say(text: &str) {
    // A terminal that is gone is told nothing.
    let _ = stdio::stderr().and_then(|mut stderr| stderr.write_all(text.as_bytes()));
}

fn told(done: feramiko::Result<()>) {
    if let Err(error) = done {
        say(&format!("{error}\r\n"));
    }
}

fn verbosity(shown: &str, by: isize) {
    let now = LEVELS.iter().position(|(level, _)| *level == log::max_level()).unwrap_or(0);
    let (level, name) = LEVELS[now.saturating_add_signed(by).min(LEVELS.len() - 1)];
    log::set_max_level(level);
    say(&format!("{shown} [LogLevel {name}]\r\n"));
}
