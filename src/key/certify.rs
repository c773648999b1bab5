//! Making certificates: what an authority's key signs, OpenSSH's PROTOCOL.certkeys.

use std::time::{SystemTime, UNIX_EPOCH};

use super::cert::CertificateKind;
use super::validity::Validity;
use super::{KeyError, PKey, PublicKey};
use crate::crypto::rand;
use crate::wire::{Encode, Writer, string_of};

/// What `ssh-keygen -s` gives users unless told otherwise.
const USER_EXTENSIONS: [&str; 5] = [
    "permit-X11-forwarding",
    "permit-agent-forwarding",
    "permit-port-forwarding",
    "permit-pty",
    "permit-user-rc",
];

/// A certificate to be signed. Valid for ever and for nobody unless told otherwise: name at least one
/// principal.
///
/// ```
/// use feramiko::{CertificateBuilder, KeyKind, PKey};
/// let (authority, user) = (PKey::generate(KeyKind::Ed25519)?, PKey::generate(KeyKind::Ed25519)?);
/// let certificate =
///     CertificateBuilder::user(user.public_key()).key_id("robey").principal("robey").sign(&authority)?;
/// let key = user.with_certificate(&certificate)?;
/// assert!(key.public_key().certificate().is_some_and(|certificate| certificate.names("robey")));
/// # Ok::<(), feramiko::KeyError>(())
/// ```
#[derive(Debug, Clone)]
pub struct CertificateBuilder {
    key: PublicKey,
    kind: CertificateKind,
    serial: u64,
    key_id: Vec<u8>,
    principals: Vec<Vec<u8>>,
    validity: Validity,
    critical: Vec<(String, Vec<u8>)>,
    extensions: Vec<(String, Vec<u8>)>,
}

impl CertificateBuilder {
    /// A certificate that lets a user in with `key`, with the extensions that `ssh-keygen` gives.
    #[must_use]
    pub fn user(key: &PublicKey) -> Self {
        let mut this = Self::new(key, CertificateKind::User);
        this.extensions = USER_EXTENSIONS.map(|name| (name.to_owned(), Vec::new())).to_vec();
        this
    }

    /// A certificate that says a host has `key`.
    #[must_use]
    pub fn host(key: &PublicKey) -> Self {
        Self::new(key, CertificateKind::Host)
    }

    fn new(key: &PublicKey, kind: CertificateKind) -> Self {
        Self {
            key: key.without_certificate(),
            kind,
            serial: 0,
            key_id: Vec::new(),
            principals: Vec::new(),
            validity: Validity::FOREVER,
            critical: Vec::new(),
            extensions: Vec::new(),
        }
    }

    /// The number, as the authority counts.
    #[must_use]
    pub fn serial(mut self, serial: u64) -> Self {
        self.serial = serial;
        self
    }

    /// What logs call it.
    #[must_use]
    pub fn key_id(mut self, key_id: impl AsRef<[u8]>) -> Self {
        key_id.as_ref().clone_into(&mut self.key_id);
        self
    }

    /// One more user or host that it is for.
    #[must_use]
    pub fn principal(mut self, name: impl AsRef<[u8]>) -> Self {
        self.principals.push(name.as_ref().to_vec());
        self
    }

    /// When it begins to be valid.
    #[must_use]
    pub fn valid_after(mut self, time: SystemTime) -> Self {
        self.validity.after = seconds(time);
        self
    }

    /// When it is valid no more.
    #[must_use]
    pub fn valid_before(mut self, time: SystemTime) -> Self {
        self.validity.before = seconds(time);
        self
    }

    /// When it is valid, as `ssh-keygen -V` says it: `+52w` from now on, or two of `-1d`, `+1d`,
    /// `20260101`, `20260101120000Z`, `0x5f3759df`, with `:` between them; `always` may stand for the
    /// first and `forever` for the second.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] for anything else, and for an end that is not later than its beginning.
    pub fn valid_interval(mut self, interval: &str, now: SystemTime) -> Result<Self, KeyError> {
        self.validity = Validity::parse(interval, seconds(now)).map_err(KeyError::Malformed)?;
        Ok(self)
    }

    /// The command that is run whatever the user asks for.
    #[must_use]
    pub fn force_command(self, command: impl AsRef<[u8]>) -> Self {
        self.critical_option("force-command", Some(command.as_ref()))
    }

    /// The addresses and networks it may be used from, with commas between them.
    #[must_use]
    pub fn source_address(self, list: &str) -> Self {
        self.critical_option("source-address", Some(list.as_bytes()))
    }

    /// Sets an option that whoever accepts it must understand: a flag, or one with a value.
    #[must_use]
    pub fn critical_option(mut self, name: &str, value: Option<&[u8]>) -> Self {
        set(&mut self.critical, name, value);
        self
    }

    /// Sets an extension: a flag, or one with a value.
    #[must_use]
    pub fn extension(mut self, name: &str, value: Option<&[u8]>) -> Self {
        set(&mut self.extensions, name, value);
        self
    }

    /// Takes an extension away.
    #[must_use]
    pub fn no_extension(mut self, name: &str) -> Self {
        self.extensions.retain(|(known, _)| known != name);
        self
    }

    /// Takes all extensions away.
    #[must_use]
    pub fn no_extensions(mut self) -> Self {
        self.extensions.clear();
        self
    }

    /// Has the authority sign it, RSA with SHA-512.
    ///
    /// # Errors
    /// When the authority cannot sign, or is itself only a certificate; [`KeyError::Malformed`] for what
    /// no reader would take: options without end.
    pub fn sign(&self, authority: &PKey) -> Result<PublicKey, KeyError> {
        let algorithm = authority.public_key().without_certificate().algorithms().first().copied();
        self.sign_by(authority, algorithm.ok_or(KeyError::Malformed("a key that signs by no algorithm"))?)
    }

    /// Has the authority sign it by one of its key's algorithms.
    ///
    /// # Errors
    /// As [`sign`](Self::sign).
    pub fn sign_by(&self, authority: &PKey, algorithm: &str) -> Result<PublicKey, KeyError> {
        let signer = authority.public_key();
        let kind = self.key.kind();
        let mut blob = Vec::new();
        blob.put(kind.name(true)).put(&rand::array::<32>()?[..]);
        blob.extend_from_slice(numbers(self.key.blob(), kind.name(false)));
        blob.put(&self.serial).put(&self.kind.number()).put(self.key_id.as_slice());
        let principals: Vec<u8> = self.principals.iter().flat_map(|name| string_of(name)).collect();
        blob.put(principals.as_slice()).put(&self.validity.after).put(&self.validity.before);
        blob.put(packed(&self.critical).as_slice()).put(packed(&self.extensions).as_slice());
        blob.put("").put(signer.without_certificate().blob());
        let signature = authority.sign(algorithm, &blob)?;
        blob.put(signature.as_slice());
        PublicKey::from_blob(&blob)
    }
}

/// What follows the type's name in a key's blob.
fn numbers<'a>(blob: &'a [u8], name: &str) -> &'a [u8] {
    blob.get(string_of(name.as_bytes()).len()..).unwrap_or_default()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn set(settings: &mut Vec<(String, Vec<u8>)>, name: &str, value: Option<&[u8]>) {
    settings.retain(|(known, _)| known != name);
    settings.push((name.to_owned(), value.map(string_of).unwrap_or_default()));
}

/// Pairs of name and data in the order of the names, as readers may insist.
fn packed(settings: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut sorted: Vec<_> = settings.iter().collect();
    sorted.sort();
    let mut out = Vec::new();
    for (name, data) in sorted {
        name.as_str().encode(&mut out);
        data.as_slice().encode(&mut out);
    }
    out
}
