//! What the library is told of a configuration: addresses, keys, algorithms, limits.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use feramiko::{
    Agent, AgentKey, Algorithms, ChannelTimeouts, ConnectionRules, Limits, PKey, PublicKey, SSHServer,
    SSHServerBuilder, VersionLine,
};

use crate::config::Effective;
use crate::keywords::{startups_of, timeout};
use crate::support::given::{interval_of, number, rekey};
use crate::support::home::beside;

/// Longer than any server runs.
const NO_LIMIT: Duration = Duration::from_secs(u32::MAX as u64);
/// Requests that wait: with `SendEnv *` clients send a whole environment at once, a request each variable, and
/// the one that starts the shell must not be too many. As many variables as a session takes.
const REQUESTS: usize = 256;
/// The host keys where none is named, if they are there.
const HOST_KEYS: [&str; 3] =
    ["/etc/ssh/ssh_host_rsa_key", "/etc/ssh/ssh_host_ecdsa_key", "/etc/ssh/ssh_host_ed25519_key"];

/// Where to listen: ListenAddress, each with its own port or every Port.
pub(crate) fn addresses(config: &Effective) -> Result<Vec<SocketAddr>, String> {
    let ports = config.words("port");
    let ports: Vec<u16> = ports.iter().map(|port| number(port)).collect::<Result<_, _>>()?;
    let family = config.choice("addressfamily");
    let fits = |address: &SocketAddr| match family.as_str() {
        "inet" => address.is_ipv4(),
        "inet6" => address.is_ipv6(),
        _ => true,
    };
    let named = config.words("listenaddress");
    let mut found = Vec::new();
    for name in &named {
        found.extend(listen_address(name, &ports)?);
    }
    if named.is_empty() {
        for port in ports {
            let any: [IpAddr; 2] = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
            found.extend(any.map(|address| SocketAddr::new(address, port)));
        }
    }
    found.retain(fits);
    Ok(found)
}

/// `host`, `host:port`, `[host]:port` or an IPv6 address.
fn listen_address(name: &str, ports: &[u16]) -> Result<Vec<SocketAddr>, String> {
    let bracketed = name.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (host, port) = match bracketed {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None if name.matches(':').count() == 1 => {
            name.split_once(':').map_or((name, None), |(host, port)| (host, Some(port)))
        }
        None => (name, None),
    };
    let ports = match port {
        Some(port) => vec![number(port).map_err(|why| format!("ListenAddress {name}: {why}"))?],
        None => ports.to_vec(),
    };
    let host = if host == "*" { "0.0.0.0" } else { host };
    let mut found = Vec::new();
    for port in ports {
        let here =
            (host, port).to_socket_addrs().map_err(|error| format!("ListenAddress {name}: {error}"))?;
        found.extend(here);
    }
    Ok(found)
}

/// The files of the host keys.
pub(crate) fn host_keys(config: &Effective) -> Vec<PathBuf> {
    if config.is_set("hostkey") {
        return config.words("hostkey").into_iter().map(PathBuf::from).collect();
    }
    HOST_KEYS.iter().map(PathBuf::from).filter(|path| path.exists()).collect()
}

fn certificate(path: &Path) -> Result<PublicKey, String> {
    let (key, _) = PublicKey::from_file(path).map_err(|error| error.to_string())?;
    if key.certificate().is_none() {
        return Err(format!("{} holds a key without a certificate", path.display()));
    }
    Ok(key)
}

/// The keys that HostKeyAgent holds. One that does not answer holds none: keys of files will do, if there are
/// any.
fn keys_of_agent(config: &Effective) -> Vec<AgentKey> {
    let Some(socket) = config.some("hostkeyagent") else { return Vec::new() };
    let agent = if socket == "SSH_AUTH_SOCK" { Agent::from_env() } else { Agent::connect(&socket) };
    let keys = agent.and_then(|agent| agent.keys());
    keys.inspect_err(|error| log::error!(target: "sshd", "HostKeyAgent {socket}: {error}"))
        .unwrap_or_default()
}

/// A host key: its file, or, where an agent holds it, the file of its public half.
fn host_key(path: &Path, held: &[AgentKey]) -> Result<PKey, String> {
    let why = match PKey::from_file(path, None) {
        Ok(key) => return Ok(key),
        Err(error) => error.to_string(),
    };
    let public = [path.to_owned(), beside(path, ".pub")];
    let public = public.iter().find_map(|path| PublicKey::from_file(path).ok());
    let held =
        held.iter().find(|held| public.as_ref().is_some_and(|(public, _)| public == held.public_key()));
    held.cloned().map(PKey::from).ok_or(why)
}

/// Every key, and every one once more with its certificates: those named, and `FILE-cert.pub`.
fn with_host_keys(mut builder: SSHServerBuilder, config: &Effective) -> Result<SSHServerBuilder, String> {
    let named = config.words("hostcertificate");
    let named =
        named.iter().filter(|name| !name.eq_ignore_ascii_case("none")).map(|name| certificate(name.as_ref()));
    let named = named.collect::<Result<Vec<_>, _>>()?;
    let held = keys_of_agent(config);
    let mut count = 0;
    for path in host_keys(config) {
        let key = match host_key(&path, &held) {
            Ok(key) => key,
            // As sshd does: the others will do, if there are any.
            Err(why) => {
                log::error!(target: "sshd", "unable to load host key: {why}");
                continue;
            }
        };
        let beside = beside(&path, "-cert.pub");
        let beside = if beside.exists() { vec![certificate(&beside)?] } else { Vec::new() };
        for certificate in named.iter().chain(&beside) {
            if let Ok(certified) = key.with_certificate(certificate) {
                builder = builder.host_key(certified);
            }
        }
        builder = builder.host_key(key);
        count += 1;
    }
    if count == 0 { Err("no host key: name one with -h".to_owned()) } else { Ok(builder) }
}

/// What is wrong with a list.
pub(crate) fn check_algorithms(name: &str, list: &str) -> Result<(), String> {
    let set = Algorithms::server_defaults().set_list(name, list);
    set.unwrap_or(Ok(())).map_err(|error| error.to_string())
}

pub(crate) fn algorithms(config: &Effective) -> Result<Algorithms, String> {
    let mut offered = Algorithms::server_defaults();
    for name in Algorithms::keywords().filter(|name| config.is_set(name)) {
        let set = offered.set_list(name, &config.word(name));
        set.unwrap_or(Ok(())).map_err(|error| format!("{name}: {error}"))?;
    }
    // Without the keyword what OpenSSH's client offers first is not offered: it costs more than it saves.
    if config.is_set("compression") {
        let names = if config.choice("compression") == "no" { "none" } else { "none,zlib@openssh.com" };
        offered.set_compressions(names).map_err(|error| error.to_string())?;
    }
    if config.is_set("requiredrsasize") {
        offered = offered.required_rsa_size(config.number("requiredrsasize"));
    }
    Ok(offered)
}

/// What a connection is held to, over what there is.
pub(crate) fn rules(config: &Effective, mut rules: ConnectionRules) -> ConnectionRules {
    let limits = &mut rules.limits;
    limits.auth_tries = config.number("maxauthtries");
    // Every key that is asked about is a request.
    limits.auth_requests = limits.auth_requests.max(limits.auth_tries.saturating_mul(4));
    limits.sessions = config.number("maxsessions");
    if let Ok((bytes, interval)) = rekey(&config.words("rekeylimit")) {
        let usual = Limits::default();
        limits.rekey_bytes = bytes.unwrap_or(usual.rekey_bytes);
        limits.rekey_interval = interval.unwrap_or(usual.rekey_interval);
    }
    let interval = config.time("clientaliveinterval");
    // A count of 0 never ends a connection.
    let count = Some(config.number("clientalivecountmax")).filter(|count| *count > 0);
    rules.keepalive = interval.map(|interval| (interval, count.unwrap_or(u32::MAX)));
    // Its lines were looked at when they were read.
    rules.traffic = config.words("ipqos").join(" ").parse().unwrap_or_default();
    let timeouts = config.words("channeltimeout");
    let timeouts = timeouts.iter().filter_map(|word| timeout(word).ok());
    rules.channel_timeouts =
        timeouts.fold(ChannelTimeouts::default(), |all, (kind, time)| all.add(kind, time));
    rules.unused_timeout = config.time("unusedconnectiontimeout");
    // Its lines were looked at when they were read. If they meant nothing, nothing would be taken.
    let known = algorithms(config).ok();
    let list =
        |name| known.as_ref().and_then(|known| known.list(name)).map(<[_]>::to_vec).or(Some(Vec::new()));
    rules.public_keys = list("PubkeyAcceptedAlgorithms");
    rules.host_keys = list("HostbasedAcceptedAlgorithms");
    rules.ca_signatures = list("CASignatureAlgorithms");
    rules.revoked_keys = config.some("revokedkeys").into_iter().map(PathBuf::from).collect();
    rules
}

/// Clients are told what may be signed with before they say who they are, so that all is told that some user
/// may sign with; what this one may, `rules` says.
fn tell_of_all(offered: &mut Algorithms, config: &Effective) -> Result<(), String> {
    for list in config.anywhere("pubkeyacceptedalgorithms") {
        let mut some = Algorithms::server_defaults();
        let add = some.set_public_keys(list).and_then(|()| match some.public_keys() {
            [] => Ok(()),
            more => offered.set_public_keys(&format!("+{}", more.join(","))),
        });
        add.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// A server as the configuration has it for everybody.
pub(crate) fn server(config: &Effective) -> Result<SSHServer, String> {
    let mut limits = Limits::default();
    let (begin, percent, full) = startups_of(&config.word("maxstartups"))?;
    (limits.startups_begin, limits.startups, limits.startups_refused_percent) = (begin, full, percent);
    limits.startups_per_source = match config.some("persourcemaxstartups") {
        Some(most) => number(&most)?,
        None => full,
    };
    limits.login_grace = interval_of(&config.word("logingracetime"))?.unwrap_or(NO_LIMIT);
    let mut offered = algorithms(config)?;
    tell_of_all(&mut offered, config)?;
    let mut builder = with_host_keys(SSHServer::builder(), config)?.algorithms(offered);
    if let Some(addendum) = config.some("versionaddendum") {
        let line = VersionLine::default().comments(&addendum);
        builder = builder.version(line.map_err(|error| format!("VersionAddendum: {error}"))?);
    }
    if let Ok(moduli) = std::fs::read_to_string(config.word("modulifile")) {
        builder = builder.moduli(&moduli);
    }
    let rules = rules(config, ConnectionRules::default());
    limits.pending_requests = REQUESTS;
    limits.auth_tries = rules.limits.auth_tries;
    limits.auth_requests = rules.limits.auth_requests;
    limits.sessions = rules.limits.sessions;
    (limits.rekey_bytes, limits.rekey_interval) = (rules.limits.rekey_bytes, rules.limits.rekey_interval);
    builder.limits(limits).build().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_to_listen() {
        let ports = [22, 2222];
        let shown = |name: &str| {
            let found = listen_address(name, &ports).unwrap();
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(shown("127.0.0.1"), ["127.0.0.1:22", "127.0.0.1:2222"]);
        assert_eq!(shown("127.0.0.1:7"), ["127.0.0.1:7"]);
        assert_eq!(shown("::1"), ["[::1]:22", "[::1]:2222"]);
        assert_eq!(shown("[::1]:7"), ["[::1]:7"]);
        assert!(listen_address("127.0.0.1:70000", &ports).is_err());
    }
}
