//! SFTP as a user of the machine has it: sshd_config(5)'s `internal-sftp`, in this process or in one of the
//! user's own.
//!
//! `serve` runs in that process, which has one thread and is the user already.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

use crate::sftp::{LocalServer, SFTPServer};
use crate::sys::user::Account;

/// Tells the process of a user that its client names links first.
const LINK_FIRST: &str = "--link-first";
/// The permissions that there are.
const MODES: u32 = 0o777;

/// The options of `internal-sftp`: `-R` (nothing is changed), `-d directory` (where it starts; `%d` is the home,
/// `%u` the name), `-P` and `-p` (requests that are refused, or the only ones granted), `-u umask`.
///
/// ```
/// use feramiko::FileService;
/// assert!(FileService::parse(["-R", "-d", "/srv/%u"]).is_ok());
/// assert!(FileService::parse(["-l", "VERBOSE"]).is_err(), "its log is the server's");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileService {
    read_only: bool,
    start: Option<String>,
    umask: Option<u32>,
    denied: Vec<String>,
    allowed: Vec<String>,
}

fn invalid(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text.into())
}

impl FileService {
    /// Reads the words behind `internal-sftp`.
    ///
    /// # Errors
    /// `InvalidInput` for what is not known or not built.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> io::Result<Self> {
        let mut this = Self::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            if word == "-R" {
                this.read_only = true;
                continue;
            }
            if !["-d", "-P", "-p", "-u"].contains(&word) {
                return Err(invalid(format!("internal-sftp: {} is not built", word.escape_debug())));
            }
            let value =
                words.next().ok_or_else(|| invalid(format!("internal-sftp: {word} needs a value")))?;
            let mut names = value.split(',').filter(|name| !name.is_empty()).map(str::to_owned).peekable();
            // An empty list of what is granted would grant all.
            if ["-P", "-p"].contains(&word) && names.peek().is_none() {
                return Err(invalid(format!("internal-sftp: {word} names no request")));
            }
            match word {
                "-P" => this.denied.extend(names),
                "-p" => this.allowed.extend(names),
                "-u" => {
                    let mask = u32::from_str_radix(value, 8).ok().filter(|mask| *mask <= MODES);
                    this.umask = Some(
                        mask.ok_or_else(|| invalid("internal-sftp: -u takes an octal number up to 777"))?,
                    );
                }
                _ => this.start = Some(value.to_owned()),
            }
        }
        // What is wrong with them is said now, not when somebody comes.
        this.check_names()?;
        this.start.as_deref().map(|start| expanded(start, "", "")).transpose()?;
        Ok(this)
    }

    /// Looks whether the names of requests are known.
    fn check_names(&self) -> io::Result<()> {
        let unknown = |name: &&String| !SFTPServer::request_names().any(|known| known == *name);
        match self.denied.iter().chain(&self.allowed).find(unknown) {
            Some(name) => Err(invalid(format!("internal-sftp: there is no request {}", name.escape_debug()))),
            None => Ok(()),
        }
    }

    /// Only a process of its own can have one.
    pub(super) fn has_umask(&self) -> bool {
        self.umask.is_some()
    }

    pub(super) fn umask(&self) -> Option<u16> {
        self.umask.and_then(|umask| u16::try_from(umask).ok())
    }

    /// A server in this process, of the user that we are.
    pub(super) fn server(&self, account: &Account) -> io::Result<SFTPServer> {
        self.over(self.start(account)?)
    }

    /// Where a user's paths begin.
    pub(super) fn start(&self, account: &Account) -> io::Result<PathBuf> {
        let start = self.start.as_deref().unwrap_or_default();
        Ok(account.home.join(expanded(start, &account.home.to_string_lossy(), &account.name)?))
    }

    fn over(&self, start: PathBuf) -> io::Result<SFTPServer> {
        let mut server = SFTPServer::new(LocalServer::starting_in(start)?).read_only(self.read_only);
        if !self.denied.is_empty() {
            server = server.deny(self.denied.iter().map(String::as_str))?;
        }
        if !self.allowed.is_empty() {
            server = server.allow(self.allowed.iter().map(String::as_str))?;
        }
        Ok(server)
    }

    /// What the user's own process is told.
    pub(super) fn words(&self, link_first: bool) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        words.extend(self.read_only.then(|| "-R".into()));
        for (letter, names) in [("-P", &self.denied), ("-p", &self.allowed)] {
            if !names.is_empty() {
                words.extend([letter.into(), names.join(",").into()]);
            }
        }
        words.extend(link_first.then(|| LINK_FIRST.into()));
        words
    }
}

/// A directory as `-d` has it.
fn expanded(start: &str, home: &str, user: &str) -> io::Result<String> {
    let (mut path, mut letters) = (String::new(), start.chars());
    while let Some(letter) = letters.next() {
        match (letter, if letter == '%' { letters.next() } else { None }) {
            ('%', Some('d')) => path += home,
            ('%', Some('u')) => path += user,
            ('%', Some('%')) => path.push('%'),
            ('%', _) => {
                return Err(invalid(format!(
                    "internal-sftp: -d {}: only %d, %u and %% are known",
                    start.escape_debug()
                )));
            }
            _ => path.push(letter),
        }
    }
    Ok(path)
}

/// Serves on standard input and output, in the directory that this process started in; its exit status.
pub(super) fn serve(words: &[OsString]) -> i32 {
    let served = || {
        let text = |word: &OsString| word.to_str().map(str::to_owned).ok_or_else(|| invalid("not UTF-8"));
        let words = words.iter().map(text).collect::<io::Result<Vec<_>>>()?;
        let link_first = words.iter().any(|word| word == LINK_FIRST);
        let options = words.iter().map(String::as_str).filter(|word| *word != LINK_FIRST);
        let service = FileService::parse(options)?;
        let server = service.over(".".into())?.link_first(link_first);
        // Without the buffers of std, which look for the ends of lines.
        let own = |fd: io::Result<_>| fd.map(File::from);
        let input = own(io::stdin().as_fd().try_clone_to_owned())?;
        let output = own(io::stdout().as_fd().try_clone_to_owned())?;
        server.serve(input, output)
    };
    match served() {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("internal-sftp: {error}");
            1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        let parse =
            |line: &str| FileService::parse(line.split_whitespace()).map_err(|error| error.to_string());
        let service = parse("-R -d /srv/%u -P remove,rename -p read -u 027").unwrap();
        assert_eq!((service.read_only, service.umask()), (true, Some(0o027)));
        let account =
            Account { name: "robey".to_owned(), home: "/home/robey".into(), ..Account::current().unwrap() };
        assert_eq!(service.words(true), ["-R", "-P", "remove,rename", "-p", "read", "--link-first"]);
        assert_eq!(service.start(&account).unwrap(), PathBuf::from("/srv/robey"));
        assert_eq!(parse("-d up").unwrap().start(&account).unwrap(), PathBuf::from("/home/robey/up"));
        assert_eq!(parse(""), Ok(FileService::default()));
        for bad in
            ["-l INFO", "-f AUTH", "-x", "x", "-d", "-u 8", "-u 1000", "-P no-such", "-p ,", "-d %x", "-d %"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(expanded("%d/%u%%", "/h", "u").unwrap(), "/h/u%");
    }
}
