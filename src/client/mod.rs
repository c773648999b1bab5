//! `SSHClient`: from a host name to a running command, as `ssh` would do it, without prompts.

mod authenticate;
mod builder;
mod cancel;
mod command;
mod configured;
mod dial;
#[cfg(unix)]
mod display;
mod forward;
mod hostcheck;
mod hostoptions;
mod hostupdate;
mod process;
#[cfg(unix)]
mod proxy;
mod reach;
#[cfg(unix)]
mod x11;

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::channel::{Channel, PtyRequest};
use crate::error::Result;
use crate::hostkeys::HostKeys;
use crate::scp::SCPClient;
use crate::sftp::SFTPClient;
use crate::transport::Transport;
#[cfg(unix)]
use crate::transport::TransportOptions;

pub use builder::SSHClientBuilder;
pub use cancel::Cancel;
pub use command::Command;
pub(crate) use dial::dial_to;
pub use hostoptions::{HostAddressCheck, KnownHostsQuery, KnownHostsReason};
pub use hostupdate::{HostKeysChange, HostKeysUpdate};
pub use process::{Output, Process, ProcessStderr, ProcessStdin, ProcessStdout};
#[cfg(unix)]
pub use proxy::ProxyCommand;
pub use reach::{HTTPProxy, JumpHost, SOCKSProxy, SOCKSVersion};
#[cfg(any(test, fuzzing))]
pub(crate) use reach::{PROXIES, proxy_answer};
#[cfg(unix)]
pub use x11::X11Options;

/// A client of an SSH server. Clones share the connection; it ends with the last handle.
///
/// ```no_run
/// let client = feramiko::SSHClient::connect("ci@build.example.org")?;
/// print!("{}", client.output("uname -a")?.check()?.stdout_text()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct SSHClient {
    transport: Transport,
    host_keys: Arc<Mutex<HostKeys>>,
    updated: hostupdate::Updated,
    banners: Arc<[String]>,
    /// Variables that every command and shell gets: SetEnv and SendEnv.
    environment: Arc<[(OsString, OsString)]>,
    request_timeout: Option<Duration>,
}

impl SSHClient {
    /// Connects to `[user@]host[:port]` as `ssh` would: `~/.ssh/config` and `/etc/ssh/ssh_config`,
    /// `~/.ssh/known_hosts`, the agent, the keys `~/.ssh/id_*`; unknown hosts rejected unless the configuration
    /// says otherwise, nothing asked.
    ///
    /// # Errors
    /// See [`SSHClientBuilder::connect`].
    pub fn connect(destination: &str) -> Result<Self> {
        Self::builder().connect(destination)
    }

    /// A client on the connection that another program has made and holds: the master that listens at `path`,
    /// as `ssh -M -S path` does. Nobody logs in, and the host's key is the master's to check. Commands, shells,
    /// files and channels of every kind that are opened here are as with any client; what the server opens
    /// goes to the master, and so do requests of the connection ([`Error::Unsupported`](crate::Error::Unsupported)).
    /// It ends with the master.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when there is no master, [`Error::MasterRefused`](crate::Error::MasterRefused),
    /// which a [`ControlMaster`](crate::ControlMaster) of ours does: it passes no packets on.
    ///
    /// ```no_run
    /// let client = feramiko::SSHClient::over_master("/run/user/1000/ssh.sock")?;
    /// print!("{}", client.output("uname -a")?.check()?.stdout_text()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(unix)]
    pub fn over_master(path: impl AsRef<std::path::Path>) -> Result<Self> {
        let stream = crate::mux::MuxClient::connect(path)?.proxy()?;
        Ok(Self {
            transport: Transport::start_shared(stream, TransportOptions::default())?,
            host_keys: Arc::default(),
            updated: hostupdate::Updated::unasked(),
            banners: Arc::default(),
            environment: Arc::default(),
            request_timeout: None,
        })
    }

    /// A client to be configured; the same defaults.
    #[must_use]
    pub fn builder() -> SSHClientBuilder {
        SSHClientBuilder::new()
    }

    /// Opens a session: a channel for one command, shell or subsystem.
    ///
    /// # Errors
    /// [`Error::ChannelRefused`](crate::Error::ChannelRefused), [`Error::Timeout`](crate::Error::Timeout),
    /// [`Error::Closed`](crate::Error::Closed).
    pub fn open_session(&self) -> Result<Channel> {
        self.transport.open_channel("session", b"", self.request_timeout)
    }

    /// A command to be configured and started, like `std::process::Command`.
    #[must_use]
    pub fn command(&self, command: impl AsRef<[u8]>) -> Command {
        Command::new(self.clone(), command.as_ref())
    }

    /// Starts a command; its streams are in the [`Process`].
    ///
    /// # Errors
    /// As [`open_session`](Self::open_session), and
    /// [`Error::RequestRefused`](crate::Error::RequestRefused).
    pub fn exec_command(&self, command: impl AsRef<[u8]>) -> Result<Process> {
        self.command(command).spawn()
    }

    /// Runs a command to its end, its standard input empty; both output streams are read together.
    ///
    /// # Errors
    /// As [`exec_command`](Self::exec_command).
    pub fn output(&self, command: impl AsRef<[u8]>) -> Result<Output> {
        self.command(command).output()
    }

    /// Starts the user's shell on a pseudo-terminal.
    ///
    /// # Errors
    /// As [`exec_command`](Self::exec_command).
    pub fn invoke_shell(&self, pty: &PtyRequest) -> Result<Channel> {
        let channel = self.open_session()?;
        self.set_environment(&channel)?;
        channel.get_pty(pty)?;
        channel.invoke_shell()?;
        Ok(channel)
    }

    /// Sends the variables that the configuration names.
    fn set_environment(&self, channel: &Channel) -> Result<()> {
        for (name, value) in &*self.environment {
            channel.set_environment_variable(name.as_encoded_bytes(), value.as_encoded_bytes())?;
        }
        Ok(())
    }

    /// Opens a session for files. Any number may be open; each can be shared by any number of threads.
    ///
    /// # Errors
    /// As [`SFTPClient::from_transport`].
    pub fn open_sftp(&self) -> Result<SFTPClient> {
        let channel = self.open_session()?;
        channel.invoke_subsystem("sftp")?;
        SFTPClient::from_channel(channel, self.transport.peer_version())
    }

    /// Copies files by the old protocol of scp, for servers without SFTP.
    #[must_use]
    pub fn scp(&self) -> SCPClient {
        SCPClient::from_transport(&self.transport)
    }

    /// The connection itself.
    #[must_use]
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// What the server told before it let us in, made harmless.
    #[must_use]
    pub fn banners(&self) -> &[String] {
        &self.banners
    }

    /// The host keys that were used, of all files, and what policies and updates have added; a copy. It is
    /// not one file's: to add to a file use [`HostKeys::append`].
    #[must_use]
    pub fn host_keys(&self) -> HostKeys {
        self.host_keys.lock().clone()
    }

    /// Waits until the host has announced its keys and known_hosts is up to date, if that was asked for
    /// ([`SSHClientBuilder::update_host_keys`]); what came of it. None when it was not asked for, or the host
    /// has announced nothing in time: many never do, OpenSSH does at once.
    #[must_use]
    pub fn host_keys_update(&self, timeout: Duration) -> Option<HostKeysUpdate> {
        self.updated.wait(timeout)
    }

    /// Ends the connection after what waits has been sent; see [`Transport::close`].
    pub fn close(&self) {
        self.transport.close();
    }
}
