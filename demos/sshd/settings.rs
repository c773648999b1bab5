//! What the library is told of a configuration: addresses, keys, algorithms, limits.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use feramiko::{
    ChannelTimeouts, ConnectionRules, KexError, Limits, PKey, PublicKey, SSHServer, SSHServerBuilder,
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
/// Sets one list of algorithms.
type SetList = fn(&mut feramiko::Algorithms, &str) -> Result<(), KexError>;
/// Signatures of authorities that are taken unless CASignatureAlgorithms says otherwise; OpenSSH's list.
const AUTHORITIES: &str = "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,\
                           sk-ssh-ed25519@openssh.com,sk-ecdsa-sha2-nistp256@openssh.com,rsa-sha2-512,rsa-sha2-256";

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

/// Every key, and every one once more with its certificates: those named, and `FILE-cert.pub`.
fn with_host_keys(mut builder: SSHServerBuilder, config: &Effective) -> Result<SSHServerBuilder, String> {
    let named = config.words("hostcertificate");
    let named = named.iter().filter(|name| *name != "none").map(|name| certificate(name.as_ref()));
    let named = named.collect::<Result<Vec<_>, _>>()?;
    let mut count = 0;
    for path in host_keys(config) {
        let key = match PKey::from_file(&path, None) {
            Ok(key) => key,
            // As sshd does: the others will do, if there are any.
            Err(error) => {
                log::error!(target: "sshd", "unable to load host key: {error}");
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

/// The algorithms of a configuration.
pub(crate) struct Algorithms {
    offered: feramiko::Algorithms,
    /// Signatures of authorities.
    authorities: Vec<String>,
}

impl Algorithms {
    /// One list, by the keyword that sets it.
    pub(crate) fn shown(&self, name: &str) -> String {
        match name {
            "ciphers" => self.offered.ciphers().join(","),
            "macs" => self.offered.macs().join(","),
            "kexalgorithms" => self.offered.kex().join(","),
            "casignaturealgorithms" => self.authorities.join(","),
            "hostkeyalgorithms" => self.offered.host_keys().join(","),
            // One list for users and for hosts that vouch for them.
            _ => self.offered.public_keys().join(","),
        }
    }

    /// Whether an authority may sign so.
    pub(crate) fn takes_authority(&self, algorithm: &str) -> bool {
        self.authorities.iter().any(|taken| taken == algorithm)
    }
}

/// `+x`, `-x` and `^x` change the list that there is.
fn authorities(spec: &str) -> Vec<String> {
    let names = |list: &str| list.split(',').map(str::to_owned).collect::<Vec<_>>();
    let usual = names(AUTHORITIES);
    match (spec.get(..1), spec.get(1..)) {
        (None, _) => usual,
        (Some("+"), Some(more)) => [usual, names(more)].concat(),
        (Some("^"), Some(more)) => [names(more), usual].concat(),
        (Some("-"), Some(less)) => {
            let goes = |name: &String| feramiko::pattern_list_matches(less, name);
            usual.into_iter().filter(|name| !goes(name)).collect()
        }
        _ => names(spec),
    }
}

pub(crate) fn algorithms(config: &Effective) -> Result<Algorithms, String> {
    let mut offered = feramiko::Algorithms::server_defaults();
    let set: [(&str, SetList); 5] = [
        ("ciphers", feramiko::Algorithms::set_ciphers),
        ("macs", feramiko::Algorithms::set_macs),
        ("kexalgorithms", feramiko::Algorithms::set_kex),
        ("hostkeyalgorithms", feramiko::Algorithms::set_host_keys),
        ("pubkeyacceptedalgorithms", feramiko::Algorithms::set_public_keys),
    ];
    for (name, set) in set.into_iter().filter(|(name, _)| config.is_set(name)) {
        set(&mut offered, &config.word(name)).map_err(|error| format!("{name}: {error}"))?;
    }
    // Without the keyword what OpenSSH's client offers first is not offered: it costs more than it saves.
    if config.is_set("compression") {
        let names = if config.choice("compression") == "no" { "none" } else { "none,zlib@openssh.com" };
        offered.set_compressions(names).map_err(|error| error.to_string())?;
    }
    if config.is_set("requiredrsasize") {
        offered = offered.required_rsa_size(config.number("requiredrsasize"));
    }
    Ok(Algorithms { offered, authorities: authorities(&config.word("casignaturealgorithms")) })
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
    let timeouts = config.words("channeltimeout");
    let timeouts = timeouts.iter().filter_map(|word| timeout(word).ok());
    rules.channel_timeouts =
        timeouts.fold(ChannelTimeouts::default(), |all, (kind, time)| all.add(kind, time));
    rules.unused_timeout = config.time("unusedconnectiontimeout");
    rules
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
    let mut builder = with_host_keys(SSHServer::builder(), config)?.algorithms(algorithms(config)?.offered);
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

    #[test]
    fn signatures_of_authorities() {
        assert_eq!(authorities(""), AUTHORITIES.split(',').collect::<Vec<_>>());
        assert_eq!(authorities("ssh-ed25519"), ["ssh-ed25519"]);
        assert!(authorities("+ssh-rsa").contains(&"ssh-rsa".to_owned()));
        assert!(!authorities("-rsa-*").iter().any(|name| name.starts_with("rsa")));
    }
}
