//! Who a client says it is: the account, what the configuration says for it, and whether it may log in at all.
//! OpenSSH's auth.c.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use feramiko::{Account, Peer, address_list_matches, pattern_list_matches};

use crate::config::{Config, Effective};
use crate::criteria::{Connection, any_matches};
use crate::tokens::expand;

/// A user as one connection sees it.
#[derive(Debug)]
pub(crate) struct Who {
    /// As the client says it.
    pub(crate) name: String,
    /// The same without a style.
    pub(crate) user: String,
    /// None for names that nobody has.
    account: Option<Account>,
    pub(crate) config: Effective,
    /// Whether the account may be logged in to.
    allowed: bool,
}

/// What Match knows of a connection.
pub(crate) fn connection(peer: &Peer) -> Connection {
    let address = peer.addresses.map(|(address, _)| address.ip().to_canonical());
    Connection {
        host: address.map(|address| address.to_string()),
        address,
        local_address: peer.addresses.map(|(_, local)| local.ip().to_canonical()),
        local_port: peer.addresses.map(|(_, local)| local.port()),
        ..Connection::default()
    }
}

/// Where a client comes from, in sshd's words.
pub(crate) fn from(peer: &Peer) -> String {
    match peer.addresses {
        Some((address, _)) => format!("{} port {}", peer.source, address.port()),
        None => format!("{} port 65535", peer.source),
    }
}

impl Who {
    /// `home`: that of whoever runs this, if it is not the one of the account.
    pub(crate) fn new(config: &Arc<Config>, name: &str, peer: &Peer, home: Option<&Path>) -> Self {
        // A style of logging in may stand behind the user; nothing here has any.
        let user = name.split_once(':').map_or(name, |(user, _)| user);
        let account = Account::named(user).unwrap_or_else(|error| {
            log::error!(target: "sshd", "the account of {user}: {error}");
            None
        });
        let account = account.map(|account| match home {
            Some(home) if account.is_current() => account.with_home(home),
            _ => account,
        });
        let connection =
            Connection { user: Some(user.to_owned()), invalid: account.is_none(), ..connection(peer) };
        let config = config.holds(Some(&connection));
        let refusal = account.as_ref().and_then(|account| refusal(account, &config, &connection));
        let allowed = account.is_some() && refusal.is_none();
        // In sshd's words: programs that shut strangers out read them.
        if account.is_none() {
            log::info!(target: "sshd", "Invalid user {user} from {}", from(peer));
        } else if let Some(refusal) = refusal {
            log::info!(target: "sshd", "User {user} from {} not allowed because {refusal}", peer.source);
        }
        Self { name: name.to_owned(), user: user.to_owned(), account, config, allowed }
    }

    /// The account, if it may be logged in to.
    pub(crate) fn account(&self) -> Option<&Account> {
        self.account.as_ref().filter(|_| self.allowed)
    }

    /// A file of the user's: `%h` is the home, `%u` the name, `%U` the number; `~/`, and what is no absolute path,
    /// begin at home.
    pub(crate) fn file(&self, value: &str) -> Result<PathBuf, String> {
        let account = self.account.as_ref().ok_or("there is no such account")?;
        let path = expand(value, &tokens(account))?;
        Ok(account.home().join(path.strip_prefix("~/").unwrap_or(&path)))
    }
}

/// The tokens that every keyword with a user in it knows.
pub(crate) fn tokens(account: &Account) -> Vec<(char, String)> {
    let home = account.home().to_string_lossy().into_owned();
    vec![('h', home), ('u', account.name().to_owned()), ('U', account.uid().to_string())]
}

/// Why nobody may log in to the account; none if somebody may.
fn refusal(account: &Account, config: &Effective, connection: &Connection) -> Option<&'static str> {
    let root = nix::unistd::geteuid().is_root();
    if !root && !account.is_current() {
        return Some("only root serves others");
    }
    let closed = account.refusal(config.some("chrootdirectory").is_none());
    if closed.is_some() {
        return closed;
    }
    let listed = |name: &str, of: &dyn Fn(&str) -> Option<bool>| {
        let mut found = config.words(name).into_iter().map(|pattern| of(&pattern));
        found.try_fold(false, |any, one| one.map(|one| any || one))
    };
    let user = |pattern: &str| is_user(pattern, account.name(), connection.address);
    // A list that is not understood refuses, whatever it is for.
    if listed("denyusers", &user).unwrap_or(true) {
        return Some("listed in DenyUsers");
    }
    if config.is_set("allowusers") && listed("allowusers", &user) != Some(true) {
        return Some("not listed in AllowUsers");
    }
    if !config.is_set("denygroups") && !config.is_set("allowgroups") {
        return None;
    }
    let Ok(groups) = account.groups() else { return Some("its groups are not known") };
    let group = |pattern: &str| Some(any_matches(pattern, groups.iter().map(String::as_str)));
    if listed("denygroups", &group).unwrap_or(true) {
        return Some("a group is listed in DenyGroups");
    }
    if config.is_set("allowgroups") && listed("allowgroups", &group) != Some(true) {
        return Some("none of its groups is listed in AllowGroups");
    }
    None
}

/// Whether a pattern of AllowUsers, `user` or `user@host`, is about the user; none when it cannot be read. A host
/// is an address, a network or a pattern of addresses: names are not looked up.
fn is_user(pattern: &str, user: &str, address: Option<IpAddr>) -> Option<bool> {
    let Some((name, host)) = pattern.rsplit_once('@') else {
        return Some(pattern_list_matches(pattern, user));
    };
    let there = match address {
        Some(address) => address_list_matches(host, address)?,
        None => host == "*",
    };
    Some(there && pattern_list_matches(name, user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_where_they_come_from() {
        let address = Some(IpAddr::from([192, 0, 2, 7]));
        for (pattern, expected) in [
            ("robey", Some(true)),
            ("r*", Some(true)),
            ("anna", Some(false)),
            ("robey@192.0.2.0/24", Some(true)),
            ("robey@192.0.2.?", Some(true)),
            ("robey@192.0.3.0/24", Some(false)),
            ("anna@192.0.2.7", Some(false)),
            ("robey@192.0.2.7/24", None),
        ] {
            assert_eq!(is_user(pattern, "robey", address), expected, "{pattern}");
        }
        assert_eq!(is_user("robey@192.0.2.7", "robey", None), Some(false));
    }
}
