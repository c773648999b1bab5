//! One connection, on standard input and output: `sshd -i`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;

use feramiko::{Peer, SSHServer};

use crate::site::{Application, Site};
use crate::support::output::complain;

/// How much is copied at a time; a pipe holds as much.
const PIECE: usize = 64 * 1024;

/// The status of a connection that did not end in order; sshd's.
const FAILED: u8 = 255;

/// Serves the connection to its end. `keepalive`: TCPKeepAlive.
pub(crate) fn serve(server: &SSHServer, site: Arc<Site>, keepalive: bool) -> ExitCode {
    let served = move || {
        let stdin = io::stdin().as_fd().try_clone_to_owned()?;
        let socket = TcpStream::from(stdin);
        match (socket.peer_addr(), socket.local_addr()) {
            (Ok(peer), Ok(local)) => {
                let mut who = Peer::named(&peer.ip().to_canonical().to_string());
                who.addresses = Some((peer, local));
                rustix::net::sockopt::set_socket_keepalive(&socket, keepalive)?;
                let application = Application::new(site, &who);
                Ok(server.serve_stream(socket, &who, application))
            }
            // A UNIX socket, or two pipes.
            _ => over_pipes(server, site, socket.into()),
        }
    };
    let why = match served() {
        Ok(Ok(())) => return ExitCode::SUCCESS,
        Ok(Err(error)) => error.to_string(),
        Err(error) => io::Error::to_string(&error),
    };
    complain(format_args!("sshd: {why}"));
    ExitCode::from(FAILED)
}

/// Copies between the pipes and a socket that is served: a read of a pipe cannot be ended, one of a socket can.
fn over_pipes(server: &SSHServer, site: Arc<Site>, stdin: OwnedFd) -> io::Result<feramiko::Result<()>> {
    let (near, far) = UnixStream::pair()?;
    let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let (mut to_server, from_server) = (far.try_clone()?, far);
    std::thread::spawn(move || {
        copy(&mut File::from(stdin), &mut to_server);
        // The socket may be gone already.
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let out = std::thread::spawn(move || {
        copy(&mut { from_server }, &mut { stdout });
    });
    let who = Peer::named("UNKNOWN");
    let application = Application::new(site, &who);
    let ended = server.serve_stream(near, &who, application);
    // Its socket is closed: what is still to be copied is, and then this ends.
    let _ = out.join();
    Ok(ended)
}

fn copy(from: &mut impl Read, to: &mut impl Write) {
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return,
            Ok(count) => {
                if to.write_all(&piece[..count]).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
