//! `ssh -Q`: what the library knows, in OpenSSH's words.

use feramiko::Algorithms;

/// The answer to a query; none when there is no such query.
pub(crate) fn answer(what: &str) -> Option<Vec<&'static str>> {
    let all = Algorithms::client_defaults().legacy();
    let signatures = || all.host_keys().to_vec();
    let certified = |name: &&str| name.contains("-cert-v01@");
    Some(match what.to_ascii_lowercase().as_str() {
        "cipher" | "ciphers" => all.ciphers().to_vec(),
        "cipher-auth" => {
            let own = |name: &&str| name.contains("-gcm@") || name.contains("-poly1305@");
            all.ciphers().iter().copied().filter(own).collect()
        }
        "mac" | "macs" => all.macs().to_vec(),
        "kex" | "kexalgorithms" => all.kex().to_vec(),
        "compression" => all.compressions().to_vec(),
        "sig" => signatures().into_iter().filter(|name| !certified(name)).collect(),
        "key-sig"
        | "hostkeyalgorithms"
        | "pubkeyacceptedalgorithms"
        | "hostbasedacceptedalgorithms"
        | "casignaturealgorithms" => signatures(),
        "key" => signatures().into_iter().filter(is_type).collect(),
        "key-plain" => signatures().into_iter().filter(is_type).filter(|name| !certified(name)).collect(),
        "key-cert" => signatures().into_iter().filter(is_type).filter(certified).collect(),
        "protocol-version" => vec!["2"],
        "help" => vec![
            "cipher",
            "cipher-auth",
            "compression",
            "kex",
            "key",
            "key-cert",
            "key-plain",
            "key-sig",
            "mac",
            "protocol-version",
            "sig",
        ],
        _ => return None,
    })
}

/// Whether a signature algorithm has its name from a type of keys.
fn is_type(name: &&'static str) -> bool {
    !name.starts_with("rsa-sha2-") && !name.starts_with("webauthn-")
}
