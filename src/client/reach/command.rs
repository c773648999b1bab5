//! The line of a `ProxyCommand` (ssh_config(5)): its tokens, and the user's shell that runs it. Runs on the
//! thread that connects, but for the thread that copies the program's errors into the log.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::Trip;
use crate::client::proxy::ProxyCommand;
use crate::engine::{Stream, spawn};
use crate::error::{Error, Phase, Result};
use crate::wire::Escaped;

/// OpenSSH's, where the environment names none.
const SHELL: &str = "/bin/sh";
/// The longest piece of a program's errors that is logged as one line.
const LOGGED: u64 = 1024;

/// A line to be run, and where its errors go.
#[derive(Debug, Clone)]
pub(in crate::client) struct CommandLine {
    pub(in crate::client) line: String,
    /// Its tokens have been replaced, and names checked, by whoever knows the configuration.
    pub(in crate::client) expanded: bool,
    pub(in crate::client) log: bool,
    /// The program makes the connection and passes it on: `ProxyUseFdpass`.
    pub(in crate::client) passes: bool,
}

/// What the tokens of a line stand for.
pub(super) struct Names<'a> {
    host: &'a str,
    port: u16,
    user: &'a str,
}

/// Whether no shell sees anything but a word in it, and no program an option: what is refused is not quoted,
/// because nobody knows which quotes the line has around it (CVE-2023-51385, CVE-2025-61984).
fn harmless(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-:%@+,/".contains(c);
    !name.is_empty() && !name.starts_with('-') && name.chars().all(plain)
}

/// The line with its tokens replaced.
fn expand(line: &str, names: &Names<'_>) -> Result<String> {
    let checked =
        |name: &str, refused| if harmless(name) { Ok(name.to_owned()) } else { Err(Error::Misuse(refused)) };
    let mut expanded = String::with_capacity(line.len());
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            expanded.push(c);
            continue;
        }
        match rest.next() {
            Some('%') => expanded.push('%'),
            Some('p') => expanded += &names.port.to_string(),
            Some('h' | 'n') => {
                expanded += &checked(
                    names.host,
                    "a host's name in a proxy command holds letters, digits and ._-:%@+,/ only",
                )?;
            }
            Some('r') => {
                expanded += &checked(
                    names.user,
                    "a user's name in a proxy command holds letters, digits and ._-:%@+,/ only",
                )?;
            }
            _ => return Err(Error::Misuse("a proxy command knows %h, %n, %p, %r and %% only")),
        }
    }
    Ok(expanded)
}

impl CommandLine {
    pub(super) fn open(&self, trip: &Trip<'_>) -> Result<Box<dyn Stream>> {
        let user = match trip.user {
            Some(user) => user.to_owned(),
            // Without a name there is none to put in; where the line wants one it says so.
            None => crate::sys::user::login_name().unwrap_or_default(),
        };
        let names = Names { host: &trip.target.host, port: trip.target.port, user: &user };
        let line = if self.expanded { self.line.clone() } else { expand(&self.line, &names)? };
        let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty());
        let shell = shell.unwrap_or_else(|| OsString::from(SHELL));
        // The program takes the shell's place, so that it is the program that is ended.
        let run = format!("exec {line}");
        let mut command = if self.log { Command::new(&shell) } else { at_terminal(&shell) };
        command.arg("-c").arg(run);
        let starting =
            |error| Error::io(format!("starting the proxy command {}", Escaped(line.as_bytes())), error);
        if self.log {
            command.process_group(0);
            let (errors, theirs) = std::io::pipe().map_err(starting)?;
            command.stderr(Stdio::from(theirs));
            spawn("feramiko proxy log", move || {
                log_lines(errors, |line| log::warn!(target: "feramiko::proxy", "{}", Escaped(line)));
            })?;
        }
        let name = Escaped(line.as_bytes()).to_string();
        if !self.passes {
            return Ok(Box::new(ProxyCommand::start(command, name).map_err(starting)?));
        }
        let passed = ProxyCommand::receive(command, name, Some(trip.clock.ends()), trip.cancel);
        passed.map_err(|error| match error.kind() {
            _ if trip.cancel.is_cancelled() => Error::Cancelled,
            std::io::ErrorKind::TimedOut => Error::Timeout(Phase::Connect),
            _ => Error::io("taking the connection that a proxy command passes on", error),
        })
    }
}

/// The shell of a program that may ask the user: at a terminal the system lets nobody read who is not of the process
/// group in the foreground, which is ours. The signals that such a group gets are ours too; the program ends with us
/// or the connection.
fn at_terminal(shell: &OsStr) -> Command {
    let mut command = Command::new(SHELL);
    command.args(["-c", "trap '' HUP INT QUIT; exec \"$0\" \"$@\""]).arg(shell);
    command
}

/// Gives what comes to the log line by line, until the last holder of the other end is gone.
fn log_lines(errors: impl Read, mut log: impl FnMut(&[u8])) {
    let mut errors = BufReader::new(errors);
    let mut line = Vec::new();
    while let Ok(1..) = errors.by_ref().take(LOGGED).read_until(b'\n', &mut line) {
        log(line.trim_ascii_end());
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(line: &str, host: &str, user: &str) -> Result<String> {
        expand(line, &Names { host, port: 2222, user })
    }

    #[test]
    fn tokens() {
        let line = expanded("nc -X %% %h:%n %p '%r' 100%%", "a.example", "me").unwrap();
        assert_eq!(line, "nc -X % a.example:a.example 2222 'me' 100%");
        assert_eq!(expanded("x %h", "fe80::1%eth0", "").unwrap(), "x fe80::1%eth0");
        for bad in ["x %", "x %d", "x %H", "x %\u{e9}"] {
            assert!(matches!(expanded(bad, "a", "b"), Err(Error::Misuse(_))), "{bad}");
        }
    }

    /// Names that a shell would act upon, and what programs take for options.
    #[test]
    fn no_name_reaches_a_shell_as_more_than_a_name() {
        let bad = [
            "",
            "-x",
            "-oProxyCommand=x",
            "$(id)",
            "`id`",
            "a;b",
            "a|b",
            "a&b",
            "a b",
            "a\tb",
            "a\nb",
            "a\rb",
            "a\0b",
            "a'b",
            "a\"b",
            "a\\b",
            "a\\",
            "a>b",
            "a<b",
            "a(b",
            "a)b",
            "a{b",
            "a}b",
            "a*b",
            "a?b",
            "a[b",
            "a]b",
            "~root",
            "a!b",
            "#a",
            "a=b",
            "a^b",
            "$HOME",
            "h\u{f6}st",
            "a\u{a0}b",
            "a\u{1b}[31m",
        ];
        for name in bad {
            assert!(matches!(expanded("x %h", name, "me"), Err(Error::Misuse(_))), "{name:?}");
            assert!(matches!(expanded("x %n", name, "me"), Err(Error::Misuse(_))), "{name:?}");
            assert!(matches!(expanded("x %r", "host", name), Err(Error::Misuse(_))), "{name:?}");
            // What is not put in does not matter.
            assert_eq!(expanded("x %h", "host", name).unwrap(), "x host");
        }
    }

    #[test]
    fn a_log_has_lines_of_bounded_length() {
        let mut lines = Vec::new();
        log_lines(&b"one\r\n\ntwo"[..], |line| lines.push(line.to_vec()));
        assert_eq!(lines, [&b"one"[..], b"", b"two"]);
        lines.clear();
        log_lines(std::io::repeat(b'x').take(3 * LOGGED), |line| lines.push(line.to_vec()));
        assert!(lines.len() == 3 && lines.iter().all(|line| line.len() as u64 == LOGGED), "{}", lines.len());
    }
}
