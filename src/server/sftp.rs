//! SFTP as a session's subsystem.

use std::io::{self, Read, Write};

use super::session::Session;
use crate::channel::Channel;
use crate::engine::{ExitStatus, Lane};
use crate::sftp::SFTPServer;

/// Clients that name the link first, then its target, where the server does not say that it is OpenSSH:
/// AsyncSSH, libssh (not libssh2) and WinSCP.
const LINK_FIRST: &[&str] = &["AsyncSSH", "-libssh_", "-libssh-", "WinSCP"];

/// The channel without its wait for the writer: an answer that lies in its queue leaves by itself.
struct Answers(Channel);

impl Write for Answers {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The requests. Neither a client that is gone nor one that closed the channel is an error.
struct Requests(Channel);

impl Read for Requests {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buf) {
            Err(_) if self.0.is_closed() => Ok(0),
            other => other,
        }
    }
}

impl Session {
    /// Serves SFTP until the client ends it: an application's whole answer to a session for the subsystem
    /// `sftp`.
    ///
    /// ```no_run
    /// # use feramiko::{ExitStatus, LocalServer, Session};
    /// # fn session(session: Session) -> std::io::Result<ExitStatus> {
    /// session.serve_sftp(LocalServer::new()?)
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`SFTPServer::serve`]: when what the client sends is not SFTP.
    pub fn serve_sftp(self, server: impl Into<SFTPServer>) -> io::Result<ExitStatus> {
        // Nothing is expected on the other stream: it is dropped, and holds nothing up.
        self.channel().link().stop_reading(Lane::Stderr);
        let mut server = server.into();
        if self.link_first() {
            server = server.link_first(true);
        }
        server.serve(Requests(self.channel().clone()), Answers(self.channel().clone()))?;
        Ok(ExitStatus::Code(0))
    }

    /// Whether the client names links first.
    pub(super) fn link_first(&self) -> bool {
        let client = &self.channel().link().link().core().peer_ident;
        LINK_FIRST.iter().any(|name| client.contains(name))
    }
}
