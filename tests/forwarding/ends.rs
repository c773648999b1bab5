//! Both ends of a forwarded connection: a service that answers when it has read all, and who asks it.

#![allow(dead_code, reason = "no test uses everything")]

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use feramiko::Endpoint;

/// More than one window's eighth, and more than the buffers of a socket.
pub(crate) const BYTES: usize = 3 << 20;
/// A forwarding that another program makes is there by then.
const READY: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(5);
/// Nothing here takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection of either kind.
pub(crate) trait Duplex: Read + Write + Send {
    fn finish(&self) -> io::Result<()>;
}

impl Duplex for TcpStream {
    fn finish(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Duplex for UnixStream {
    fn finish(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

pub(crate) fn path(endpoint: &Endpoint) -> PathBuf {
    match endpoint {
        Endpoint::Unix(path) => PathBuf::from(String::from_utf8(path.clone()).unwrap()),
        Endpoint::Tcp { .. } => panic!("{endpoint} has no path"),
    }
}

pub(crate) fn unix(path: PathBuf) -> Endpoint {
    Endpoint::unix(path.into_os_string().into_encoded_bytes())
}

pub(crate) fn connect(to: &Endpoint) -> io::Result<Box<dyn Duplex>> {
    match to {
        Endpoint::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(Box::new(stream))
        }
        Endpoint::Unix(_) => {
            let stream = UnixStream::connect(path(to))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(Box::new(stream))
        }
    }
}

/// The same, once somebody listens there.
pub(crate) fn connect_soon(to: &Endpoint) -> Box<dyn Duplex> {
    let until = Instant::now() + READY;
    loop {
        match connect(to) {
            Ok(stream) => return stream,
            Err(error) => assert!(Instant::now() < until, "nobody listens at {to}: {error}"),
        }
        thread::sleep(STEP);
    }
}

/// Reads all, and only then answers: `name` and what it has read.
fn answer(mut stream: impl Duplex, name: &str) -> io::Result<()> {
    let mut read = Vec::new();
    stream.read_to_end(&mut read)?;
    stream.write_all(name.as_bytes())?;
    stream.write_all(&read)
}

/// A service on a loopback port, for as long as the test runs.
pub(crate) fn tcp_service(name: &'static str) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Who asks sees what is missing.
            thread::spawn(move || drop(answer(stream, name)));
        }
    });
    Endpoint::tcp("127.0.0.1", port)
}

/// A service on a UNIX socket.
pub(crate) fn unix_service(name: &'static str, path: PathBuf) -> Endpoint {
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || drop(answer(stream, name)));
        }
    });
    unix(path)
}

pub(crate) fn data(count: usize) -> Vec<u8> {
    let mut state = 1_u32;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .collect()
}

/// Sends, ends that direction, and reads the answer to its end.
pub(crate) fn talk(mut stream: Box<dyn Duplex>, sent: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(sent)?;
    stream.finish()?;
    let mut back = Vec::new();
    stream.read_to_end(&mut back)?;
    Ok(back)
}

/// Whether a service called `name` is what is reached there, and everything arrives in both directions.
pub(crate) fn reaches(to: &Endpoint, name: &str) {
    let sent = data(BYTES);
    let back = talk(connect_soon(to), &sent).unwrap_or_else(|error| panic!("{name} at {to}: {error}"));
    assert!(back.starts_with(name.as_bytes()), "{to} leads to {name}");
    assert!(back[name.len()..] == sent[..], "{to}: {} bytes of {}", back.len(), sent.len() + name.len());
}

/// Whether whoever connects there is hung up on, or nobody listens.
pub(crate) fn refused(to: &Endpoint) -> bool {
    let Ok(stream) = connect(to) else { return true };
    talk(stream, b"").map_or(true, |back| back.is_empty())
}
