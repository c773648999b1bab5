//! The tables of key types and of signature algorithms.

use crate::crypto::Rank;
use crate::crypto::hash::HashAlg;

/// A kind of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum KeyType {
    Ed25519,
    EcdsaP256,
    EcdsaP384,
    EcdsaP521,
    Rsa,
}

impl KeyType {
    /// The name in blobs and files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ssh-ed25519",
            Self::EcdsaP256 => "ecdsa-sha2-nistp256",
            Self::EcdsaP384 => "ecdsa-sha2-nistp384",
            Self::EcdsaP521 => "ecdsa-sha2-nistp521",
            Self::Rsa => "ssh-rsa",
        }
    }

    pub(crate) fn by_name(name: &[u8]) -> Option<Self> {
        [Self::Ed25519, Self::EcdsaP256, Self::EcdsaP384, Self::EcdsaP521, Self::Rsa]
            .into_iter()
            .find(|kind| kind.name().as_bytes() == name)
    }

    /// The signature algorithms of the type that are in use, best first.
    pub(crate) fn algorithms(self) -> &'static [&'static str] {
        match self {
            Self::Ed25519 => &["ssh-ed25519"],
            Self::EcdsaP256 => &["ecdsa-sha2-nistp256"],
            Self::EcdsaP384 => &["ecdsa-sha2-nistp384"],
            Self::EcdsaP521 => &["ecdsa-sha2-nistp521"],
            Self::Rsa => &["rsa-sha2-512", "rsa-sha2-256"],
        }
    }
}

/// A row of the signature table.
#[derive(Debug)]
pub(crate) struct SignatureSpec {
    pub(crate) name: &'static str,
    pub(crate) rank: Rank,
    pub(crate) key_type: KeyType,
    /// None where the signature scheme hashes by itself.
    pub(crate) hash: Option<HashAlg>,
}

const fn row(name: &'static str, key_type: KeyType, hash: Option<HashAlg>) -> SignatureSpec {
    SignatureSpec { name, rank: Rank::Default, key_type, hash }
}

/// In the order of preference.
pub(crate) static SIGNATURES: &[SignatureSpec] = &[
    row("ssh-ed25519", KeyType::Ed25519, None),
    row("ecdsa-sha2-nistp256", KeyType::EcdsaP256, Some(HashAlg::Sha256)),
    row("ecdsa-sha2-nistp384", KeyType::EcdsaP384, Some(HashAlg::Sha384)),
    row("ecdsa-sha2-nistp521", KeyType::EcdsaP521, Some(HashAlg::Sha512)),
    row("rsa-sha2-512", KeyType::Rsa, Some(HashAlg::Sha512)),
    row("rsa-sha2-256", KeyType::Rsa, Some(HashAlg::Sha256)),
];

/// The row of `name`.
pub(crate) fn signature(name: &str) -> Option<&'static SignatureSpec> {
    SIGNATURES.iter().find(|spec| spec.name == name)
}
