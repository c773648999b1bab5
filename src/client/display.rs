//! The user's display: its cookie, from an Xauthority file or made by xauth(1), and connections to it.

use std::io::{self, Read};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::x11::X11Options;
use crate::crypto::rand;
use crate::crypto::secret::Secret;
use crate::engine::{ExitStatus, Halves, Program, Stream, spawn};
use crate::error::{Error, Result};
use crate::sys::file::open_regular;
use crate::sys::private::{PrivateFolder, host_name};
use crate::sys::socket::connect_unix;
use crate::x11::{Address, Authority, Cookie, Display, PROTOCOL, Place};

/// An Xauthority file has some fifty bytes for each display the user has been at; more is none.
const LARGEST: u64 = 1024 * 1024;

/// Time for xauth, which asks the X server.
const PATIENCE: Duration = Duration::from_secs(30);

/// Time to connect to a display.
const CONNECT: Duration = Duration::from_secs(30);

/// The cookie outlives the time in which connections are taken by so much, as with OpenSSH.
const SLACK: Duration = Duration::from_secs(60);

/// Where displays of this host listen.
const SOCKETS: &str = "/tmp/.X11-unix/X";

/// The cookie that lets programs into the display: the user's own for trusted ones, where there is one, else
/// a new one.
pub(super) fn cookie(options: &X11Options) -> Result<Option<Cookie>> {
    if !options.trusted {
        return generate(options).map(Some);
    }
    let Some(path) = options.authority.clone().or_else(usual_authority) else { return Ok(None) };
    let cookie = in_file(&path, &options.display).unwrap_or_else(|error| {
        log::debug!(target: "feramiko::x11", "{}: {error}", path.display());
        None
    });
    if cookie.is_none() {
        log::warn!(
            target: "feramiko::x11",
            "{} has no cookie for display {}: it must let in whoever comes",
            path.display(),
            options.display
        );
    }
    Ok(cookie)
}

fn usual_authority() -> Option<PathBuf> {
    let named = std::env::var_os("XAUTHORITY").filter(|path| !path.is_empty()).map(PathBuf::from);
    named.or_else(|| Some(dirs::home_dir()?.join(".Xauthority")))
}

/// Reads a display's cookie.
fn in_file(path: &Path, display: &Display) -> io::Result<Option<Cookie>> {
    let (file, metadata) = open_regular(path)?;
    // Room for all at once: what grows leaves copies behind.
    let room = usize::try_from(metadata.len().min(LARGEST)).unwrap_or_default();
    let mut bytes = Vec::with_capacity(room.saturating_add(1));
    file.take(LARGEST).read_to_end(&mut bytes)?;
    let bytes = Secret::new(bytes);
    Ok(Authority(bytes.expose()).cookie(&addresses(display), display.number))
}

/// Under what a display stands in files: Xlib takes one that a loopback address reaches for one of this host.
fn addresses(display: &Display) -> Vec<Address> {
    let here = || vec![Address::Local(host_name())];
    match &display.place {
        Place::Local | Place::Socket(_) => here(),
        Place::Tcp(host) => {
            // A name that nobody knows has no cookie.
            let found = (host.as_str(), display.port()).to_socket_addrs();
            let found: Vec<_> = found.into_iter().flatten().map(|address| address.ip()).collect();
            if found.iter().any(|address| address.is_loopback()) {
                return here();
            }
            found.into_iter().map(Address::Internet).collect()
        }
    }
}

/// Has xauth make a cookie that lets untrusted programs in, for a time.
fn generate(options: &X11Options) -> Result<Cookie> {
    let failed = |error| Error::io(format!("{} generate", options.xauth.display()), error);
    let folder = PrivateFolder::new(rand::array()?).map_err(failed)?;
    let path = folder.file("xauthfile");
    let timeout = options.timeout.map_or(0, |timeout| timeout.saturating_add(SLACK).as_secs());
    // No shell: each word is an argument, and a display's name has harmless letters only.
    let mut command = Command::new(&options.xauth);
    command.arg("-q").arg("-f").arg(&path).arg("generate").arg(options.display.to_string());
    command.args([PROTOCOL, "untrusted", "timeout", &timeout.to_string()]);
    if let Some(authority) = &options.authority {
        command.env("XAUTHORITY", authority);
    }
    let status = run(command, PATIENCE).map_err(failed)?;
    if status == ExitStatus::Code(0) {
        // What it has written is for the display by whatever name it knows it.
        if let Ok(Some(cookie)) = in_file(&path, &options.display) {
            return Ok(cookie);
        }
    }
    let text = "it makes no cookie for untrusted programs: the X server has no SECURITY extension, or does \
                not let us in; only trusted forwarding would work";
    Err(failed(io::Error::new(io::ErrorKind::PermissionDenied, text)))
}

/// Runs a program to its end, and no longer than it may take.
fn run(mut command: Command, patience: Duration) -> io::Result<ExitStatus> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let program = Program::start(command)?;
    let running = program.running().clone();
    let (sender, ended) = crossbeam_channel::bounded(1);
    spawn("feramiko xauth", move || {
        // Nobody waits any more when it has taken too long.
        let _ = sender.send(program.wait());
    })?;
    ended.recv_timeout(patience).unwrap_or_else(|_| {
        running.signal("KILL");
        Err(io::Error::new(io::ErrorKind::TimedOut, "the X server does not answer it"))
    })
}

/// Connects to a display.
pub(super) fn connect(display: &Display) -> io::Result<Halves> {
    match &display.place {
        Place::Socket(path) => Box::new(connect_unix(path, CONNECT)?).split(),
        Place::Local => Box::new(connect_here(display.number)?).split(),
        Place::Tcp(host) => {
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the display's host has no address");
            for address in (host.as_str(), display.port()).to_socket_addrs()? {
                match TcpStream::connect_timeout(&address, CONNECT) {
                    Ok(stream) => return Box::new(stream).split(),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
    }
}

/// The socket that has a path comes first: a name without one may be taken by any user.
fn connect_here(number: u16) -> io::Result<std::os::unix::net::UnixStream> {
    let path = format!("{SOCKETS}{number}");
    let by_path = connect_unix(path.as_ref(), CONNECT);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let by_path =
        by_path.or_else(|error| connect_unix(format!("\0{path}").as_ref(), CONNECT).map_err(|_| error));
    by_path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x11::Entry;

    #[test]
    fn a_program_that_takes_too_long_is_killed() {
        let mut sleep = Command::new("/bin/sleep");
        sleep.arg("600.125");
        let begun = std::time::Instant::now();
        let error = run(sleep, Duration::from_millis(20)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() < PATIENCE);
    }

    #[test]
    fn no_more_of_a_file_is_read_than_any_has() {
        let folder = PrivateFolder::new(rand::array().unwrap()).unwrap();
        let entry = |number| {
            let cookie = Cookie::from_bytes(&[1; 16]).unwrap();
            Entry { address: Address::Wild, number, cookie }.encode().unwrap().expose().to_vec()
        };
        let display = Display::parse(":10").unwrap();
        let mut bytes = entry(11).repeat(1024);
        let found = |name: &str, bytes: &[u8]| {
            in_file(&folder.write(name, bytes).unwrap(), &display).unwrap().is_some()
        };
        assert!(found("short", &[&bytes[..], &entry(10)].concat()));
        bytes = bytes.repeat(usize::try_from(LARGEST).unwrap() / bytes.len() + 1);
        assert!(!found("long", &[&bytes[..], &entry(10)].concat()));
    }

    #[test]
    fn nobody_waits_for_a_file_that_is_none() {
        let folder = PrivateFolder::new(rand::array().unwrap()).unwrap();
        let pipe = folder.file("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(in_file(&pipe, &Display::parse(":10").unwrap()).is_err());
    }

    #[test]
    fn displays_here_go_by_the_name_of_the_host() {
        let addresses = |text| addresses(&Display::parse(text).unwrap());
        let here = [Address::Local(host_name())];
        for text in [":0", "unix:0", "localhost:10", "127.0.0.1:10", "[::1]:10", "/tmp/x:0"] {
            assert_eq!(addresses(text), here, "{text}");
        }
        assert_eq!(addresses("10.0.0.1:0"), [Address::Internet([10, 0, 0, 1].into())]);
    }
}
