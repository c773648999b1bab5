//! The stream is cut after n bytes, for every n of a whole connection: handshake, authentication, a
//! command with data both ways, goodbye. Both sides end, with the honest error, and leave no thread.
//!
//! One test a process: it counts the library's threads.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use feramiko::{
    Answer, AuthAnswer, Closer, Error, ExitStatus, Halves, KeyKind, MemoryStream, PKey, Peer, SSHServer,
    Secret, ServerInterface, Session, SessionRequest, Stream, Transport, TransportOptions, WriteHalf,
    running_threads,
};

/// A case that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(20);
/// Cuts up to here are tried at every byte, later ones at every `STRIDE`th.
const EVERY: usize = 320;
const STRIDE: usize = 11;
/// What goes to the command and comes back.
const DATA: usize = 3000;

static KEY: LazyLock<PKey> = LazyLock::new(|| PKey::generate(KeyKind::Ed25519).unwrap());

/// A stream that is cut, both ways, once `left` bytes were written into this end.
struct Mortal {
    inner: MemoryStream,
    left: usize,
}

struct MortalWrite {
    inner: Box<dyn WriteHalf>,
    closer: Arc<dyn Closer>,
    left: usize,
}

impl Stream for Mortal {
    fn split(self: Box<Self>) -> io::Result<Halves> {
        let mut halves = Box::new(self.inner).split()?;
        if self.left == 0 {
            halves.closer.close();
        }
        let closer = Arc::clone(&halves.closer);
        halves.write = Box::new(MortalWrite { inner: halves.write, closer, left: self.left });
        Ok(halves)
    }
}

impl WriteHalf for MortalWrite {
    fn write_now(&mut self, buf: &[u8]) -> io::Result<usize> {
        let count = self.inner.write_now(&buf[..buf.len().min(self.left)])?;
        self.left -= count;
        if self.left == 0 {
            self.closer.close();
        }
        Ok(count)
    }

    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.inner.wait(deadline)
    }
}

/// Echoes.
struct Echo;

impl ServerInterface for Echo {
    fn check_auth_password(&self, _: &str, password: &Secret) -> AuthAnswer {
        AuthAnswer::when(password.matches("foo"))
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
        Answer::Yes
    }

    fn session(&self, session: Session) -> io::Result<ExitStatus> {
        io::copy(&mut session.channel(), &mut session.channel())?;
        Ok(ExitStatus::Code(3))
    }
}

fn serve(stream: impl Stream) -> Receiver<Result<(), Error>> {
    let (sender, receiver) = channel();
    let server = SSHServer::builder().host_key(KEY.clone()).build().unwrap();
    std::thread::spawn(move || sender.send(server.serve_stream(stream, &Peer::named("test"), Echo)));
    receiver
}

/// What a client found, as far as it came.
#[derive(Debug)]
struct Found {
    authenticated: bool,
    end: Result<(), Error>,
}

fn run_client(stream: impl Stream) -> Receiver<Found> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut authenticated = false;
        let end = use_connection(stream, &mut authenticated);
        sender.send(Found { authenticated, end })
    });
    receiver
}

fn use_connection(stream: impl Stream, authenticated: &mut bool) -> Result<(), Error> {
    let transport = Transport::start_client(stream, TransportOptions::default(), |_| Ok(()))?;
    transport.auth_password("robey", "foo")?;
    *authenticated = true;
    let channel = transport.open_session()?;
    channel.exec_command("echo")?;
    let sent: Vec<u8> = (0..DATA).map(|at| (at % 251) as u8).collect();
    let io = |error: io::Error| match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => panic!("a channel's error is ours: {error}"),
    };
    (&channel).write_all(&sent).map_err(io)?;
    channel.shutdown(Shutdown::Write);
    let mut echo = Vec::new();
    (&channel).read_to_end(&mut echo).map_err(io)?;
    // Whatever was cut: an end of the data that shows as one is the real one.
    assert_eq!(echo, sent);
    let status = channel.wait_exit(None)?;
    assert_eq!(status, ExitStatus::Code(3));
    transport.close();
    Ok(())
}

/// The stream broke: the error says so, and nothing else.
fn says_that_the_stream_broke(error: &Error) -> bool {
    match error {
        Error::Io { source, .. } => {
            matches!(source.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe)
        }
        Error::Closed(Some(cause)) => says_that_the_stream_broke(cause),
        _ => false,
    }
}

fn wait_for_no_threads(case: &str) {
    let deadline = Instant::now() + PATIENCE;
    while running_threads() > 0 {
        assert!(Instant::now() < deadline, "{case}: {} threads are left", running_threads());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Cuts after `cut` bytes of one side; whether the client came to its end before.
fn cut_after(cut: usize, client_writes: bool) -> bool {
    let case = format!("cut after {cut} bytes of the {}", if client_writes { "client" } else { "server" });
    let (near, far) = MemoryStream::pair(1 << 16);
    let (served, found) = if client_writes {
        (serve(far), run_client(Mortal { inner: near, left: cut }))
    } else {
        (serve(Mortal { inner: far, left: cut }), run_client(near))
    };
    let found = found.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{case}: client: {error}"));
    let served = served.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{case}: server: {error}"));
    if let Err(error) = &found.end {
        assert!(says_that_the_stream_broke(error), "{case}: client: {error:?}");
    }
    match &served {
        Err(error) => assert!(says_that_the_stream_broke(error), "{case}: server: {error:?}"),
        // A client that goes away after it was let in has left in order.
        Ok(()) => assert!(found.authenticated || !client_writes, "{case}: the server saw nothing wrong"),
    }
    wait_for_no_threads(&case);
    found.end.is_ok()
}

#[test]
fn death_after_n_bytes() {
    for client_writes in [true, false] {
        let (mut cut, mut whole, mut broken) = (0, 0, 0);
        // Once the client ends well the cut lies in or behind the goodbye; a few of those, too.
        while whole < 3 {
            if cut_after(cut, client_writes) {
                whole += 1
            } else {
                broken += 1
            }
            cut += if cut < EVERY { 1 } else { STRIDE };
            assert!(cut < 1 << 20, "a connection of a few kilobytes");
        }
        assert!(broken > EVERY, "{broken} cuts");
    }
}
