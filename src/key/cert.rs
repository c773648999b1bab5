//! Certificates: OpenSSH's PROTOCOL.certkeys. Read with their signature checked; whether one is good
//! for something is asked of it, with the time and the names given. Knows no clock and no file.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::algorithm::signature;
use super::validity::Validity;
use super::{KeyError, PublicKey};
use crate::crypto::Rank;
use crate::pattern::{self, Letters, matches};
use crate::wire::{Escaped, Reader};

/// Names in one certificate; OpenSSH's figure.
const PRINCIPALS: usize = 256;
/// Options in one certificate; there are not a dozen.
const OPTIONS: usize = 256;
/// A command that is forced, or a list of addresses; longer ones fit no packet.
const OPTION_BYTES: usize = 64 * 1024;

/// The extensions that OpenSSH knows, all of them flags.
const FLAGS: [&str; 6] = [
    "no-touch-required",
    "permit-X11-forwarding",
    "permit-agent-forwarding",
    "permit-port-forwarding",
    "permit-pty",
    "permit-user-rc",
];

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateKind {
    /// Lets a user in.
    User,
    /// Says who a host is.
    Host,
}

impl CertificateKind {
    pub(super) fn number(self) -> u32 {
        match self {
            Self::User => 1,
            Self::Host => 2,
        }
    }
}

/// Why a certificate is not good for what it is used for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateError {
    /// A host's certificate is used for a user, or the other way.
    WrongKind,
    /// Its time has not come.
    NotYetValid,
    /// Its time is over.
    Expired,
    /// It names nobody: it is good for nobody.
    NoPrincipals,
    /// It does not name this one.
    WrongPrincipal(String),
    /// It demands something that is not understood.
    CriticalOption(String),
    /// An extension that is a flag holds something.
    Extension(String),
    /// It may not be used from this address.
    SourceAddress,
    /// It is signed by an algorithm that is not accepted.
    Algorithm(String),
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongKind => f.write_str("the certificate is of the wrong kind"),
            Self::NotYetValid => f.write_str("the certificate is not yet valid"),
            Self::Expired => f.write_str("the certificate has expired"),
            Self::NoPrincipals => f.write_str("the certificate names nobody"),
            Self::WrongPrincipal(name) => write!(f, "the certificate is not for {name}"),
            Self::CriticalOption(name) => {
                write!(f, "the certificate demands {name}, which is not understood")
            }
            Self::Extension(name) => {
                write!(f, "the certificate's extension {name} holds what is not understood")
            }
            Self::SourceAddress => f.write_str("the certificate may not be used from this address"),
            Self::Algorithm(name) => write!(f, "the certificate is signed by {name}, which is not accepted"),
        }
    }
}

impl std::error::Error for CertificateError {}

/// An option of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Setting {
    name: String,
    data: Vec<u8>,
}

impl Setting {
    /// The one string that the data consists of, if it does: options are flags, or have one string.
    fn value(&self) -> Option<&[u8]> {
        let mut reader = Reader::new(&self.data);
        let value = reader.string().ok()?;
        reader.finish().ok().map(|()| value)
    }

    fn is_flag(&self) -> bool {
        self.data.is_empty()
    }
}

/// A certificate: what an authority says of a key. That the authority has signed it is certain; whether
/// it is trusted, and whether it is good for something, is not.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    key: PublicKey,
    serial: u64,
    kind: CertificateKind,
    key_id: Vec<u8>,
    principals: Vec<Vec<u8>>,
    validity: Validity,
    critical: Vec<Setting>,
    extensions: Vec<Setting>,
    authority: PublicKey,
    algorithm: &'static str,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("key", &self.key)
            .field("kind", &self.kind)
            .field("key_id", &self.key_id())
            .field("serial", &self.serial)
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

impl Certificate {
    /// Reads what follows the key's numbers in `blob`, and checks the signature over all before it.
    pub(super) fn read(key: PublicKey, blob: &[u8], reader: &mut Reader<'_>) -> Result<Self, KeyError> {
        let serial = reader.get()?;
        let kind = match reader.get::<u32>()? {
            1 => CertificateKind::User,
            2 => CertificateKind::Host,
            _ => return Err(KeyError::Malformed("a certificate of an unknown kind")),
        };
        let key_id = reader.string()?.to_vec();
        let principals = names(reader.string()?)?;
        let validity = Validity { after: reader.get()?, before: reader.get()? };
        let (critical, extensions) = (settings(reader.string()?)?, settings(reader.string()?)?);
        reader.string()?;
        let authority = reader.string()?;
        if super::algorithm::KeyType::by_name(Reader::new(authority).string()?).is_none_or(|(_, cert)| cert) {
            return Err(KeyError::Malformed("a certificate signed by something that is no plain key"));
        }
        let authority = PublicKey::from_blob(authority)?;
        let signed = blob.get(..blob.len().saturating_sub(reader.clone().rest().len())).unwrap_or_default();
        let signature_blob = reader.string()?;
        let label = Reader::new(signature_blob).string()?;
        let algorithm = authority
            .algorithms()
            .iter()
            .copied()
            .find(|name| name.as_bytes() == label)
            .ok_or(KeyError::BadSignature)?;
        authority.verify(algorithm, signed, signature_blob)?;
        Ok(Self {
            key,
            serial,
            kind,
            key_id,
            principals,
            validity,
            critical,
            extensions,
            authority,
            algorithm,
        })
    }

    /// The key that it speaks of.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The key that has signed it.
    #[must_use]
    pub fn authority(&self) -> &PublicKey {
        &self.authority
    }

    /// The algorithm that it is signed by.
    #[must_use]
    pub fn algorithm(&self) -> &'static str {
        self.algorithm
    }

    /// What it is for.
    #[must_use]
    pub fn kind(&self) -> CertificateKind {
        self.kind
    }

    /// Its number, as the authority counts.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// What the authority calls it in logs; control characters are escaped.
    #[must_use]
    pub fn key_id(&self) -> String {
        Escaped(&self.key_id).to_string()
    }

    /// The same as it stands there.
    #[must_use]
    pub fn key_id_bytes(&self) -> &[u8] {
        &self.key_id
    }

    /// The users or hosts that it names; control characters are escaped.
    pub fn principals(&self) -> impl Iterator<Item = String> {
        self.principals.iter().map(|name| Escaped(name).to_string())
    }

    /// From when on it is valid; none: since ever.
    #[must_use]
    pub fn valid_after(&self) -> Option<SystemTime> {
        (self.validity.after > 0).then(|| at(self.validity.after)).flatten()
    }

    /// From when on it is not valid any more; none: for ever valid.
    #[must_use]
    pub fn valid_before(&self) -> Option<SystemTime> {
        (self.validity.before < u64::MAX).then(|| at(self.validity.before)).flatten()
    }

    /// When it is valid, as OpenSSH shows it: `forever`, `after …`, `before …` or `from … to …`, by the
    /// clocks of this place.
    #[must_use]
    pub fn validity(&self) -> String {
        self.validity.to_string()
    }

    /// The options that whoever accepts it must understand: names and data, empty for flags.
    pub fn critical_options(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.critical.iter().map(|setting| (setting.name.as_str(), setting.data.as_slice()))
    }

    /// What it allows besides: names and data, empty for flags.
    pub fn extensions(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.extensions.iter().map(|setting| (setting.name.as_str(), setting.data.as_slice()))
    }

    /// Whether it has that extension.
    #[must_use]
    pub fn has_extension(&self, name: &str) -> bool {
        self.extensions.iter().any(|setting| setting.name == name)
    }

    /// The command that is run whatever the user asks for.
    #[must_use]
    pub fn force_command(&self) -> Option<&[u8]> {
        self.critical.iter().find(|setting| setting.name == "force-command").and_then(Setting::value)
    }

    /// Whether a token must have known who used it.
    #[must_use]
    pub fn verify_required(&self) -> bool {
        self.critical.iter().any(|setting| setting.name == "verify-required")
    }

    /// Whether it names `principal`, a user or a host, in these very letters: a pattern names nobody.
    #[must_use]
    pub fn names(&self, principal: &str) -> bool {
        self.principals.iter().any(|name| name == principal.as_bytes())
    }

    /// Whether it is good for a user who comes from `address` at `now`. Whom it lets in is another
    /// question, [`names`](Self::names), and whether the authority is trusted yet another.
    ///
    /// # Errors
    /// The first reason against it.
    pub fn check_user(&self, now: SystemTime, address: Option<IpAddr>) -> Result<(), CertificateError> {
        self.check(CertificateKind::User, now)?;
        for setting in &self.critical {
            let fine = match (setting.name.as_str(), setting.value()) {
                ("force-command", Some(_)) => true,
                ("verify-required", None) => setting.is_flag(),
                ("source-address", Some(list)) => {
                    match address.map(|address| pattern::address_in_list(list, address)) {
                        Some(Some(true)) => true,
                        // A list that cannot be read lets nobody in, nor does an address that is not known.
                        Some(None) => false,
                        Some(Some(false)) | None => return Err(CertificateError::SourceAddress),
                    }
                }
                _ => false,
            };
            if !fine {
                return Err(CertificateError::CriticalOption(setting.name.clone()));
            }
        }
        let holds = |setting: &&Setting| FLAGS.contains(&setting.name.as_str()) && !setting.is_flag();
        match self.extensions.iter().find(holds) {
            Some(setting) => Err(CertificateError::Extension(setting.name.clone())),
            None => Ok(()),
        }
    }

    /// Whether it says at `now` that `host` has this key: one of its names is the host's in lower case, or a pattern
    /// with `*` and `?` that matches it, as in OpenSSH since 10.3 (sshkey_cert_check_host). Whether the authority is
    /// trusted to say so is another question.
    ///
    /// # Errors
    /// The first reason against it.
    pub fn check_host(&self, now: SystemTime, host: &str) -> Result<(), CertificateError> {
        self.check(CertificateKind::Host, now)?;
        if let Some(setting) = self.critical.first() {
            return Err(CertificateError::CriticalOption(setting.name.clone()));
        }
        let lower = host.to_ascii_lowercase();
        if self.principals.iter().any(|name| matches(name, lower.as_bytes(), Letters::Exact)) {
            Ok(())
        } else {
            Err(CertificateError::WrongPrincipal(host.to_owned()))
        }
    }

    /// Whether it says at `now` that messages signed with its key are signed by `principal`, or by whom.
    pub(super) fn check_signer(
        &self,
        now: SystemTime,
        principal: Option<&[u8]>,
    ) -> Result<&[Vec<u8>], CertificateError> {
        self.check(CertificateKind::User, now)?;
        match principal {
            Some(name) if !self.principals.iter().any(|known| known == name) => {
                Err(CertificateError::WrongPrincipal(Escaped(name).to_string()))
            }
            _ => Ok(&self.principals),
        }
    }

    fn check(&self, kind: CertificateKind, now: SystemTime) -> Result<(), CertificateError> {
        if self.kind != kind {
            return Err(CertificateError::WrongKind);
        }
        let accepted = signature(self.algorithm).is_some_and(|spec| spec.rank != Rank::Legacy);
        if !accepted {
            return Err(CertificateError::Algorithm(self.algorithm.to_owned()));
        }
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if now < self.validity.after {
            return Err(CertificateError::NotYetValid);
        }
        if now >= self.validity.before {
            return Err(CertificateError::Expired);
        }
        if self.principals.is_empty() {
            return Err(CertificateError::NoPrincipals);
        }
        Ok(())
    }
}

fn at(seconds: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn names(packed: &[u8]) -> Result<Vec<Vec<u8>>, KeyError> {
    let mut reader = Reader::new(packed);
    let mut names = Vec::new();
    while !reader.is_empty() {
        if names.len() == PRINCIPALS {
            return Err(KeyError::Malformed("a certificate that names too many"));
        }
        names.push(reader.string()?.to_vec());
    }
    Ok(names)
}

fn settings(packed: &[u8]) -> Result<Vec<Setting>, KeyError> {
    let mut reader = Reader::new(packed);
    let mut settings: Vec<Setting> = Vec::new();
    while !reader.is_empty() {
        let name = Escaped(reader.string()?).to_string();
        let data = reader.string()?;
        let too_many = settings.len() == OPTIONS || data.len() > OPTION_BYTES;
        if too_many || settings.iter().any(|setting| setting.name == name) {
            return Err(KeyError::Malformed("a certificate with too many options, or one of them twice"));
        }
        settings.push(Setting { name, data: data.to_vec() });
    }
    Ok(settings)
}
