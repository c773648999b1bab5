//! `SCPServer`: is the `scp` that a client's scp starts, in this process. No shell reads the command.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use super::expected::{Expected, Pattern};
use super::local::{self, Place, to_bytes};
use super::options::Options;
use super::peer::Peer;
use super::remote::{NotScp, Request, Word, is_scp};
use super::sink::{Sink, Target};
use super::source::Source;
use crate::engine::ExitStatus;
use crate::error::{Error, Result};
use crate::sys::entry::Kind;
#[cfg(unix)]
use crate::sys::root::Root;
use crate::wire::Escaped;

/// What a pattern may stand for, at most.
const MAX_MATCHES: usize = 100_000;

/// Serves the commands `scp -t` and `scp -f` that old clients send, without a program of that name and
/// without a shell.
///
/// ```
/// use std::io;
/// use feramiko::*;
/// struct Files(SCPServer);
/// impl ServerInterface for Files {
///     fn check_auth_password(&self, user: &str, password: &Secret) -> AuthAnswer {
///         AuthAnswer::when(user == "robey" && password.matches("foo"))
///     }
///     fn check_channel_exec_request(&self, _: &SessionRequest, command: &[u8]) -> Answer {
///         Answer::when(SCPServer::is_for(command))
///     }
///     fn session(&self, session: Session) -> io::Result<ExitStatus> {
///         session.serve_scp(&self.0)
///     }
/// }
/// let files = Files(SCPServer::new("/srv/files").read_only(true));
/// ```
#[derive(Clone)]
pub struct SCPServer {
    root: Option<PathBuf>,
    read_only: bool,
    options: Options,
}

impl fmt::Debug for SCPServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SCPServer")
            .field("root", &self.root)
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

impl SCPServer {
    /// Serves what lies below a directory, and nothing else: paths begin there, neither `..` nor links lead
    /// out of it, and links at the end of a path and in directories that are copied are not followed.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: Some(root.into()), ..Self::unrestricted() }
    }

    /// Serves every file that the process may use, as the program `scp` does. Relative paths begin in its
    /// working directory, and links are followed.
    #[must_use]
    pub fn unrestricted() -> Self {
        Self { root: None, read_only: false, options: Options::default() }
    }

    /// Takes no files.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Moves no more than so many bytes in a second.
    #[must_use]
    pub fn bandwidth(mut self, bytes: Option<u64>) -> Self {
        self.options.bandwidth = bytes.map(|bytes| bytes.max(1));
        self
    }

    /// Whether a command is one for `scp`. Whether it can be followed is told when it is served.
    #[must_use]
    pub fn is_for(command: &[u8]) -> bool {
        is_scp(command)
    }

    /// Serves a command as a client's `exec` request has it. Quotes are read; what a shell would do besides
    /// (variables, several commands) is refused. Patterns in the paths of files to send stand for files
    /// below the root.
    ///
    /// # Errors
    /// [`Error::Protocol`] and [`Error::Limit`] when the client breaks the rules, [`Error::Io`] when the
    /// stream does. What else fails, the client is told, and the status is 1.
    pub fn serve(&self, command: &[u8], mut stream: impl Read + Write) -> Result<ExitStatus> {
        self.answer(Request::parse(command), &mut Peer::new(&mut stream, self.options.piece()))
    }

    /// Serves the arguments of a program that was started as `scp`.
    ///
    /// # Errors
    /// As [`serve`](Self::serve).
    pub fn serve_args(&self, args: &[impl AsRef<[u8]>], mut stream: impl Read + Write) -> Result<ExitStatus> {
        let words = args.iter().map(|word| Word { bytes: word.as_ref().to_vec(), pattern: None });
        self.answer(Request::from_words(words), &mut Peer::new(&mut stream, self.options.piece()))
    }

    fn answer(
        &self,
        request: std::result::Result<Request, NotScp>,
        peer: &mut Peer<'_>,
    ) -> Result<ExitStatus> {
        let served = match request {
            Ok(request) => self.follow(&request, peer),
            Err(refused) => {
                let error = io::Error::new(io::ErrorKind::Unsupported, refused.to_string());
                Err(peer.give_up(b"command", &error))
            }
        };
        match served {
            Ok(()) if peer.failed.count == 0 => Ok(ExitStatus::Code(0)),
            Ok(()) => Ok(ExitStatus::Code(1)),
            Err(Error::Scp(failed)) => {
                log::debug!(target: "feramiko::scp", "{failed}");
                Ok(ExitStatus::Code(1))
            }
            Err(error) => Err(error),
        }
    }

    fn follow(&self, request: &Request, peer: &mut Peer<'_>) -> Result<()> {
        let Request { recursive, preserve, directory, .. } = *request;
        let options = Options { recursive, preserve, directory, ..self.options.clone() };
        if request.receives {
            let path = request.paths.first().map(|word| word.bytes.as_slice()).unwrap_or_default();
            let target = if self.read_only {
                Err(io::ErrorKind::ReadOnlyFilesystem.into())
            } else {
                self.target(path, directory)
            };
            let target = target.map_err(|error| peer.give_up(path, &error))?;
            return Sink::new(peer, &options, &Expected::Anything).receive(target).map(|_| ());
        }
        let mut source = Source::start(peer, &options)?;
        for word in &request.paths {
            for path in self.names(word) {
                match self.source(&path) {
                    Ok((place, name)) => source.entry(&place, &name, 0)?,
                    Err(error) => source.missing(&path, &error)?,
                }
            }
        }
        source.finish()
    }

    fn target(&self, path: &[u8], directory: bool) -> io::Result<Target<'static>> {
        if self.root.is_none() {
            let path = if path.is_empty() { b"." } else { path };
            return local::target(&local::to_path(path)?, directory);
        }
        let (place, name) = self.below(path)?;
        let Some(name) = name else { return Ok(Target::Into(place)) };
        match place.stat(&name) {
            Ok(found) if found.kind == Kind::Directory => place.enter(&name).map(Target::Into),
            Ok(_) if directory || path.ends_with(b"/") => Err(io::ErrorKind::NotADirectory.into()),
            Err(error) if directory => Err(error),
            _ => Ok(Target::As(place, name)),
        }
    }

    fn source(&self, path: &[u8]) -> io::Result<(Place, OsString)> {
        if self.root.is_none() {
            return local::source(&local::to_path(path)?);
        }
        let (place, name) = self.below(path)?;
        let nameless = || local::text(io::ErrorKind::InvalidInput, "the directory has no name");
        Ok((place, name.ok_or_else(nameless)?))
    }

    /// The directory below the root in which a path ends, and its last component; none for a directory
    /// itself. Links on the way lead to what is below the root too.
    #[cfg(unix)]
    fn below(&self, path: &[u8]) -> io::Result<(Place, Option<OsString>)> {
        let root = Root::open(self.root.as_deref().ok_or(io::ErrorKind::NotFound)?)?;
        let found = root.place(if path.is_empty() { b"." } else { path })?;
        let mut shown = if path.starts_with(b"/") { path.to_vec() } else { [b"/", path].concat() };
        if found.name == "." {
            let place = Place { dir: found.dir, follow: false, shown }.enter(&found.name)?;
            return Ok((place, None));
        }
        let named = shown.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at.saturating_add(1));
        shown.truncate(named.saturating_sub(found.name.len()));
        Ok((Place { dir: found.dir, follow: false, shown }, Some(found.name)))
    }

    /// The same; no link is followed, so that `..` can be taken from the path itself.
    #[cfg(not(unix))]
    fn below(&self, path: &[u8]) -> io::Result<(Place, Option<OsString>)> {
        let mut names: Vec<&[u8]> = Vec::new();
        for name in path.split(|byte| *byte == b'/') {
            match name {
                b"" | b"." => {}
                b".." => drop(names.pop()),
                name => names.push(name),
            }
        }
        let mut place = local::directory(self.root.as_deref().ok_or(io::ErrorKind::NotFound)?)?;
        place.shown = b"/".to_vec();
        let last = names.pop().map(local::to_os).transpose()?;
        for name in names {
            place = place.enter(&local::to_os(name)?)?;
        }
        Ok((place, last))
    }

    /// What a word stands for: itself where nothing matches.
    fn names(&self, word: &Word) -> Vec<Vec<u8>> {
        let Some(raw) = word.pattern.as_deref().filter(|_| self.root.is_some()) else {
            return vec![word.bytes.clone()];
        };
        let mut found = vec![Vec::new()];
        for part in Pattern::components(raw) {
            let mut next = BTreeSet::new();
            for path in &found {
                let below = |name: &[u8]| [path.as_slice(), b"/", name].concat();
                if !part.is_magic() {
                    next.insert(below(&part.plain()));
                    continue;
                }
                let matches = self.list(path).into_iter().filter(|name| part.matches(name));
                next.extend(matches.map(|name| below(&name)).take(MAX_MATCHES));
            }
            found = next.into_iter().take(MAX_MATCHES).collect();
        }
        if found.is_empty() { vec![word.bytes.clone()] } else { found }
    }

    /// The names in a directory; none where there is none.
    fn list(&self, path: &[u8]) -> Vec<Vec<u8>> {
        let entries = self.below(path).and_then(|(place, name)| match name {
            Some(name) => place.enter(&name)?.dir.entries(),
            None => place.dir.entries(),
        });
        match entries {
            Ok(entries) => {
                entries.filter_map(|entry| Some(to_bytes(&entry.ok()?.0))).take(MAX_MATCHES).collect()
            }
            Err(error) => {
                log::debug!(target: "feramiko::scp", "{}: {error}", Escaped(path));
                Vec::new()
            }
        }
    }
}
