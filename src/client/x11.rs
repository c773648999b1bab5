//! X11 forwarding for clients, RFC 4254 §6.3 and ssh(1) `-X` and `-Y`: a cookie is made up for the server;
//! who shows it on a channel is joined to the user's display, with the display's own cookie instead.
//!
//! Asked for on the caller's thread; each connection runs on a thread that the engine starts.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::display;
use crate::channel::Channel;
use crate::crypto::secret::Secret;
use crate::engine::{ChannelLink, Lane, Link, OpenRequest};
use crate::error::{Error, Result};
use crate::forward::relay;
use crate::wire::{Escaped, Malformed, Reader, Writer};
use crate::x11::{Cookie, Display, FirstPacket, HEADER, PROTOCOL};

/// The request, and the channels that follow it.
pub(crate) const REQUEST: &str = "x11-req";
pub(crate) const CHANNEL: &str = "x11";

/// Connections of programs at once. A browser has about ten; each takes three threads.
const CONNECTIONS: usize = 64;

/// Time for a program's first packet, which every client of X sends at once; X servers wait as long.
const FIRST: Duration = Duration::from_secs(60);

/// As ssh_config(5) ForwardX11Timeout.
const TIMEOUT: Duration = Duration::from_secs(20 * 60);

/// How X11 is forwarded, and to which display. Untrusted unless told otherwise: programs of the server then
/// see and do what the X server's SECURITY extension lets them.
#[derive(Debug, Clone)]
pub struct X11Options {
    pub(super) display: Display,
    pub(super) trusted: bool,
    single_connection: bool,
    pub(super) timeout: Option<Duration>,
    pub(super) authority: Option<PathBuf>,
    pub(super) xauth: PathBuf,
}

impl X11Options {
    /// To a display by its name: `:0`, `host:10.0`, the path of a socket.
    ///
    /// # Errors
    /// [`Error::Io`] with `InvalidInput` when that is no display's name.
    pub fn new(display: &str) -> Result<Self> {
        let read = Display::parse(display).ok_or_else(|| {
            let text = format!("{} is no display's name", Escaped(display.as_bytes()));
            Error::io("forwarding X11", io::Error::new(io::ErrorKind::InvalidInput, text))
        })?;
        Ok(Self {
            display: read,
            trusted: false,
            single_connection: false,
            timeout: Some(TIMEOUT),
            authority: None,
            xauth: "xauth".into(),
        })
    }

    /// To the display that `DISPLAY` names.
    ///
    /// # Errors
    /// As [`new`](Self::new); [`Error::Misuse`] when it names none.
    pub fn from_env() -> Result<Self> {
        Self::new(&std::env::var("DISPLAY").map_err(|_| Error::Misuse("DISPLAY is not set"))?)
    }

    /// Whether programs of the server may do all that programs of the user may, such as reading what is
    /// typed into others.
    #[must_use]
    pub fn trusted(mut self, trusted: bool) -> Self {
        self.trusted = trusted;
        self
    }

    /// Whether one connection is forwarded and no more.
    #[must_use]
    pub fn single_connection(mut self, single: bool) -> Self {
        self.single_connection = single;
        self
    }

    /// How long new connections of untrusted programs are taken after the request; none: for ever. 20
    /// minutes unless told otherwise.
    #[must_use]
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout.filter(|timeout| !timeout.is_zero());
        self
    }

    /// The file with the display's cookie; what `XAUTHORITY` names, or `~/.Xauthority`, unless told.
    #[must_use]
    pub fn authority(mut self, path: impl Into<PathBuf>) -> Self {
        self.authority = Some(path.into());
        self
    }

    /// The program `xauth`, which makes cookies for untrusted programs; looked for in `PATH` unless told.
    #[must_use]
    pub fn xauth_location(mut self, path: impl Into<PathBuf>) -> Self {
        self.xauth = path.into();
        self
    }
}

/// One request that was made.
struct Forward {
    options: X11Options,
    made_up: Cookie,
    /// None for a display that asks for no cookie.
    real: Option<Cookie>,
    /// No new connections from then on.
    until: Option<Instant>,
    used: AtomicBool,
    session_closed: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Forward {
    fn takes_more(&self) -> bool {
        let used = self.options.single_connection && self.used.load(Ordering::SeqCst);
        let late = self.until.is_some_and(|until| Instant::now() >= until);
        !used && !late && !(self.session_closed)()
    }

    /// Whether this connection is taken, now that it has shown the cookie.
    fn takes(&self) -> bool {
        self.takes_more() && !(self.used.swap(true, Ordering::SeqCst) && self.options.single_connection)
    }
}

/// The requests of a connection: its sessions may go to several displays.
#[derive(Default)]
struct Forwards(Mutex<Vec<Arc<Forward>>>);

impl Forwards {
    /// Those whose session still runs.
    fn live(&self) -> Vec<Arc<Forward>> {
        let mut all = self.0.lock();
        all.retain(|forward| !(forward.session_closed)());
        all.clone()
    }

    /// Whose cookie it is. All are compared.
    fn with(&self, cookie: &Cookie) -> Option<Arc<Forward>> {
        self.live().into_iter().filter(|forward| forward.made_up == *cookie).last()
    }
}

impl Channel {
    /// Lets programs of the session use a display here: to be asked before the command or the shell is
    /// started. Connections are taken as long as the session runs. On UNIX only.
    ///
    /// ```no_run
    /// use feramiko::{SSHClient, X11Options};
    /// let session = SSHClient::connect("build.example.org")?.open_session()?;
    /// session.request_x11(&X11Options::from_env()?.trusted(true))?;
    /// session.exec_command("xclock")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::RequestRefused`] when the server does not forward X11, [`Error::Io`] when no cookie for
    /// untrusted programs can be had.
    pub fn request_x11(&self, options: &X11Options) -> Result<()> {
        let real = display::cookie(options)?;
        let made_up = Cookie::random()?;
        let mut rest = Vec::new();
        rest.put(&options.single_connection)
            .put(PROTOCOL)
            .put(made_up.to_hex().expose())
            .put(&options.display.screen);
        let timeout = options.timeout.filter(|_| !options.trusted);
        let forward = Arc::new(Forward {
            options: options.clone(),
            made_up,
            real,
            until: timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            used: AtomicBool::new(false),
            session_closed: Box::new(self.watch_closed()),
        });
        let link = self.link().link();
        let forwards = link.companion::<Forwards>();
        forwards.0.lock().push(Arc::clone(&forward));
        let serving = Arc::clone(&forwards);
        let run = move |request: OpenRequest, link: &Link| serve(&serving, request, link);
        link.take_channels(CHANNEL, CONNECTIONS, run, || self.ask(REQUEST, &rest)).inspect_err(|_| {
            forwards.0.lock().retain(|known| !Arc::ptr_eq(known, &forward));
        })
    }
}

/// Where a connection comes from, as the server says.
fn originator(rest: &[u8]) -> std::result::Result<String, Malformed> {
    let mut reader = Reader::new(rest);
    let (address, port) = (reader.get::<Escaped<'_>>()?, reader.get::<u32>()?);
    reader.finish()?;
    Ok(format!("{address} port {port}"))
}

/// Serves a connection of a program, to its end.
fn serve(forwards: &Forwards, request: OpenRequest, link: &Link) -> Option<ChannelLink> {
    let from = match originator(&request.rest) {
        Ok(from) => from,
        Err(error) => {
            log::warn!(target: "feramiko::x11", "an X11 connection is refused: its request {error}");
            return None;
        }
    };
    if !forwards.live().iter().any(|forward| forward.takes_more()) {
        log::warn!(target: "feramiko::x11", "an X11 connection from {from} is refused: too late, or one too many");
        return None;
    }
    log::debug!(target: "feramiko::x11", "an X11 connection from {from}");
    let channel = Channel::new(request.accept(link)?);
    if let Err(error) = join(forwards, &channel) {
        log::warn!(target: "feramiko::x11", "an X11 connection from {from} ends: {error}");
    }
    Some(channel.link().clone())
}

/// Joins a channel to the display whose made-up cookie it shows. No display is connected to before.
fn join(forwards: &Forwards, channel: &Channel) -> io::Result<()> {
    let first = first_packet(channel, Instant::now().checked_add(FIRST))?;
    let forward = forwards.with(first.cookie()).ok_or_else(|| refused("wrong cookie"))?;
    if !forward.takes() {
        return Err(refused("too late, or one too many"));
    }
    let mut stream = display::connect(&forward.options.display)?;
    let deadline = Instant::now().checked_add(FIRST);
    stream.write.write_all(first.with(forward.real.as_ref()).expose(), deadline)?;
    relay::join(channel, stream)
}

fn refused(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, text)
}

/// Reads the first packet of a program; nothing of what follows.
fn first_packet(channel: &Channel, deadline: Option<Instant>) -> io::Result<FirstPacket> {
    let read = |piece: &mut [u8]| -> io::Result<()> {
        let mut filled = 0;
        while let Some(left) = piece.get_mut(filled..).filter(|left| !left.is_empty()) {
            match channel.link().read(Lane::Data, left, deadline)? {
                0 => return Err(refused("it ends inside its first packet")),
                count => filled = filled.saturating_add(count),
            }
        }
        Ok(())
    };
    let mut header = [0; HEADER];
    read(&mut header)?;
    let other = |_| refused("another authorization, or no X11");
    let mut packet = header.to_vec();
    packet.resize(HEADER.saturating_add(FirstPacket::rest(header).map_err(other)?), 0);
    read(packet.get_mut(HEADER..).unwrap_or_default())?;
    FirstPacket::parse(Secret::new(packet).expose()).map_err(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Bare;
    use crate::kex::Role;
    use crate::wire::string_of;

    #[test]
    fn originators_are_read_whole() {
        let whole = [string_of(b"127.0.0.1\n"), 4711_u32.to_be_bytes().to_vec()].concat();
        assert_eq!(originator(&whole).unwrap(), "127.0.0.1\\n port 4711");
        for length in 0..whole.len() {
            assert!(originator(&whole[..length]).is_err());
        }
        assert!(originator(&[&whole[..], b"x"].concat()).is_err());
    }

    #[test]
    fn only_names_of_displays_are_displays() {
        assert!(X11Options::new(":0").is_ok());
        let error = X11Options::new("$(id)\n:0").unwrap_err().to_string();
        assert_eq!(error, "forwarding X11: $(id)\\n:0 is no display's name");
    }

    #[test]
    fn who_sends_no_first_packet_is_not_waited_for() {
        let bare = Bare::new(Role::Client).unwrap();
        let channel = Channel::new(bare.link().begin_open(CHANNEL, b"").unwrap());
        let late = first_packet(&channel, Some(Instant::now()));
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn connections_are_taken_once_in_time_and_while_the_session_runs() {
        let closed = Arc::new(AtomicBool::new(false));
        let forward = |single, until| {
            let closed = Arc::clone(&closed);
            Forward {
                options: X11Options::new(":0").unwrap().single_connection(single),
                made_up: Cookie::random().unwrap(),
                real: None,
                until,
                used: AtomicBool::new(false),
                session_closed: Box::new(move || closed.load(Ordering::SeqCst)),
            }
        };
        let (single, many) = (forward(true, None), forward(false, None));
        assert!(single.takes_more() && single.takes() && !single.takes_more() && !single.takes());
        assert!(many.takes() && many.takes());
        assert!(!forward(false, Some(Instant::now())).takes());
        let forwards = Forwards(Mutex::new(vec![Arc::new(single), Arc::new(many)]));
        let all = forwards.live();
        for forward in &all {
            assert!(Arc::ptr_eq(&forwards.with(&forward.made_up).unwrap(), forward));
        }
        assert!(forwards.with(&Cookie::random().unwrap()).is_none());
        closed.store(true, Ordering::SeqCst);
        assert!(!all.iter().any(|forward| forward.takes()));
        assert!(forwards.with(&all[0].made_up).is_none() && forwards.0.lock().is_empty());
    }
}
