//! Algorithms of users' own: key exchanges here, the rest in `packet/own.rs`; how a connection knows them.

use super::negotiate::MARKERS;
use super::table::{KexSpec, Kind, method};
use super::{Algorithms, KexError};
use crate::crypto::hash::HashAlg;
use crate::crypto::secret::Secret;
use crate::crypto::{CryptoError, Rank};
use crate::key::algorithm::{SignatureSpec, signature};
use crate::key::{KeySpec, PublicKey};
use crate::packet::{CipherSpec, CompressionSpec, MacSpec, cipher, compression, mac};
use crate::wire::is_own_name;

/// The client's first half: its share, and what makes the secret of the server's.
pub type KexOffer = fn() -> Result<(Vec<u8>, KexFinish), CryptoError>;

/// The client's second half: the secret, from the server's share.
pub type KexFinish = Box<dyn Fn(&[u8]) -> Result<Secret, CryptoError> + Send>;

/// The server's half: its share and the secret, from the client's share.
pub type KexAnswer = fn(&[u8]) -> Result<(Vec<u8>, Secret), CryptoError>;

/// The hash of a key exchange, from which also the keys come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KexHash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl KexSpec {
    /// A key exchange of your own: a share each way (RFC 5656 §4), the secret hashed as a string. What the peer
    /// sends as its share may be anything; refuse what is no share.
    #[must_use]
    pub const fn own(name: &'static str, hash: KexHash, offer: KexOffer, answer: KexAnswer) -> Self {
        let hash = match hash {
            KexHash::Sha256 => HashAlg::Sha256,
            KexHash::Sha384 => HashAlg::Sha384,
            KexHash::Sha512 => HashAlg::Sha512,
        };
        let kind = Kind::Own(offer, answer);
        Self { name, rank: Rank::Supported, server_default: false, hash, kind }
    }
}

/// The rows that a user added.
#[derive(Debug, Clone, Default)]
pub(super) struct Own {
    pub(super) kex: Vec<&'static KexSpec>,
    pub(super) ciphers: Vec<&'static CipherSpec>,
    pub(super) macs: Vec<&'static MacSpec>,
    pub(super) compressions: Vec<&'static CompressionSpec>,
    pub(super) keys: Vec<&'static KeySpec>,
}

/// Rows are the same when they are the same `static`.
impl PartialEq for Own {
    fn eq(&self, other: &Self) -> bool {
        fn same<T>(a: &[&'static T], b: &[&'static T]) -> bool {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| std::ptr::eq(*a, *b))
        }
        same(&self.kex, &other.kex)
            && same(&self.ciphers, &other.ciphers)
            && same(&self.macs, &other.macs)
            && same(&self.compressions, &other.compressions)
            && same(&self.keys, &other.keys)
    }
}

impl Eq for Own {}

macro_rules! by_name {
    ($function:ident, $table:ident, $list:ident, $spec:ty) => {
        /// The row of that name, of the table or the user's.
        pub(super) fn $function(&self, name: &str) -> Option<&'static $spec> {
            $table(name).or_else(|| self.own.$list.iter().copied().find(|spec| spec.name == name))
        }
    };
}

impl Algorithms {
    by_name!(method, method, kex, KexSpec);
    by_name!(cipher, cipher, ciphers, CipherSpec);
    by_name!(mac, mac, macs, MacSpec);
    by_name!(compression, compression, compressions, CompressionSpec);

    /// The row of that name, of the table or the user's.
    pub(crate) fn signature(&self, name: &str) -> Option<&'static SignatureSpec> {
        let mut own = self.own.keys.iter().map(|spec| &spec.signature);
        signature(name).or_else(|| own.find(|row| row.name == name))
    }

    /// The key types that the user added.
    pub(crate) fn own_keys(&self) -> &[&'static KeySpec] {
        &self.own.keys
    }

    /// Adds a key type of your own, for hosts and users; see [`add_kex`](Self::add_kex).
    ///
    /// # Errors
    /// As [`add_kex`](Self::add_kex).
    pub fn add_key(&mut self, spec: &'static KeySpec) -> Result<(), KexError> {
        let name = spec.signature.name;
        check(name, self.signature(name).is_some() || PublicKey::is_type(name.as_bytes()), None)?;
        self.own.keys.push(spec);
        self.host_keys.push(name);
        self.public_keys.push(name);
        self.hostbased.push(name);
        Ok(())
    }

    /// Adds a key exchange of your own, offered last; [`set_kex`](Self::set_kex) knows its name from now on.
    ///
    /// # Errors
    /// [`KexError::BadRow`] when the name is taken or is none that RFC 4251 §6 leaves to you: `name@domain`.
    pub fn add_kex(&mut self, spec: &'static KexSpec) -> Result<(), KexError> {
        let taken = MARKERS.contains(&spec.name) || self.method(spec.name).is_some();
        check(spec.name, taken, None)?;
        self.own.kex.push(spec);
        self.kex.push(spec.name);
        Ok(())
    }

    /// Adds a cipher of your own; see [`add_kex`](Self::add_kex).
    ///
    /// # Errors
    /// As [`add_kex`](Self::add_kex), and for lengths that no packet can have.
    pub fn add_cipher(&mut self, spec: &'static CipherSpec) -> Result<(), KexError> {
        check(spec.name, self.cipher(spec.name).is_some(), spec.fault())?;
        self.own.ciphers.push(spec);
        self.ciphers.push(spec.name);
        Ok(())
    }

    /// Adds a MAC of your own; see [`add_kex`](Self::add_kex).
    ///
    /// # Errors
    /// As [`add_kex`](Self::add_kex), and for lengths that no packet can have.
    pub fn add_mac(&mut self, spec: &'static MacSpec) -> Result<(), KexError> {
        check(spec.name, self.mac(spec.name).is_some(), spec.fault())?;
        self.own.macs.push(spec);
        self.macs.push(spec.name);
        Ok(())
    }

    /// Adds a compression of your own; see [`add_kex`](Self::add_kex).
    ///
    /// # Errors
    /// As [`add_kex`](Self::add_kex).
    pub fn add_compression(&mut self, spec: &'static CompressionSpec) -> Result<(), KexError> {
        check(spec.name, self.compression(spec.name).is_some(), None)?;
        self.own.compressions.push(spec);
        self.compressions.push(spec.name);
        Ok(())
    }
}

fn check(name: &'static str, taken: bool, fault: Option<&'static str>) -> Result<(), KexError> {
    let reason = match (is_own_name(name), taken) {
        (false, _) => Some("its name is not name@domain"),
        (_, true) => Some("its name is taken"),
        _ => fault,
    };
    reason.map_or(Ok(()), |reason| Err(KexError::BadRow { name, reason }))
}
