//! Finding what both sides can: RFC 4253 §7.1.

use super::table::{KexSpec, METHODS};
use super::{Algorithms, KexError, Role};
use crate::msg::kex::KexInit;
use crate::packet::Suite;
use crate::wire::NameList;

/// Markers in the list of methods that are no methods: RFC 8308 §2.1, draft-miller-sshm-strict-kex.
pub(super) const EXT_INFO_CLIENT: &str = "ext-info-c";
pub(super) const EXT_INFO_SERVER: &str = "ext-info-s";
pub(super) const STRICT_CLIENT: &str = "kex-strict-c-v00@openssh.com";
pub(super) const STRICT_SERVER: &str = "kex-strict-s-v00@openssh.com";
pub(super) const MARKERS: [&str; 4] = [EXT_INFO_CLIENT, EXT_INFO_SERVER, STRICT_CLIENT, STRICT_SERVER];

/// What both sides agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Negotiated {
    /// The exchange method.
    pub kex: String,
    /// The host key's signature algorithm.
    pub host_key: String,
    /// The cipher from client to server.
    pub cipher_to_server: String,
    /// The cipher from server to client.
    pub cipher_to_client: String,
    /// The MAC from client to server; none when the cipher checks integrity itself.
    pub mac_to_server: Option<String>,
    /// The MAC from server to client; none when the cipher checks integrity itself.
    pub mac_to_client: Option<String>,
    /// The compression from client to server.
    pub compression_to_server: String,
    /// The compression from server to client.
    pub compression_to_client: String,
    /// Whether strict key exchange is in force.
    pub strict: bool,
}

impl Negotiated {
    /// Whether who records the connection cannot read it with a quantum computer of later years. Of exchanges of an
    /// application's own it is not known, and not said.
    #[must_use]
    pub fn is_post_quantum(&self) -> bool {
        METHODS.iter().any(|spec| spec.name == self.kex && spec.is_post_quantum())
    }
}

/// What the exchange goes on with.
#[derive(Debug)]
pub(super) struct Agreed {
    pub(super) method: &'static KexSpec,
    pub(super) host_key: &'static str,
    pub(super) to_server: Suite,
    pub(super) to_client: Suite,
    /// The peer sent a first packet for another method than this: it is to be ignored.
    pub(super) ignore_guess: bool,
}

/// The first of the client's names that the server has too.
fn choose<'a>(
    what: &'static str,
    role: Role,
    ours: NameList<'a>,
    theirs: NameList<'a>,
) -> Result<&'a str, KexError> {
    let (client, server) = match role {
        Role::Client => (ours, theirs),
        Role::Server => (theirs, ours),
    };
    client.names().find(|name| !MARKERS.contains(name) && server.contains(name)).ok_or_else(|| {
        let shown = |list: NameList<'_>| {
            list.names().filter(|name| !MARKERS.contains(name)).map(str::to_owned).collect()
        };
        KexError::NoCommon { what, ours: shown(ours), theirs: shown(theirs) }
    })
}

/// The name chosen is one of ours, so it stands in our tables or among the user's rows.
fn known<T>(found: Option<T>, name: &str) -> Result<T, KexError> {
    found.ok_or_else(|| KexError::UnknownAlgorithm { name: name.to_owned(), known: Vec::new() })
}

struct Lists<'a> {
    cipher: [NameList<'a>; 2],
    mac: [NameList<'a>; 2],
    compression: [NameList<'a>; 2],
}

fn suite(role: Role, known_here: &Algorithms, lists: &Lists<'_>) -> Result<Suite, KexError> {
    let [ours, theirs] = lists.cipher;
    let cipher_name = choose("cipher", role, ours, theirs)?;
    let cipher = known(known_here.cipher(cipher_name), cipher_name)?;
    let mac = if cipher.is_aead() {
        None
    } else {
        let [ours, theirs] = lists.mac;
        let name = choose("MAC", role, ours, theirs)?;
        Some(known(known_here.mac(name), name)?)
    };
    let [ours, theirs] = lists.compression;
    let name = choose("compression", role, ours, theirs)?;
    Ok(Suite { cipher, mac, compression: known(known_here.compression(name), name)? })
}

/// Compares both proposals.
pub(super) fn negotiate(
    role: Role,
    known_here: &Algorithms,
    ours: &KexInit<'_>,
    theirs: &KexInit<'_>,
) -> Result<Agreed, KexError> {
    let kex = choose("key exchange", role, ours.kex, theirs.kex)?;
    let host_key = choose("host key", role, ours.host_key, theirs.host_key)?;
    let to_server = suite(
        role,
        known_here,
        &Lists {
            cipher: [ours.cipher_to_server, theirs.cipher_to_server],
            mac: [ours.mac_to_server, theirs.mac_to_server],
            compression: [ours.compression_to_server, theirs.compression_to_server],
        },
    )?;
    let to_client = suite(
        role,
        known_here,
        &Lists {
            cipher: [ours.cipher_to_client, theirs.cipher_to_client],
            mac: [ours.mac_to_client, theirs.mac_to_client],
            compression: [ours.compression_to_client, theirs.compression_to_client],
        },
    )?;
    // RFC 4253 §7: a guess is right when both sides' first names agree.
    let guessed_right = ours.kex.names().next() == theirs.kex.names().next()
        && ours.host_key.names().next() == theirs.host_key.names().next();
    Ok(Agreed {
        method: known(known_here.method(kex), kex)?,
        host_key: known(known_here.signature(host_key), host_key)?.name,
        to_server,
        to_client,
        ignore_guess: theirs.first_kex_packet_follows && !guessed_right,
    })
}

impl Agreed {
    /// As the user is told.
    pub(super) fn public(&self, strict: bool) -> Negotiated {
        let mac = |suite: &Suite| suite.mac.map(|spec| spec.name.to_owned());
        Negotiated {
            kex: self.method.name.to_owned(),
            host_key: self.host_key.to_owned(),
            cipher_to_server: self.to_server.cipher.name.to_owned(),
            cipher_to_client: self.to_client.cipher.name.to_owned(),
            mac_to_server: mac(&self.to_server),
            mac_to_client: mac(&self.to_client),
            compression_to_server: self.to_server.compression.name.to_owned(),
            compression_to_client: self.to_client.compression.name.to_owned(),
            strict,
        }
    }
}
