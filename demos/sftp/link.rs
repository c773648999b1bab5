//! The way to the server: a connection of our own, or a program whose standard streams lead to it.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use feramiko::{SFTPClient, SSHClient};
use rustix::process::{Pid, Signal, kill_process};

use crate::settings::{Settings, Way, program};
use crate::support::destination::Destination;

/// What a program gets to end in.
const TO_END: Duration = Duration::from_secs(2);

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Ends the way when it is dropped.
pub(crate) enum Link {
    Ours(SSHClient),
    Child(Child),
}

impl Drop for Link {
    fn drop(&mut self) {
        match self {
            Self::Ours(client) => client.close(),
            Self::Child(child) => {
                // It ends with its input; this is for one that does not.
                if let (Ok(None), Some(pid)) = (child.try_wait(), Pid::from_raw(child.id().cast_signed())) {
                    let _ = kill_process(pid, Signal::TERM);
                }
                let began = Instant::now();
                while let Ok(None) = child.try_wait() {
                    if began.elapsed() > TO_END {
                        // It is stopped, or heeds nothing.
                        let _ = child.kill();
                        let _ = child.wait();
                        return;
                    }
                    thread::sleep(Duration::from_millis(5));
                }
            }
        }
    }
}

/// Opens the way, and what the user is told then.
pub(crate) fn open(settings: &Settings) -> Outcome<(SFTPClient, Link, Vec<u8>)> {
    match &settings.way {
        Way::Direct(line) => {
            let words = program(line)?;
            let (client, child) = start(&words[0], words[1..].iter().map(|word| OsStr::from_bytes(word)))?;
            let told = [b"Attached to ", line.as_bytes(), b"."].concat();
            Ok((client, child, told))
        }
        Way::Program(ssh) => {
            let (client, child) = start(ssh.as_bytes(), settings.ssh.iter().map(|word| &**word))?;
            Ok((client, child, format!("Connected to {}.", settings.destination.host).into_bytes()))
        }
        Way::Ours => {
            let Destination { host, user, port, .. } = &settings.destination;
            let connection = settings.connect.connect(host, user.as_deref(), *port)?;
            let channel = connection.open_session()?;
            match settings.subsystem.as_deref().unwrap_or("sftp") {
                path if path.contains('/') => channel.exec_command(path)?,
                name => channel.invoke_subsystem(name)?,
            }
            let client = SFTPClient::from_channel(channel, connection.transport().peer_version())?;
            let told = format!("Connected to {}.", settings.destination.host).into_bytes();
            Ok((client, Link::Ours(connection), told))
        }
    }
}

/// Starts a program with a socket for its standard streams. It stays in our process group, so that it can ask
/// on the terminal, and leaves interrupts to us.
fn start<'a>(program: &[u8], words: impl Iterator<Item = &'a OsStr>) -> Outcome<(SFTPClient, Link)> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut command = Command::new("/bin/sh");
    // What is ignored stays so in the program; std has no other safe way to say that.
    command.args(["-c", "trap '' INT; exec \"$@\"", "sftp"]).arg(OsStr::from_bytes(program)).args(words);
    command.stdin(Stdio::from(OwnedFd::from(theirs.try_clone()?))).stdout(Stdio::from(OwnedFd::from(theirs)));
    let child = command.spawn().map_err(|error| io::Error::new(error.kind(), format!("/bin/sh: {error}")))?;
    // The command holds the far end.
    drop(command);
    let link = Link::Child(child);
    let client = SFTPClient::over(ours).map_err(|error| match error {
        feramiko::Error::Closed(_) | feramiko::Error::Io { .. } => "Connection closed".to_owned(),
        other => other.to_string(),
    })?;
    Ok((client, link))
}
