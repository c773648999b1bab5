//! The server's side of X11 forwarding, RFC 4254 §6.3: a display for the programs of a session, whose
//! connections the client joins to its own.
//!
//! sshd has xauth add the cookie to the user's Xauthority. Here the session has a file of its own: no program
//! need be there, nothing of the client's reaches one (CVE-2016-3115), and the cookie goes with the session.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::folder::UserFolder;
use super::session::Session;
use crate::channel::Channel;
use crate::crypto::secret::Secret;
use crate::engine::{BREATH, ChannelLink, Link, Stream, spawn};
use crate::forward::relay;
use crate::interface::X11Request;
use crate::sys::private::host_name;
use crate::sys::socket::shut_listener;
use crate::sys::tcp::{listen, no_such_family};
use crate::sys::user::Account;
use crate::wire::{Writer, string_of};
use crate::x11::{Address, BASE_PORT, Entry};

/// The channels that are opened.
const CHANNEL: &str = "x11";

/// Numbers that are tried; OpenSSH's X11MaxDisplays.
const DISPLAYS: u16 = 1000;

/// Connections of programs at once. A browser has about ten; each takes three threads.
const CONNECTIONS: usize = 64;

/// Connections that wait to be accepted; OpenSSH's figure.
const BACKLOG: u16 = 128;

/// Time for the client to open a channel; it asks nobody.
const OPEN: Duration = Duration::from_secs(30);

/// The connections of programs.
#[derive(Debug)]
struct Programs {
    /// Their channels by number, to be closed with the display; none from then on.
    channels: Mutex<Option<HashMap<u32, ChannelLink>>>,
    /// One connection is forwarded and no more.
    single: bool,
    used: AtomicBool,
}

impl Programs {
    fn new(single: bool) -> Self {
        Self { channels: Mutex::new(Some(HashMap::new())), single, used: AtomicBool::new(false) }
    }

    fn add(&self, channel: &ChannelLink) -> io::Result<()> {
        let mut channels = self.channels.lock();
        match &mut *channels {
            Some(open) if open.len() < CONNECTIONS => drop(open.insert(channel.id(), channel.clone())),
            Some(_) => return Err(io::Error::other("there are too many")),
            None => return Err(io::Error::other("the session has ended")),
        }
        Ok(())
    }

    fn forget(&self, id: u32) {
        // Closes the channel: not under the lock.
        let channel = self.channels.lock().as_mut().and_then(|open| open.remove(&id));
        drop(channel);
    }

    /// Whether the display is gone, or its one connection was there before; one that comes is it.
    fn take_no_more(&self, comes: bool) -> bool {
        let used =
            if comes { self.used.swap(true, Ordering::SeqCst) } else { self.used.load(Ordering::SeqCst) };
        self.single && used || self.channels.lock().is_none()
    }

    fn cut(&self) {
        let open = self.channels.lock().take();
        open.into_iter().flatten().for_each(|(_, channel)| channel.close());
    }
}

/// A display of the client's, as programs of the session see it. When this is dropped it is gone, and the
/// connections to it are cut.
///
/// ```no_run
/// # use feramiko::*;
/// # fn session(session: Session) -> std::io::Result<ExitStatus> {
/// let display = session.x11()?;
/// let mut clock = std::process::Command::new("/usr/bin/xclock");
/// clock.envs(display.iter().flat_map(X11Display::environment));
/// session.run_command(clock)
/// # }
/// ```
#[derive(Debug)]
pub struct X11Display {
    name: String,
    authority: PathBuf,
    /// Removed with this.
    _folder: UserFolder,
    listeners: Arc<[TcpListener]>,
    programs: Arc<Programs>,
}

impl X11Display {
    /// Its name: the value of `DISPLAY`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What programs must have in their environment to find it and be let in: `DISPLAY` and
    /// `XAUTHORITY`.
    pub fn environment(&self) -> [(&'static str, OsString); 2] {
        [("DISPLAY", self.name.clone().into()), ("XAUTHORITY", self.authority.clone().into())]
    }

    fn open(link: &Link, request: &X11Request, owner: Option<&Account>) -> io::Result<Self> {
        let (number, listeners) = allocate(request)?;
        let host = host_name();
        let mut folder = UserFolder::new()?;
        let authority = folder.write("xauthority", entries(&host, number, request)?.expose())?;
        folder.give(&authority, owner)?;
        let host =
            if request.displays.localhost { "localhost".into() } else { String::from_utf8_lossy(&host) };
        let display = Self {
            name: format!("{host}:{number}.{}", request.screen),
            authority,
            _folder: folder,
            listeners: listeners.into(),
            programs: Arc::new(Programs::new(request.single_connection)),
        };
        for at in 0..display.listeners.len() {
            let (listeners, programs) = (Arc::clone(&display.listeners), Arc::clone(&display.programs));
            let link = link.clone();
            spawn("feramiko x11 display", move || accept(&link, &programs, &listeners, at))?;
        }
        Ok(display)
    }
}

impl Drop for X11Display {
    fn drop(&mut self) {
        // First: who is woken by the other looks.
        self.programs.cut();
        self.listeners.iter().for_each(shut_listener);
    }
}

/// The display's cookie as programs look it up: here Xlib asks for the host's name, at another address for
/// that.
fn entries(host: &[u8], number: u16, request: &X11Request) -> io::Result<Secret> {
    let mut file = Secret::new(Vec::new());
    for address in [Address::Local(host.to_vec()), Address::Wild] {
        let entry = Entry { address, number, cookie: request.cookie.clone() };
        let encoded = entry.encode().ok_or_else(|| io::Error::other("the host's name is too long"))?;
        file = Secret::new([file.expose(), encoded.expose()].concat());
    }
    Ok(file)
}

/// Takes the first display that is free for both families of addresses: were one left, another user could
/// listen there and be shown cookies.
fn allocate(request: &X11Request) -> io::Result<(u16, Vec<TcpListener>)> {
    let addresses: [IpAddr; 2] = if request.displays.localhost {
        [Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]
    } else {
        [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()]
    };
    for number in (request.displays.offset..).take(DISPLAYS.into()) {
        let Some(port) = BASE_PORT.checked_add(number) else { break };
        let bound = addresses.iter().map(|address| listen(SocketAddr::new(*address, port), BACKLOG));
        let (listeners, failed): (Vec<_>, Vec<_>) = bound.partition(io::Result::is_ok);
        let failed: Vec<_> = failed.into_iter().filter_map(io::Result::err).collect();
        if failed.iter().any(|error| error.kind() == io::ErrorKind::AddrInUse) {
            continue;
        }
        return match failed.into_iter().find(|error| listeners.is_empty() || !no_such_family(error)) {
            Some(error) => Err(error),
            None => Ok((number, listeners.into_iter().flatten().collect())),
        };
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "no display is free to forward X11"))
}

/// Accepts connections of programs until the listeners are shut.
fn accept(link: &Link, programs: &Arc<Programs>, listeners: &[TcpListener], at: usize) {
    let Some(listener) = listeners.get(at) else { return };
    loop {
        let accepted = listener.accept();
        if programs.take_no_more(accepted.is_ok()) {
            return;
        }
        let done = accepted.and_then(|(stream, from)| serve(link, programs, stream, from));
        if let Err(error) = done {
            log::warn!(target: "feramiko::x11", "a program's connection is not forwarded: {error}");
            std::thread::sleep(BREATH);
        }
        if programs.single && programs.used.load(Ordering::SeqCst) {
            // No more come; the one that came goes on.
            listeners.iter().for_each(shut_listener);
            return;
        }
    }
}

/// Joins a connection of a program to a channel of the client's, on a thread of its own.
fn serve(link: &Link, programs: &Arc<Programs>, stream: impl Stream, from: SocketAddr) -> io::Result<()> {
    let stream = Box::new(stream).split()?;
    let mut rest = string_of(from.ip().to_canonical().to_string().as_bytes());
    rest.put(&u32::from(from.port()));
    let channel = link.begin_open(CHANNEL, &rest)?;
    programs.add(&channel)?;
    let (there, id) = (Arc::clone(programs), channel.id());
    let started = spawn("feramiko x11 program", move || {
        let opened = channel.wait_open(Instant::now().checked_add(OPEN)).map_err(io::Error::from);
        if let Err(error) = opened.and_then(|()| relay::join(&Channel::new(channel), stream)) {
            log::debug!(target: "feramiko::x11", "a program's connection ends: {error}");
        }
        there.forget(id);
    });
    started.map(drop).map_err(|error| {
        programs.forget(id);
        error.into()
    })
}

impl Session {
    /// A display for the session's programs, where the client has asked to forward X11 and it was granted;
    /// [`run_as_login`](Self::run_as_login) makes one itself. To be kept as long as the session runs.
    ///
    /// # Errors
    /// What the system says; `AddrInUse` when no display is free.
    pub fn x11(&self) -> io::Result<Option<X11Display>> {
        self.display(None)
    }

    /// The same, for the programs of an account.
    pub(super) fn x11_of(&self, owner: &Account) -> io::Result<Option<X11Display>> {
        self.display(Some(owner))
    }

    fn display(&self, owner: Option<&Account>) -> io::Result<Option<X11Display>> {
        let request = self.request().x11.as_ref();
        request.map(|request| X11Display::open(self.channel().link().link(), request, owner)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::soon;
    use super::*;
    use crate::engine::Bare;
    use crate::interface::X11Displays;
    use crate::kex::Role;
    use crate::x11::Cookie;
    use std::net::TcpStream;

    fn request(offset: u16) -> X11Request {
        let displays = X11Displays { offset, localhost: true };
        X11Request { single_connection: false, screen: 0, cookie: Cookie::random().unwrap(), displays }
    }

    /// A display of which somebody else has one half is no display.
    #[test]
    fn displays_are_free_for_both_families() {
        let half = |address: IpAddr, number| listen(SocketAddr::new(address, BASE_PORT + number), 1);
        // Other processes may have some.
        let (offset, taken) = (300..)
            .step_by(2)
            .find_map(|number| {
                let first = half(Ipv4Addr::LOCALHOST.into(), number).ok()?;
                Some((number, [first, half(Ipv6Addr::LOCALHOST.into(), number + 1).ok()?]))
            })
            .unwrap();
        let (number, listeners) = allocate(&request(offset)).unwrap();
        assert!(number >= offset + 2, "{number}");
        assert_eq!(listeners.len(), 2);
        drop(taken);
        // There is no port for a higher one.
        let last = u16::MAX - BASE_PORT;
        let _held = allocate(&request(last));
        assert_eq!(allocate(&request(last)).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn programs_are_counted_and_cut_off_though_the_client_opens_nothing() {
        let client = Bare::new(Role::Server).unwrap();
        let display = X11Display::open(client.link(), &request(400), None).unwrap();
        let number = display.listeners[0].local_addr().unwrap().port() - BASE_PORT;
        let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, BASE_PORT + number)).unwrap();
        let there = Arc::clone(&display.programs);
        let waiting = || there.channels.lock().as_ref().map(HashMap::len);
        let mut programs = Vec::new();
        for count in 1..=CONNECTIONS {
            programs.push(connect());
            soon("it waits", || waiting() == Some(count));
        }
        let cut = |mut program: TcpStream| {
            let read = io::Read::read(&mut program, &mut [0]);
            read.map_or_else(|error| error.kind() == io::ErrorKind::ConnectionReset, |count| count == 0)
        };
        assert!(cut(connect()), "one too many");
        assert_eq!(waiting(), Some(CONNECTIONS));
        drop(display);
        assert!(programs.into_iter().all(cut));
        soon("no thread holds them", || Arc::strong_count(&there) == 1);
    }

    #[test]
    fn a_program_that_is_not_accepted_keeps_no_other_out() {
        let client = Bare::new(Role::Server).unwrap();
        let display = X11Display::open(client.link(), &request(500), None).unwrap();
        let address = display.listeners.iter().map(|listener| listener.local_addr().unwrap());
        let address = address.into_iter().find(SocketAddr::is_ipv4).unwrap();
        // From the second on there is nobody to accept at first, which is an error then.
        display.listeners.iter().for_each(|listener| listener.set_nonblocking(true).unwrap());
        let mut programs = Vec::new();
        for count in 1..4 {
            programs.push(TcpStream::connect(address).unwrap());
            soon("it is forwarded", || client.link().channels().len() == count);
        }
        let there = Arc::clone(&display.programs);
        drop(display);
        soon("no thread holds them", || Arc::strong_count(&there) == 1);
    }
}
