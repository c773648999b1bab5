//! Named pipes of Windows: that of OpenSSH's service, Pageant's, and what `SSH_AUTH_SOCK` names.
//!
//! Pipes of other machines are not opened: that would tell them who we are. The one who made the pipe
//! must be trusted, and may not act in our name.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::ERROR_PIPE_BUSY;
use windows_sys::Win32::Storage::FileSystem::{FILE_FLAG_OVERLAPPED, SECURITY_IDENTIFICATION};

use super::{Connection, Endpoint, pageant};
use crate::crypto::hash::HashAlg;
use crate::wire::string_of;

/// The pipe of OpenSSH's service.
pub(super) const OPENSSH: &str = r"\\.\pipe\openssh-ssh-agent";
/// How the pipes of this machine begin.
const LOCAL: &str = r"\\.\pipe\";

/// The pipe at a path.
#[derive(Debug)]
pub(super) struct Pipe(pub(super) PathBuf);

impl Endpoint for Pipe {
    fn connect(&self, timeout: Duration) -> io::Result<Box<dyn Connection>> {
        let line = open(&self.0, timeout)?;
        // Administrators run the service, and could read our memory anyway.
        match pageant::owner(&line.0)? {
            pageant::Owner::Us | pageant::Owner::System => Ok(Box::new(line)),
            pageant::Owner::Other => Err(stranger(&self.0)),
        }
    }
}

/// Pageant's pipe.
#[derive(Debug)]
pub(super) struct Pageant;

impl Endpoint for Pageant {
    fn connect(&self, timeout: Duration) -> io::Result<Box<dyn Connection>> {
        let path = pageant_path()?;
        let line = open(&path, timeout)?;
        match pageant::owner(&line.0)? {
            pageant::Owner::Us => Ok(Box::new(line)),
            pageant::Owner::System | pageant::Owner::Other => Err(stranger(&path)),
        }
    }
}

fn stranger(path: &Path) -> io::Error {
    let text = format!("{} is the pipe of another user", path.display());
    io::Error::new(io::ErrorKind::PermissionDenied, text)
}

/// Where Pageant listens, as PuTTY's `agent_named_pipe_name` has it: what tells one user's pipe from
/// another's is a hash of `Pageant`, padded, and encrypted with a key of the system's.
fn pageant_path() -> io::Result<PathBuf> {
    let mut name = *b"Pageant\0\0\0\0\0\0\0\0\0";
    pageant::protect(&mut name);
    let hash = HashAlg::Sha256.digest(&[&string_of(&name)]).map_err(io::Error::other)?;
    let suffix: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{LOCAL}pageant.{}.{suffix}", pageant::user_name()?).into())
}

/// The path with backslashes, if it is that of a pipe of this machine.
fn local(path: &Path) -> io::Result<PathBuf> {
    let text = path.to_str().unwrap_or_default().replace('/', r"\");
    match text.get(..LOCAL.len()) {
        Some(begin) if begin.eq_ignore_ascii_case(LOCAL) => Ok(text.into()),
        _ => {
            let text = format!("{} is no named pipe of this machine", path.display());
            Err(io::Error::new(io::ErrorKind::Unsupported, text))
        }
    }
}

/// Opens a pipe. While others have all its ends, it waits, at most for `timeout`.
fn open(path: &Path, timeout: Duration) -> io::Result<Line> {
    let path = local(path)?;
    let deadline = Instant::now().checked_add(timeout);
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options.custom_flags(FILE_FLAG_OVERLAPPED).security_qos_flags(SECURITY_IDENTIFICATION);
    loop {
        match options.open(&path) {
            Ok(file) => return Ok(Line(file)),
            Err(error) if code(&error) == Some(ERROR_PIPE_BUSY) => pageant::wait_free(&path, deadline)?,
            Err(error) => return Err(error),
        }
    }
}

/// The system's number of an error.
fn code(error: &io::Error) -> Option<u32> {
    error.raw_os_error().map(i32::cast_unsigned)
}

/// An end of a pipe whose calls do not wait by themselves: std's must not be used on it.
struct Line(File);

impl Connection for Line {
    fn read(&mut self, buf: &mut [u8], deadline: Option<Instant>) -> io::Result<usize> {
        pageant::read(&self.0, buf, deadline)
    }

    fn write(&mut self, bytes: &[u8], deadline: Option<Instant>) -> io::Result<usize> {
        pageant::write(&self.0, bytes, deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_of_this_machine_only() {
        for good in [OPENSSH, "//./pipe/openssh-ssh-agent", r"\\.\PIPE\mine"] {
            assert!(local(Path::new(good)).unwrap().to_str().unwrap().starts_with(r"\\.\"), "{good}");
        }
        for bad in [r"\\other\pipe\openssh-ssh-agent", "C:/Temp/agent.1", "/tmp/agent.1", r"\\.\pip", "", "ä"]
        {
            assert_eq!(local(Path::new(bad)).unwrap_err().kind(), io::ErrorKind::Unsupported, "{bad}");
        }
    }

    #[test]
    fn a_pipe_that_is_not_there() {
        let endpoint = Pipe(r"\\.\pipe\feramiko-nobody".into());
        let error = endpoint.connect(Duration::from_secs(1)).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn pageants_name_stays_the_same() {
        let path = pageant_path().unwrap();
        assert_eq!(path, pageant_path().unwrap());
        let name = path.to_str().unwrap().strip_prefix(r"\\.\pipe\pageant.").unwrap();
        let (user, hash) = name.rsplit_once('.').unwrap();
        assert!(!user.is_empty() && !user.contains('@'));
        assert!(hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}
