//! The criteria of Match: sshd_config(5).

use std::net::IpAddr;

use feramiko::{Account, address_list_matches, pattern_list_matches};

use crate::support::given::number;

/// A connection, as far as Match looks at it. What is not known matches nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connection {
    pub(crate) user: Option<String>,
    /// There is no such user.
    pub(crate) invalid: bool,
    pub(crate) host: Option<String>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) local_address: Option<IpAddr>,
    pub(crate) local_port: Option<u16>,
    /// Only -C can say it.
    pub(crate) routing: Option<String>,
}

/// One criterion, with its argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Criterion {
    All,
    InvalidUser,
    User(String),
    Group(String),
    Host(String),
    Address(String),
    LocalAddress(String),
    LocalPort(u16),
    /// Of a routing domain, which no connection has here: a server with it does not start.
    Routing(String),
}

/// Reads the words behind Match.
pub(crate) fn parse(words: &[String]) -> Result<Vec<Criterion>, String> {
    let mut criteria = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        let name = name.to_ascii_lowercase();
        if name == "all" {
            if !criteria.is_empty() || words.next().is_some() {
                return Err("'all' cannot be combined with other Match attributes".to_owned());
            }
            return Ok(vec![Criterion::All]);
        }
        if name == "invalid-user" {
            criteria.push(Criterion::InvalidUser);
            continue;
        }
        let value = value.or_else(|| words.next().cloned()).filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| format!("Missing Match criteria for {name}"))?;
        criteria.push(criterion(&name, value)?);
    }
    if criteria.is_empty() {
        return Err("One or more attributes required for Match".to_owned());
    }
    Ok(criteria)
}

fn criterion(name: &str, value: String) -> Result<Criterion, String> {
    let addresses = |value: String| match address_list_matches(&value, IpAddr::from([0, 0, 0, 0])) {
        Some(_) => Ok(value),
        None => Err(format!("Invalid Match address argument '{value}'")),
    };
    Ok(match name {
        "user" => Criterion::User(value),
        "group" => Criterion::Group(value),
        "host" => Criterion::Host(value.to_ascii_lowercase()),
        "address" => Criterion::Address(addresses(value)?),
        "localaddress" => Criterion::LocalAddress(addresses(value)?),
        "localport" => Criterion::LocalPort(
            number(&value).map_err(|_| format!("Invalid LocalPort '{value}' on Match line"))?,
        ),
        "rdomain" => Criterion::Routing(value),
        _ => return Err(format!("Unsupported Match attribute {name}")),
    })
}

impl Criterion {
    pub(crate) fn holds(&self, connection: &Connection) -> bool {
        let listed = |list: &str, address: Option<IpAddr>| {
            address.is_some_and(|address| address_list_matches(list, address) == Some(true))
        };
        match self {
            Self::All => true,
            Self::InvalidUser => connection.invalid,
            Self::User(list) => connection.user.as_ref().is_some_and(|user| pattern_list_matches(list, user)),
            Self::Group(list) => connection.user.as_ref().is_some_and(|user| in_group(list, user)),
            Self::Host(list) => {
                let host = connection.host.as_ref().map(|host| host.to_ascii_lowercase());
                host.is_some_and(|host| pattern_list_matches(list, &host))
            }
            Self::Address(list) => listed(list, connection.address),
            Self::LocalAddress(list) => listed(list, connection.local_address),
            Self::Routing(list) => {
                connection.routing.as_ref().is_some_and(|routing| pattern_list_matches(list, routing))
            }
            Self::LocalPort(port) => connection.local_port == Some(*port),
        }
    }
}

/// Whether the list names a group of the user's, and refuses none.
fn in_group(list: &str, user: &str) -> bool {
    let Ok(Some(account)) = Account::named(user) else { return false };
    match account.groups() {
        Ok(groups) => any_matches(list, groups.iter().map(String::as_str)),
        Err(error) => {
            log::error!(target: "sshd", "the groups of {user}: {error}");
            false
        }
    }
}

/// Whether one of the names is in the list, and none is refused by it.
pub(crate) fn any_matches<'a>(list: &str, names: impl Iterator<Item = &'a str> + Clone) -> bool {
    let refused = list.split(',').filter_map(|pattern| pattern.strip_prefix('!'));
    let mut refused = refused.flat_map(|pattern| names.clone().map(move |name| (pattern, name)));
    !refused.any(|(pattern, name)| pattern_list_matches(pattern, name))
        && names.clone().any(|name| pattern_list_matches(list, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Vec<Criterion>, String> {
        parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn lines() {
        assert_eq!(read("all"), Ok(vec![Criterion::All]));
        assert_eq!(
            read("User=a,!b localport 22 Host *.Example.org"),
            Ok(vec![
                Criterion::User("a,!b".to_owned()),
                Criterion::LocalPort(22),
                Criterion::Host("*.example.org".to_owned())
            ])
        );
        for bad in
            ["", "all user a", "user a all", "user", "user=", "localport x", "address 1.2.3.4/99", "x y"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_holds() {
        let connection = Connection {
            user: Some("robey".to_owned()),
            address: Some(IpAddr::from([192, 0, 2, 7])),
            local_port: Some(22),
            ..Connection::default()
        };
        for (line, expected) in [
            ("user r*", true),
            ("user *,!robey", false),
            ("address 192.0.2.0/24", true),
            ("address *,!192.0.2.7", false),
            ("localport 22", true),
            ("localport 23", false),
            ("localaddress *", false),
            ("host *", false),
            ("invalid-user", false),
            ("group *", false),
            ("user r* localport 23", false),
        ] {
            let criteria = read(line).unwrap();
            assert_eq!(criteria.iter().all(|criterion| criterion.holds(&connection)), expected, "{line}");
        }
        assert!(any_matches("wheel,users", ["users", "x"].into_iter()));
        assert!(!any_matches("*,!x", ["users", "x"].into_iter()));
    }
}
