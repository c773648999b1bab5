//! Which hosts are believed: the files that sshd(8) names under "HostbasedAuthentication".

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use feramiko::{Account, AuthAnswer, HostKeys, HostbasedClient, HostbasedRules};

use crate::config::Effective;

/// No such file is larger.
const FILE: u64 = 1024 * 1024;

/// What is believed of hosts. The files are read at every login.
pub(crate) struct Hosts {
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

impl Hosts {
    /// What the configuration says; none where no host is believed.
    pub(crate) fn of(config: &Effective) -> Option<Self> {
        let equivalents = match config.some("shostsequivfile") {
            Some(file) => vec![file.into()],
            None => vec!["/etc/hosts.equiv".into(), "/etc/ssh/shosts.equiv".into()],
        };
        config.flag("hostbasedauthentication").then(|| Self {
            any_address: config.flag("hostbasedusesnamefrompacketonly"),
            equivalents,
            own: match config.choice("ignorerhosts").as_str() {
                "no" => &[".rhosts", ".shosts"],
                "shosts-only" => &[".shosts"],
                _ => &[],
            },
            known: config.word("globalknownhostsfile").into(),
            own_known: !config.flag("ignoreuserknownhosts"),
        })
    }

    /// Whether a file lets the host say who its user is, and its key is known.
    pub(crate) fn judge(
        &self,
        account: &Account,
        client: &HostbasedClient,
        address: Option<IpAddr>,
    ) -> AuthAnswer {
        if !self.any_address && !has_address(&client.host, address) {
            log::info!(target: "sshd", "{} is not the name of the client's address", client.host);
            return AuthAnswer::Refuse;
        }
        let mut known = HostKeys::new();
        if self.known.exists() {
            match HostKeys::load(&self.known) {
                Ok(keys) => known.extend(keys),
                Err(error) => log::warn!(target: "sshd", "{error}"),
            }
        }
        if self.own_known {
            // Not being there is no news.
            let own = account.read_file(&account.home().join(".ssh/known_hosts"), true);
            known.extend(own.map(HostKeys::parse).unwrap_or_default());
        }
        let equivalents = self.equivalents.iter().filter(|_| account.uid() != 0);
        let equivalents = equivalents.map(|path| (path.clone(), read(path, account.uid())));
        let own = self.own.iter().map(|name| account.home().join(name));
        let own = own.map(|path| (path.clone(), account.read_file(&path, true)));
        for (path, text) in equivalents.chain(own) {
            let text = match text {
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
            if rules.check(account.name(), client, &known) == AuthAnswer::Accept {
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
fn read(path: &Path, uid: u32) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || ![0, uid].contains(&metadata.uid()) || metadata.mode() & 0o022 != 0 {
        return Err(io::Error::other("others may write it"));
    }
    let mut text = Vec::new();
    file.take(FILE).read_to_end(&mut text)?;
    Ok(text)
}
