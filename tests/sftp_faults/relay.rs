//! A server in this process, behind a relay that ends after so many bytes.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use feramiko::{LocalServer, Result, SFTPClient, SFTPServer};

use super::peers::{SFTP_SERVER, sftp_server};

/// Whose server it is: ours has `check-file`, OpenSSH's has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    Ours,
    OpenSsh,
}

impl Whose {
    /// Whether it is on this machine.
    pub(crate) fn is_here(self) -> bool {
        self == Self::Ours || sftp_server().is_some()
    }

    /// Those that are on this machine.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        [Self::Ours, Self::OpenSsh].into_iter().filter(|whose| whose.is_here())
    }
}

/// Starts a server on its end of a stream. It ends with the stream.
fn start(whose: Whose, stream: UnixStream) {
    match whose {
        Whose::Ours => {
            thread::spawn(move || {
                let write = stream.try_clone().unwrap();
                let server = SFTPServer::new(LocalServer::new().unwrap());
                let _ = server.serve(&stream, write);
                let _ = stream.shutdown(Shutdown::Both);
            });
        }
        Whose::OpenSsh => {
            let mut child = Command::new(SFTP_SERVER)
                .stdin(Stdio::from(OwnedFd::from(stream.try_clone().unwrap())))
                .stdout(Stdio::from(OwnedFd::from(stream)))
                .spawn()
                .unwrap();
            thread::spawn(move || child.wait());
        }
    }
}

/// A client of that server.
pub(crate) fn client(whose: Whose) -> SFTPClient {
    let (near, far) = UnixStream::pair().unwrap();
    start(whose, far);
    SFTPClient::over(near).unwrap()
}

/// The same, whose connection ends when so many bytes have gone one way, of those behind the hello.
pub(crate) fn cut(whose: Whose, down: usize, up: usize) -> Result<SFTPClient> {
    relayed(whose, down, up, || 0)
}

/// The same, that passes nothing for so long before it ends.
pub(crate) fn stalled(whose: Whose, down: usize, up: usize, still: Duration) -> SFTPClient {
    let wait = move || {
        thread::sleep(still);
        0
    };
    relayed(whose, down, up, wait).unwrap()
}

/// A client, and another that is stalled: the first goes no further than so many bytes before the other stands, so
/// that it can't have done the whole work by then.
pub(crate) fn other_stalled(whose: Whose, down: usize, up: usize, still: Duration) -> [SFTPClient; 2] {
    let stands = Arc::new(Barrier::new(2));
    let other_stands = stands.clone();
    let go_on = move || {
        other_stands.wait();
        usize::MAX
    };
    let stand = move || {
        stands.wait();
        thread::sleep(still);
        0
    };
    [relayed(whose, down, up, go_on).unwrap(), relayed(whose, down, up, stand).unwrap()]
}

/// When so many bytes have passed, `then` says how many more may: with none the connection ends.
fn relayed(
    whose: Whose,
    down: usize,
    up: usize,
    then: impl Fn() -> usize + Clone + Send + 'static,
) -> Result<SFTPClient> {
    let ((near, client_end), (server_end, far)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
    start(whose, far);
    for (from, to, most) in [(&client_end, &server_end, up), (&server_end, &client_end, down)] {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        let then = then.clone();
        thread::spawn(move || {
            // The hello and the limits are no part of it.
            let mut left = most.saturating_add(2048);
            let mut piece = vec![0; 64 * 1024];
            while left > 0 {
                let most = piece.len().min(left);
                match from.read(&mut piece[..most]) {
                    Ok(count) if count > 0 && to.write_all(&piece[..count]).is_ok() => left -= count,
                    _ => break,
                }
                if left == 0 {
                    left = then();
                }
            }
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    SFTPClient::over(near)
}

/// Bytes without a pattern, the same for the same `seed`.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ seed.wrapping_mul(0x2545_f491_4f6c_dd1d);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Two trees hold the same.
pub(crate) fn same(one: &Path, other: &Path) {
    let found = Command::new("diff").args(["-r", "--no-dereference"]).arg(one).arg(other).output().unwrap();
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stdout));
}
