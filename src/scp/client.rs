//! `SCPClient`: copies files by the protocol of rcp, for servers that have no SFTP.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::expected::Expected;
use super::failure::SCPError;
use super::local;
use super::options::{Options, SCPProgress};
use super::peer::{Duplex, Peer, broken};
use super::record::name_is_good;
use super::remote::quoted;
use super::sink::{Sink, Target};
use super::source::Source;
use crate::channel::Channel;
use crate::error::{Error, Result};
use crate::sftp::RemoteName;
use crate::transport::Transport;
use crate::wire::Escaped;

/// How long the other side may be silent until that is set: a tape may have to be found.
const TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// How long a command that has said all may take to end, and its last words to come.
const GOODBYE: Duration = Duration::from_secs(10);
/// What is read of a command's last words.
const LAST_WORDS: u64 = 4096;

type Opened = Box<dyn DuplexSend>;
type Own = dyn Fn(&[u8]) -> io::Result<Opened> + Send + Sync;

/// A stream both ways that another thread may use.
trait DuplexSend: Duplex + Send {}
impl<T: Duplex + Send> DuplexSend for T {}

/// How the other side is started.
#[derive(Clone)]
enum Start {
    Session(Transport),
    Own(Arc<Own>),
}

/// Copies files by the old protocol of scp, which a program of that name on the server speaks. SFTP does
/// all that it does, and better: this is for servers that have nothing else.
///
/// Every copy has a session of its own; a client may be shared by threads. What the server sends is held
/// against what was asked for: other names, names with directories in them, directories where none was
/// asked for, and names that come twice end the copy, and no link is followed that was not named here.
///
/// ```no_run
/// let client = feramiko::SSHClient::connect("old.example.org")?;
/// let scp = client.scp().preserve(true).progress(|file| eprintln!("{} {}/{}", file.name, file.done, file.total));
/// scp.get("/var/log/messages", "messages")?;
/// scp.clone().recursive(true).put("site", "/srv/www")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SCPClient {
    start: Start,
    options: Options,
    program: String,
    expands: bool,
    checks: bool,
    timeout: Option<Duration>,
}

impl fmt::Debug for SCPClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SCPClient").field("options", &self.options).finish_non_exhaustive()
    }
}

impl SCPClient {
    /// Copies over sessions of a connection.
    #[must_use]
    pub fn from_transport(transport: &Transport) -> Self {
        // Others are not known to read on before they have answered.
        let pipelined = transport.peer_version().contains("OpenSSH");
        Self::new(Start::Session(transport.clone()), pipelined)
    }

    /// Copies over whatever `start` gives for a command that the other side's shell is to run.
    pub fn over<S: Read + Write + Send + 'static>(
        start: impl Fn(&[u8]) -> io::Result<S> + Send + Sync + 'static,
    ) -> Self {
        let start = move |command: &[u8]| -> io::Result<Opened> { Ok(Box::new(start(command)?)) };
        Self::new(Start::Own(Arc::new(start)), false)
    }

    fn new(start: Start, pipelined: bool) -> Self {
        Self {
            start,
            options: Options { pipelined, ..Options::default() },
            program: "scp".to_owned(),
            expands: false,
            checks: true,
            timeout: Some(TIMEOUT),
        }
    }

    /// Copies directories with all that is in them.
    #[must_use]
    pub fn recursive(mut self, recursive: bool) -> Self {
        self.options.recursive = recursive;
        self
    }

    /// Keeps times and modes. Of files that come, bits beyond the permissions (setuid) are kept only where
    /// the file is the user's own.
    #[must_use]
    pub fn preserve(mut self, preserve: bool) -> Self {
        self.options.preserve = preserve;
        self
    }

    /// Is told how far each file is.
    #[must_use]
    pub fn progress(mut self, tell: impl Fn(&SCPProgress<'_>) + Send + Sync + 'static) -> Self {
        self.options.progress = Some(Arc::new(tell));
        self
    }

    /// Moves no more than so many bytes in a second.
    #[must_use]
    pub fn bandwidth(mut self, bytes: Option<u64>) -> Self {
        self.options.bandwidth = bytes.map(|bytes| bytes.max(1));
        self
    }

    /// Leaves remote paths to the server's shell as they are: it makes names of patterns, puts in its
    /// variables, and runs what the path tells it to run. Otherwise a path reaches `scp` exactly, `~` and `*`
    /// too. Names that come are then held against the pattern.
    #[must_use]
    pub fn expand(mut self, expand: bool) -> Self {
        self.expands = expand;
        self
    }

    /// Without it, the first names that come are not held against what was asked for. They stay in the
    /// target directory all the same, and may replace anything in it.
    #[must_use]
    pub fn check_names(mut self, check: bool) -> Self {
        self.checks = check;
        self
    }

    /// The target must be a directory.
    #[must_use]
    pub fn into_directory(mut self, directory: bool) -> Self {
        self.options.directory = directory;
        self
    }

    /// The server's program; `scp` until it is named.
    #[must_use]
    pub fn program(mut self, program: &str) -> Self {
        program.clone_into(&mut self.program);
        self
    }

    /// How long the other side may be silent; none for ever. An hour until it is set.
    #[must_use]
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout;
        self
    }

    /// How many files and directories one copy may bring; ten million until it is set.
    #[must_use]
    pub fn max_entries(mut self, count: u64) -> Self {
        self.options.max_entries = count;
        self
    }

    /// Copies a file of the server: into `local` if that is a directory, to that name otherwise.
    ///
    /// # Errors
    /// [`Error::Scp`] names what failed; what it does not name has arrived, unless the server gave up early.
    /// [`Error::Protocol`] when the server sends what was not asked for, [`Error::Io`] when the connection
    /// breaks; a file that was on its way is then shorter than it should be. [`Error::Timeout`],
    /// [`Error::Limit`], [`Error::ChannelRefused`], [`Error::RequestRefused`].
    pub fn get(&self, remote: impl AsRef<[u8]>, local: impl AsRef<Path>) -> Result<()> {
        let local = local.as_ref();
        let target = local::target(local, self.options.directory)
            .map_err(|error| failed(&local::to_bytes(local.as_os_str()), &error))?;
        self.receive(remote.as_ref(), target)
    }

    /// Copies a file of the server to a writer.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn getfo(&self, remote: impl AsRef<[u8]>, to: &mut dyn Write) -> Result<()> {
        self.receive(remote.as_ref(), Target::Writer(to))
    }

    fn receive(&self, remote: &[u8], target: Target<'_>) -> Result<()> {
        let expected = match (self.checks, self.expands) {
            (false, _) => Expected::Anything,
            (true, false) => Expected::last_of(remote),
            (true, true) => {
                Expected::of_shell(remote).ok_or(Error::Misuse("the pattern has too many braces"))?
            }
        };
        self.run("-f", remote, |peer| {
            let came = Sink::new(peer, &self.options, &expected).receive(target)?;
            if came || peer.failed.count > 0 { Ok(()) } else { Err(super::peer::lost()) }
        })
    }

    /// Copies a file or directory to the server: into `remote` if that is a directory there, to that name
    /// otherwise.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn put(&self, local: impl AsRef<Path>, remote: impl AsRef<[u8]>) -> Result<()> {
        self.put_all(&[local], remote)
    }

    /// Copies several files or directories in one session. With more than one, the target must be a
    /// directory.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn put_all(&self, local: &[impl AsRef<Path>], remote: impl AsRef<[u8]>) -> Result<()> {
        let mut this = self.clone();
        this.options.directory |= local.len() > 1;
        this.run("-t", remote.as_ref(), |peer| {
            let mut source = Source::start(peer, &self.options)?;
            for path in local.iter().map(AsRef::as_ref) {
                match local::source(path) {
                    Ok((place, name)) => source.entry(&place, &name, 0)?,
                    Err(error) => source.missing(&local::to_bytes(path.as_os_str()), &error)?,
                }
            }
            source.finish()
        })
    }

    /// Copies `size` bytes of a reader to a file on the server, which is made with the mode `mode`.
    ///
    /// # Errors
    /// As [`get`](Self::get); [`Error::Misuse`] when the path does not end in a file's name.
    pub fn putfo(&self, from: &mut dyn Read, size: u64, remote: impl AsRef<[u8]>, mode: u32) -> Result<()> {
        let remote = remote.as_ref();
        let name = remote.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        if !name_is_good(name) || i64::try_from(size).is_err() {
            return Err(Error::Misuse("the path does not end in the name of a file"));
        }
        let name = RemoteName::from(name);
        self.run("-t", remote, |peer| {
            let mut source = Source::start(peer, &self.options)?;
            source.data(from, size, mode, &name, name.as_bytes())?;
            source.finish()
        })
    }

    /// The command that starts the other side.
    fn command(&self, role: &str, path: &[u8]) -> Result<Vec<u8>> {
        if path.contains(&0) {
            return Err(Error::Misuse("a path has no NUL"));
        }
        let mut command = self.program.clone().into_bytes();
        let options = &self.options;
        for (given, letter) in [
            (options.recursive, " -r"),
            (options.preserve, " -p"),
            (options.directory && role == "-t", " -d"),
        ] {
            command.extend_from_slice(if given { letter.as_bytes() } else { b"" });
        }
        command.push(b' ');
        command.extend_from_slice(role.as_bytes());
        command.push(b' ');
        let path = if path.is_empty() { b"." } else { path };
        if path.starts_with(b"-") {
            command.extend_from_slice(b"-- ");
        }
        if self.expands {
            command.extend_from_slice(path);
        } else {
            command.extend_from_slice(&quoted(path));
        }
        Ok(command)
    }

    /// Starts the other side and copies.
    fn run(&self, role: &str, path: &[u8], copy: impl FnOnce(&mut Peer<'_>) -> Result<()>) -> Result<()> {
        let command = self.command(role, path)?;
        match &self.start {
            Start::Own(start) => {
                let mut stream = start(&command).map_err(|error| broken("starting the other side", error))?;
                self.talk(&mut stream, copy)
            }
            Start::Session(transport) => {
                let channel = transport.open_session()?;
                channel.set_read_timeout(self.timeout);
                channel.set_write_timeout(self.timeout);
                channel.exec_command(&command)?;
                let copied = self.talk(&mut &channel, copy);
                ended(&channel, copied)
            }
        }
    }

    fn talk(&self, stream: &mut dyn Duplex, copy: impl FnOnce(&mut Peer<'_>) -> Result<()>) -> Result<()> {
        let mut peer = Peer::new(stream, self.options.piece());
        copy(&mut peer)?;
        peer.outcome()
    }
}

fn failed(path: &[u8], error: &io::Error) -> Error {
    let mut failed = SCPError::default();
    failed.ours(path, error);
    Error::Scp(failed)
}

/// What a copy came to, and its command with it.
fn ended(channel: &Channel, copied: Result<()>) -> Result<()> {
    channel.shutdown(Shutdown::Write);
    // What ends before we have written what we say first, and what ends while we read.
    let early = match &copied {
        Err(Error::Closed(_)) => true,
        Err(Error::Io { source, .. }) => source.kind() == io::ErrorKind::UnexpectedEof,
        _ => false,
    };
    if copied.is_err() && !early {
        channel.close();
        return copied;
    }
    // The server's program has said that all is well; how it ends afterwards is told if it tells.
    channel.set_read_timeout(Some(GOODBYE));
    let status = channel.wait_exit(Some(GOODBYE)).ok();
    let bad = status.filter(|status| !status.success());
    let mut words = Vec::new();
    // What came is what there is.
    let _ = channel.stderr().take(LAST_WORDS).read_to_end(&mut words);
    let mut lines =
        words.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    lines.clone().for_each(|line| log::info!(target: "feramiko::scp", "the server says: {}", Escaped(line)));
    if let Some(last) = lines.next_back().filter(|_| early) {
        let mut failed = SCPError::default();
        failed.peer_says(last);
        return Err(Error::Scp(failed));
    }
    match (copied, bad) {
        (_, Some(status)) => Err(Error::Exit(status)),
        (copied, None) => copied,
    }
}
