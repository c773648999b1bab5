//! SCP as a session: the command of a client's scp, answered in this process.

use std::io;

use super::Session;
use crate::engine::{ExitStatus, Lane};
use crate::interface::SessionKind;
use crate::scp::SCPServer;

impl Session {
    /// Answers the command `scp -t` or `scp -f` that the session was started for; see
    /// [`SCPServer::is_for`], by which such commands are told from others.
    ///
    /// ```no_run
    /// # use feramiko::{ExitStatus, SCPServer, Session};
    /// # fn session(session: Session) -> std::io::Result<ExitStatus> {
    /// session.serve_scp(&SCPServer::new("/srv/files"))
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`SCPServer::serve`]; `Unsupported` when the session is no command.
    pub fn serve_scp(self, server: &SCPServer) -> io::Result<ExitStatus> {
        let SessionKind::Exec(command) = &self.request().kind else {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the session is no command"));
        };
        // Nothing is expected on the other stream: it is dropped, and holds nothing up.
        self.channel().link().stop_reading(Lane::Stderr);
        Ok(server.serve(command, self.channel())?)
    }
}
