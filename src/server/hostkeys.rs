//! Announcing a server's host keys, and proving to hold them: OpenSSH's PROTOCOL, §2.5.
//!
//! Runs on the serving thread.

use super::Config;
use crate::engine::Link;
use crate::hostkeys::{ANNOUNCE, encode_keys, proof, strings};
use crate::key::{PKey, PublicKey};
use crate::wire::Encode;

/// Requests for proofs of one connection: each costs signatures, and no client needs a second one.
const PROOFS: u32 = 8;
/// Clients that fall over the announcement, by the beginning of their version lines: those that OpenSSH
/// spares it.
const DEAF: [&[u8]; 3] = [b"SSH-2.0-TTSSH/2.70", b"SSH-2.0-TTSSH/2.71", b"SSH-2.0-TTSSH/2.72"];

fn is_deaf(ident: &[u8]) -> bool {
    DEAF.iter().any(|name| ident.starts_with(name))
}

/// Each key once, without certificates.
fn plain_keys(config: &Config) -> Vec<PublicKey> {
    let mut keys: Vec<PublicKey> = Vec::new();
    for key in config.host_keys.iter().map(|key| key.public_key().without_certificate()) {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

/// Tells a client that has just been let in which keys the server has.
pub(super) fn announce(link: &Link, config: &Config) {
    if config.announce_host_keys && !is_deaf(&link.core().setup.peer_ident) {
        link.tell(ANNOUNCE, &encode_keys(&plain_keys(config)));
    }
}

/// Signs with the keys that a client asks for: one signature each. None, if one is not ours, or asked
/// for twice, or too much was asked before.
pub(super) fn prove(link: &Link, config: &Config, asked: &mut u32, rest: &[u8]) -> Option<Vec<u8>> {
    *asked = asked.saturating_add(1);
    let blobs =
        strings(rest).filter(|blobs| config.announce_host_keys && *asked <= PROOFS && !blobs.is_empty())?;
    let session_id = link.core().session_id();
    let mut left: Vec<_> = config.host_keys.iter().map(PKey::without_certificate).collect();
    let mut out = Vec::new();
    for blob in blobs {
        let at = left.iter().position(|key| key.public_key().blob() == blob)?;
        let key = left.swap_remove(at);
        left.retain(|other| other.public_key().blob() != blob);
        let data = proof(&session_id, key.public_key());
        let algorithm = algorithm(key.public_key(), &link.core().host_key_algorithm(), config)?;
        let signed = key.sign_sized(config.algorithms.rsa_bits, algorithm, &data);
        let signed = signed.inspect_err(|error| {
            log::warn!(target: "feramiko::server", "no proof of host key {}: {error}", key.public_key().fingerprint());
        });
        signed.ok()?.encode(&mut out);
    }
    Some(out)
}

/// The algorithm of the exchange, where it fits the key, so that an RSA key signs by one that the client
/// knows; else the best one that the server offers.
fn algorithm(key: &PublicKey, of_exchange: &str, config: &Config) -> Option<&'static str> {
    let label = config.algorithms.signature(of_exchange).map(|spec| spec.label);
    let fits = key.algorithms().iter().find(|name| Some(**name) == label);
    let offered = || key.algorithms().iter().find(|name| config.algorithms.host_keys.contains(name));
    fits.or_else(offered).or_else(|| key.algorithms().first()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_that_fall_over_it_are_spared_the_announcement() {
        assert!(is_deaf(b"SSH-2.0-TTSSH/2.71 Win32"));
        assert!(!is_deaf(b"SSH-2.0-TTSSH/2.80 Win32") && !is_deaf(b"SSH-2.0-OpenSSH_9.2p1"));
    }
}
