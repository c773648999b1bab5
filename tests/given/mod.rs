//! What tests start from.

#![allow(dead_code, reason = "no test uses everything")]

use feramiko::{AutoAddPolicy, HostKeys, KeyKind, PKey, SSHClient, SSHClientBuilder};

/// A client that looks at nothing of the user's and trusts whom it meets.
pub(crate) fn client() -> SSHClientBuilder {
    SSHClient::builder()
        .no_agent()
        .no_default_keys()
        .host_keys(HostKeys::new())
        .missing_host_key(AutoAddPolicy)
}

/// A host key of its own.
pub(crate) fn host_key() -> PKey {
    PKey::generate(KeyKind::Ed25519).expect("OpenSSL makes keys")
}
