//! The servers that our client is tried with, each in a folder of its own.

#![allow(dead_code, reason = "no test uses everything")]

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use feramiko::{Limits, PKey, SFTPClient, SSHClient};
use serde_json::json;

use super::given;
use super::peers::{Folder, Keys, Python, Server, our_sshd, sftp_server, sshd, user};

/// OpenSSH's server as a child, which ends with the client's stream.
pub(crate) struct Local {
    pub(crate) sftp: SFTPClient,
    child: Child,
    pub(crate) folder: Folder,
}

impl Local {
    pub(crate) fn start() -> Option<Self> {
        let program = sftp_server()?;
        let (ours, theirs) = UnixStream::pair().unwrap();
        let folder = Folder::new();
        let child = Command::new(program)
            .current_dir(folder.path())
            .stdin(Stdio::from(OwnedFd::from(theirs.try_clone().unwrap())))
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .unwrap();
        Some(Self { sftp: SFTPClient::over(ours).unwrap(), child, folder })
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.sftp.close();
        let _ = self.child.wait();
    }
}

/// What a server is kept alive by.
pub(crate) enum Kept {
    Child(Local),
    Remote(SSHClient, Server),
}

/// A server, and a folder that its client is in.
pub(crate) struct Served {
    pub(crate) sftp: SFTPClient,
    pub(crate) folder: Folder,
    kept: Kept,
}

impl Served {
    /// Another session of the same connection, where it has more than one; it stands where the server puts it.
    pub(crate) fn another(&self) -> Option<SFTPClient> {
        match &self.kept {
            Kept::Child(_) => None,
            Kept::Remote(client, _) => Some(client.open_sftp().unwrap()),
        }
    }
}

pub(crate) const NAMES: [&str; 5] = ["sftp-server", "internal-sftp", "asyncssh", "paramiko", "feramiko"];

/// That server, if it is on this machine.
pub(crate) fn serve(name: &'static str, limits: Limits) -> Option<Served> {
    let folder = Folder::new();
    let (sftp, kept) = if name == "sftp-server" {
        let local = Local::start()?;
        (local.sftp.clone(), Kept::Child(local))
    } else {
        let (host, own) = (Keys::named("host")?, Keys::named("user")?);
        let spec = json!({
            "user": user(), "password": "foo",
            "host_keys": host.all_private(), "authorized_keys": own.all_public(),
        });
        let server = match name {
            "internal-sftp" => sshd(&host, &own, "")?,
            "asyncssh" => Python::AsyncSsh.server(&spec)?,
            "paramiko" => Python::Paramiko.server(&spec)?,
            _ => our_sshd(&host, &own),
        };
        let client = given::client()
            .username(&user())
            .key(PKey::from_file(own.private("ed25519"), None).unwrap())
            .limits(limits)
            .connect(&format!("127.0.0.1:{}", server.port()))
            .unwrap();
        (client.open_sftp().unwrap(), Kept::Remote(client, server))
    };
    sftp.chdir(folder.path().to_str().unwrap()).unwrap();
    Some(Served { sftp, folder, kept })
}
