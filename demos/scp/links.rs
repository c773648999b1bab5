//! The connections of one run: to each host one, made by us or by the program that `-S` names.

use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use feramiko::{ProxyCommand, SCPClient, SFTPClient, SSHClient};

use crate::place::Remote;
use crate::support::progress::Progress;
use crate::{Outcome, Settings};

/// There is no connection, or there is to be none.
#[derive(Debug)]
pub(crate) struct NoConnection(String);

impl NoConnection {
    pub(crate) fn fatal(text: String) -> Box<dyn std::error::Error> {
        Box::new(Self(text))
    }
}

impl fmt::Display for NoConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoConnection {}

pub(crate) struct Links {
    pub(crate) settings: Settings,
    clients: Vec<(Remote, SSHClient)>,
    files: Vec<(Remote, SFTPClient)>,
}

impl Links {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings, clients: Vec::new(), files: Vec::new() }
    }

    /// Our own connection to a host.
    pub(crate) fn client(&mut self, remote: &Remote) -> Outcome<SSHClient> {
        if let Some((_, client)) = self.clients.iter().find(|(known, _)| known.shares_host(remote)) {
            return Ok(client.clone());
        }
        let made = self.settings.connect.connect(&remote.host, remote.user.as_deref(), remote.port);
        let client = made.map_err(|error| NoConnection(error.to_string()))?;
        self.clients.push((remote.clone(), client.clone()));
        Ok(client)
    }

    /// Speaks SFTP with a host.
    pub(crate) fn sftp(&mut self, remote: &Remote) -> Outcome<SFTPClient> {
        if let Some((_, sftp)) = self.files.iter().find(|(known, _)| known.shares_host(remote)) {
            return Ok(sftp.clone());
        }
        let lost = |error: feramiko::Error| NoConnection(format!("Connection closed: {error}"));
        let sftp = if let Some(server) = &self.settings.server {
            SFTPClient::over(ProxyCommand::spawn(Command::new(server))?).map_err(lost)?
        } else if let Some(program) = &self.settings.program {
            let mut command = self.other(program, remote);
            command.args(["-s", "--", &remote.host, "sftp"]);
            SFTPClient::over(ProxyCommand::spawn(command)?).map_err(lost)?
        } else {
            self.client(remote)?.open_sftp().map_err(lost)?
        };
        self.files.push((remote.clone(), sftp.clone()));
        Ok(sftp)
    }

    /// Speaks the old protocol with a host.
    pub(crate) fn scp(&mut self, remote: &Remote) -> Outcome<SCPClient> {
        let client = match self.settings.program.clone() {
            None => self.client(remote)?.scp(),
            Some(program) => {
                let line = self.other(&program, remote);
                let words: Vec<_> = line.get_args().map(ToOwned::to_owned).collect();
                let host = remote.host.clone();
                SCPClient::over(move |command| {
                    let mut start = Command::new(&program);
                    start.args(&words).args(["--", &host]).arg(crate::place::os(command));
                    Joined::spawn(start)
                })
            }
        };
        let settings = &self.settings;
        let client = client.recursive(settings.recursive).preserve(settings.preserve);
        // As scp: the other side's shell reads the path.
        let client = client.expand(true).check_names(!settings.trusting).bandwidth(settings.limit);
        if !settings.shows() {
            return Ok(client);
        }
        let bar: Mutex<Option<Progress>> = Mutex::new(None);
        Ok(client.progress(move |file| {
            let mut bar = bar.lock().unwrap_or_else(PoisonError::into_inner);
            let mut drawn =
                bar.take().unwrap_or_else(|| Progress::new(file.name.to_string(), 0, Some(file.total)));
            if file.done == file.total {
                return drawn.finish(file.done);
            }
            drawn.update(file.done);
            *bar = Some(drawn);
        }))
    }

    /// The program that connects instead of us, with what scp tells it.
    fn other(&self, program: &Path, remote: &Remote) -> Command {
        let mut command = Command::new(program);
        command.args(["-x", "-oPermitLocalCommand=no", "-oClearAllForwardings=yes"]);
        command.args(["-oRemoteCommand=none", "-oRequestTTY=no"]).args(self.settings.connect.as_letters());
        if let Some(port) = remote.port {
            command.args(["-p", &port.to_string()]);
        }
        if let Some(user) = &remote.user {
            command.args(["-l", user]);
        }
        command
    }
}

/// A program's standard input and output, on one socket.
pub(crate) struct Joined {
    stream: UnixStream,
    child: Arc<Mutex<Child>>,
}

impl Joined {
    pub(crate) fn spawn(mut command: Command) -> std::io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        command
            .stdin(Stdio::from(OwnedFd::from(theirs.try_clone()?)))
            .stdout(Stdio::from(OwnedFd::from(theirs)));
        Ok(Self { stream: ours, child: Arc::new(Mutex::new(command.spawn()?)) })
    }
}

impl std::io::Read for Joined {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.stream.read(buf)
    }
}

impl std::io::Write for Joined {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.stream.write(buf)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        // The end of its input ends it.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        let _ = self.child.lock().unwrap_or_else(PoisonError::into_inner).wait();
    }
}
