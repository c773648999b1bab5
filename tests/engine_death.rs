//! The stream is cut after n bytes, for every n of a whole connection: handshake, authentication, a
//! command with data both ways, goodbye. Both sides end, with the honest error, and leave no thread.
//!
//! One test a process: it counts the library's threads.

mod given;

use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use feramiko::{
    Error, MemoryStream, PKey, Peer, SSHServer, Stream, Transport, TransportOptions, running_threads,
};
use given::Echo;
use given::faulty::{Fault, Faulty, says_that_the_stream_broke};

/// A case that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(20);
/// Cuts up to here are tried at every byte, later ones at every `STRIDE`th.
const EVERY: usize = 320;
const STRIDE: usize = 11;
/// What goes to the command and comes back.
const DATA: usize = 3000;

static KEY: LazyLock<PKey> = LazyLock::new(given::host_key);

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
    let echo = given::echoed(&channel, &sent)?;
    // Whatever was cut: an end of the data that shows as one is the real one.
    assert_eq!(echo, sent);
    assert_eq!(channel.wait_exit(None)?, Echo::STATUS);
    transport.close();
    Ok(())
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
        (serve(far), run_client(Faulty(near, Fault::cut_after(cut))))
    } else {
        (serve(Faulty(far, Fault::cut_after(cut))), run_client(near))
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
