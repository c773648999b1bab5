//! Which hosts are believed: the files that sshd(8) names under "HostbasedAuthentication".

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use feramiko::{AuthAnswer, HostKeys, HostbasedClient, HostbasedRules};

use crate::support::given::{choice, yes};

/// No such file is larger.
const FILE: u64 = 1024 * 1024;

/// What is believed of hosts. The files are read at every login.
pub(crate) struct Hosts {
    /// HostbasedAuthentication: any are.
    pub(crate) believed: bool,
    /// HostbasedUsesNameFromPacketOnly: a host's name need not be one of the client's address.
    any_address: bool,
    /// For every user but root.
    equivalents: Vec<PathBuf>,
    /// In the user's home, unless IgnoreRhosts.
    own: &'static [&'static str],
    /// Keys of hosts for all users.
    known: PathBuf,
    /// IgnoreUserKnownHosts turned around.
    own_known: bool,
}

impl Default for Hosts {
    fn default() -> Self {
        Self {
            believed: false,
            any_address: false,
            equivalents: vec!["/etc/hosts.equiv".into(), "/etc/ssh/shosts.equiv".into()],
            own: &[],
            known: "/etc/ssh/ssh_known_hosts".into(),
            own_known: true,
        }
    }
}

impl Hosts {
    /// Takes an option, by its name in lower case, if it is one about hosts.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<bool, String> {
        match name {
            "hostbasedauthentication" => self.believed = yes(value)?,
            "hostbasedusesnamefrompacketonly" => self.any_address = yes(value)?,
            "ignorerhosts" => self.own = Self::own_files(value)?,
            "ignoreuserknownhosts" => self.own_known = !yes(value)?,
            "globalknownhostsfile" => self.known = value.into(),
            "shostsequivfile" => self.equivalents = vec![value.into()],
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The files of the home that are asked, by the value of IgnoreRhosts.
    fn own_files(value: &str) -> Result<&'static [&'static str], String> {
        choice(value, &[("yes", &[][..]), ("no", &[".rhosts", ".shosts"]), ("shosts-only", &[".shosts"])])
    }

    /// Whether a file lets the host say who its user is, and its key is known.
    pub(crate) fn judge(&self, user: &str, client: &HostbasedClient, address: Option<IpAddr>) -> AuthAnswer {
        if !self.any_address && !has_address(&client.host, address) {
            log::info!(target: "sshd", "{} is not the name of the client's address", client.host);
            return AuthAnswer::Refuse;
        }
        let home = std::env::home_dir().unwrap_or_default();
        let mut known = HostKeys::new();
        let own = self.own_known.then(|| home.join(".ssh/known_hosts"));
        for path in own.iter().chain([&self.known]).filter(|path| path.exists()) {
            match HostKeys::load(path) {
                Ok(keys) => known.extend(keys),
                Err(error) => log::warn!(target: "sshd", "{error}"),
            }
        }
        let root = rustix::process::getuid().is_root();
        let equivalents = self.equivalents.iter().filter(|_| !root).cloned();
        for path in equivalents.chain(self.own.iter().map(|name| home.join(name))) {
            let text = match read(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    log::warn!(target: "sshd", "{}: not used: {error}", path.display());
                    continue;
                }
            };
            let rules = HostbasedRules::parse(text);
            for bad in rules.bad_lines() {
                log::warn!(target: "sshd", "{}:{}: {}", path.display(), bad.line, bad.reason);
            }
            if rules.check(user, client, &known) == AuthAnswer::Accept {
                return AuthAnswer::Accept;
            }
        }
        AuthAnswer::Refuse
    }
}

/// Whether the client's address is one of the host's.
fn has_address(host: &str, address: Option<IpAddr>) -> bool {
    let found = (host, 0).to_socket_addrs();
    address.is_some_and(|address| {
        found.is_ok_and(|mut found| found.any(|one| one.ip().to_canonical() == address.to_canonical()))
    })
}

/// The text of a file that nobody but its owner, the user or root, may write.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let owned = [0, rustix::process::getuid().as_raw()].contains(&metadata.uid());
    if !metadata.is_file() || !owned || metadata.mode() & 0o022 != 0 {
        return Err(io::Error::other("others may write it"));
    }
    let mut text = Vec::new();
    file.take(FILE).read_to_end(&mut text)?;
    Ok(text)
}
