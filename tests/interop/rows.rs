//! Every algorithm of ours, and which of them each peer lacks in the versions that
//! `tests/peers/install` brings. A row that no peer has is an error.

use feramiko::Algorithms;

pub(crate) const KEX: &[&str] = &[
    "mlkem768x25519-sha256",
    "sntrup761x25519-sha512",
    "sntrup761x25519-sha512@openssh.com",
    "mlkem768nistp256-sha256",
    "mlkem1024nistp384-sha384",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "curve448-sha512",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group14-sha256",
    "diffie-hellman-group15-sha512",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group17-sha512",
    "diffie-hellman-group18-sha512",
    "diffie-hellman-group-exchange-sha256",
    "diffie-hellman-group-exchange-sha1",
    "diffie-hellman-group14-sha1",
    "diffie-hellman-group1-sha1",
];
pub(crate) const CIPHERS: &[&str] = &[
    "chacha20-poly1305@openssh.com",
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
    "aes128-cbc",
    "aes192-cbc",
    "aes256-cbc",
    "3des-cbc",
    "blowfish-cbc",
    "cast128-cbc",
    "arcfour",
    "arcfour128",
    "arcfour256",
];
/// Of our rows only PuTTY has these.
pub(crate) const PUTTYS: &[&str] = &["rijndael-cbc@lysator.liu.se", "3des-ctr", "blowfish-ctr"];
pub(crate) const MACS: &[&str] = &[
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha1-etm@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
    "hmac-sha1",
    "umac-64-etm@openssh.com",
    "umac-128-etm@openssh.com",
    "umac-64@openssh.com",
    "umac-128@openssh.com",
    "hmac-sha2-256-96-etm@openssh.com",
    "hmac-sha2-512-96-etm@openssh.com",
    "hmac-sha1-96-etm@openssh.com",
    "hmac-md5-etm@openssh.com",
    "hmac-md5-96-etm@openssh.com",
    "hmac-sha2-256-96",
    "hmac-sha2-512-96",
    "hmac-sha1-96",
    "hmac-md5",
    "hmac-md5-96",
];

/// The tables above, by the names that the Python peers have for them and those that OpenSSH has.
pub(crate) const FAMILIES: [(&str, &str, &[&str]); 3] =
    [("kex", "KexAlgorithms", KEX), ("ciphers", "Ciphers", CIPHERS), ("macs", "MACs", MACS)];

/// What a peer does not have, in the versions that `tests/peers/install` brings.
const LACKS: &[(&str, &[&str])] = &[
    (
        "paramiko",
        &[
            "sntrup761x25519-sha512",
            "sntrup761x25519-sha512@openssh.com",
            "mlkem768nistp256-sha256",
            "mlkem1024nistp384-sha384",
            "curve25519-sha256",
            "curve448-sha512",
            "diffie-hellman-group15-sha512",
            "diffie-hellman-group17-sha512",
            "diffie-hellman-group18-sha512",
            "diffie-hellman-group-exchange-sha1",
            "diffie-hellman-group14-sha1",
            "diffie-hellman-group1-sha1",
            "chacha20-poly1305@openssh.com",
            "blowfish-cbc",
            "cast128-cbc",
            "arcfour",
            "arcfour128",
            "arcfour256",
            "hmac-sha1-etm@openssh.com",
            "umac-64-etm@openssh.com",
            "umac-128-etm@openssh.com",
            "umac-64@openssh.com",
            "umac-128@openssh.com",
            "hmac-sha2-256-96-etm@openssh.com",
            "hmac-sha2-512-96-etm@openssh.com",
            "hmac-sha1-96-etm@openssh.com",
            "hmac-md5-etm@openssh.com",
            "hmac-md5-96-etm@openssh.com",
            "hmac-sha2-256-96",
            "hmac-sha2-512-96",
        ],
    ),
    ("asyncssh", &["sntrup761x25519-sha512", "sntrup761x25519-sha512@openssh.com"]),
    (
        "openssh",
        &[
            "mlkem768x25519-sha256",
            "mlkem768nistp256-sha256",
            "mlkem1024nistp384-sha384",
            "curve448-sha512",
            "diffie-hellman-group15-sha512",
            "diffie-hellman-group17-sha512",
            "blowfish-cbc",
            "cast128-cbc",
            "arcfour",
            "arcfour128",
            "arcfour256",
            "hmac-sha2-256-96-etm@openssh.com",
            "hmac-sha2-512-96-etm@openssh.com",
            "hmac-sha2-256-96",
            "hmac-sha2-512-96",
        ],
    ),
];

/// Those of `names` that a peer has.
pub(crate) fn known_to(peer: &str, names: &[&'static str]) -> Vec<&'static str> {
    let (_, lacks) = LACKS.iter().find(|(name, _)| *name == peer).unwrap();
    names.iter().copied().filter(|name| !lacks.contains(name)).collect()
}

#[test]
fn no_row_of_ours_goes_without_a_peer() {
    let all = Algorithms::client_defaults().legacy();
    let mut named: Vec<&str> = FAMILIES.iter().flat_map(|(_, _, names)| names.iter().copied()).collect();
    assert!(LACKS.iter().flat_map(|(_, lacks)| *lacks).all(|name| named.contains(name)));
    for name in &named {
        let known = |(_, lacks): &(&str, &[&str])| !lacks.contains(name);
        assert!(LACKS.iter().any(known), "no peer has {name}");
    }
    named.extend(PUTTYS);
    named.sort_unstable();
    let mut ours = [all.kex(), all.ciphers(), all.macs()].concat();
    ours.sort_unstable();
    assert_eq!(named, ours);
}
