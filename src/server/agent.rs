//! The server's side of agent forwarding: a socket for the programs of a session, whose connections are
//! served by the client's agent.

use std::collections::HashMap;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::folder::UserFolder;
use super::session::Session;
use crate::agent::relay;
use crate::channel::Channel;
use crate::engine::{BREATH, ChannelLink, Link, spawn};
use crate::error::Result;
use crate::sys::socket::{listen_unix, shut_listener};
use crate::sys::user::Account;

/// Connections of programs at once; each asks one question at a time.
const CONNECTIONS: usize = 16;

/// Time for the client to open a channel; it asks nobody.
const OPEN: Duration = Duration::from_secs(30);

/// A program's connection, and the channel to the client's agent that was asked for to serve it.
struct Program {
    stream: UnixStream,
    channel: ChannelLink,
}

/// The connections of programs, to be cut with the socket: a program that was left behind would keep its
/// thread.
type Programs = Arc<Mutex<HashMap<u64, Program>>>;

/// A socket that the client's agent answers on, for its user only. When this is dropped it is gone, and
/// the connections to it are cut.
#[derive(Debug)]
pub struct AgentSocket {
    path: PathBuf,
    /// Removed with this.
    _folder: UserFolder,
    listener: Arc<UnixListener>,
    /// Nobody is accepted any more.
    stopped: Arc<AtomicBool>,
}

impl AgentSocket {
    /// Where programs find it: the value of `SSH_AUTH_SOCK`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// For the user of an account. `kind`: of the channels that lead to the agent.
    fn open(link: &Link, kind: &'static str, owner: Option<&Account>) -> io::Result<Self> {
        let mut folder = UserFolder::new()?;
        let path = folder.file(&format!("agent.{}", std::process::id()));
        let listener = Arc::new(listen_unix(&path)?);
        folder.give(&path, owner)?;
        let socket = Self { path, _folder: folder, listener, stopped: Arc::default() };
        let (listener, stopped) = (Arc::clone(&socket.listener), Arc::clone(&socket.stopped));
        let (link, programs) = (link.clone(), Programs::default());
        spawn("feramiko agent socket", move || {
            accept(&link, kind, &programs, &listener, &stopped);
            cut(&programs);
        })?;
        Ok(socket)
    }
}

/// Accepts programs until that is stopped.
fn accept(link: &Link, kind: &str, programs: &Programs, listener: &UnixListener, stopped: &AtomicBool) {
    for number in 0.. {
        let accepted = listener.accept();
        if stopped.load(Ordering::SeqCst) {
            return;
        }
        let Err(error) = accepted.and_then(|(stream, _)| serve(link, kind, programs, number, stream)) else {
            continue;
        };
        log::warn!(target: "feramiko::agent", "a program is not served: {error}");
        std::thread::sleep(BREATH);
    }
}

/// Serves a program on a thread of its own, unless there are too many.
fn serve(
    link: &Link,
    kind: &str,
    programs: &Programs,
    number: u64,
    mut stream: UnixStream,
) -> io::Result<()> {
    if programs.lock().len() >= CONNECTIONS {
        return Err(io::Error::other("there are too many"));
    }
    let channel = link.begin_open(kind, b"")?;
    let program = Program { stream: stream.try_clone()?, channel: channel.clone() };
    programs.lock().insert(number, program);
    let there = Arc::clone(programs);
    let started = spawn("feramiko agent program", move || {
        if let Err(error) = pass_on(channel, &mut stream) {
            log::debug!(target: "feramiko::agent", "a program is served no more: {error}");
        }
        forget(&there, number);
    });
    started.map(drop).map_err(|error| {
        forget(programs, number);
        error.into()
    })
}

fn forget(programs: &Programs, number: u64) {
    // Closes the channel: not under the lock.
    let program = programs.lock().remove(&number);
    drop(program);
}

/// Passes a program's requests to the client's agent, over the channel that was asked for.
fn pass_on(channel: ChannelLink, program: &mut UnixStream) -> Result<()> {
    channel.wait_open(Instant::now().checked_add(OPEN))?;
    Ok(relay(program, &mut Channel::new(channel))?)
}

fn cut(programs: &Programs) {
    let programs = std::mem::take(&mut *programs.lock());
    for Program { stream, channel } in programs.into_values() {
        channel.close();
        if let Err(error) = stream.shutdown(Shutdown::Both) {
            log::debug!(target: "feramiko::agent", "cutting a program off: {error}");
        }
    }
}

impl Drop for AgentSocket {
    fn drop(&mut self) {
        // The thread that accepts then cuts the programs off, whoever came last included.
        self.stopped.store(true, Ordering::SeqCst);
        shut_listener(&*self.listener);
    }
}

impl Session {
    /// A socket that the client's agent answers on, where the client has asked for that and it was
    /// granted; [`run_as_login`](Self::run_as_login) makes one itself. To be kept as long as the session
    /// runs.
    ///
    /// # Errors
    /// What the system says.
    pub fn forward_agent(&self) -> io::Result<Option<AgentSocket>> {
        self.agent_socket(None)
    }

    /// The same, for the user of an account.
    pub(super) fn forward_agent_to(&self, owner: &Account) -> io::Result<Option<AgentSocket>> {
        self.agent_socket(Some(owner))
    }

    fn agent_socket(&self, owner: Option<&Account>) -> io::Result<Option<AgentSocket>> {
        let open = |kind| AgentSocket::open(self.channel().link().link(), kind, owner);
        self.request().agent.map(open).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::soon;
    use super::*;
    use crate::engine::Bare;
    use crate::kex::Role;

    #[test]
    fn a_client_that_opens_no_channel_keeps_no_thread_of_a_program_that_was_cut_off() {
        let client = Bare::new(Role::Server).unwrap();
        let programs = Programs::default();
        let (_program, stream) = UnixStream::pair().unwrap();
        serve(client.link(), "agent-connect", &programs, 0, stream).unwrap();
        assert_eq!(Arc::strong_count(&programs), 2);
        cut(&programs);
        soon("nobody waits any more", || Arc::strong_count(&programs) == 1);
    }

    #[test]
    fn a_program_that_is_not_accepted_keeps_no_other_out() {
        let client = Bare::new(Role::Server).unwrap();
        let socket = AgentSocket::open(client.link(), "agent-connect", None).unwrap();
        // From the second on there is nobody to accept at first, which is an error then.
        socket.listener.set_nonblocking(true).unwrap();
        let mut programs = Vec::new();
        for count in 1..4 {
            programs.push(UnixStream::connect(socket.path()).unwrap());
            soon("it is served", || client.link().channels().len() == count);
        }
        drop(socket);
        for mut program in programs {
            assert_eq!(io::Read::read(&mut program, &mut [0]).unwrap(), 0);
        }
    }
}
