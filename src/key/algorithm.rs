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
    SkEd25519,
    SkEcdsa,
    Rsa,
    Ed448,
    Dss,
    /// A user's; which one, the key knows.
    Own,
}

/// A row of the table of key types.
#[derive(Debug)]
pub(crate) struct KeyTypeSpec {
    kind: KeyType,
    /// The name in blobs and files.
    pub(crate) name: &'static str,
    /// The name in blobs and files of a certificate for such a key.
    pub(crate) certificate: &'static str,
    /// The signature algorithms of plain keys, best first.
    algorithms: &'static [&'static str],
    /// Those of keys with a certificate.
    certificate_algorithms: &'static [&'static str],
}

const ED25519: &str = "ssh-ed25519";
const P256: &str = "ecdsa-sha2-nistp256";
const P384: &str = "ecdsa-sha2-nistp384";
const P521: &str = "ecdsa-sha2-nistp521";
const SK_ED25519: &str = "sk-ssh-ed25519@openssh.com";
const SK_ECDSA: &str = "sk-ecdsa-sha2-nistp256@openssh.com";
const WEBAUTHN: &str = "webauthn-sk-ecdsa-sha2-nistp256@openssh.com";
const RSA: &str = "ssh-rsa";
const RSA_512: &str = "rsa-sha2-512";
const RSA_256: &str = "rsa-sha2-256";
const ED448: &str = "ssh-ed448";
const DSS: &str = "ssh-dss";

const ED25519_CERT: &str = "ssh-ed25519-cert-v01@openssh.com";
const P256_CERT: &str = "ecdsa-sha2-nistp256-cert-v01@openssh.com";
const P384_CERT: &str = "ecdsa-sha2-nistp384-cert-v01@openssh.com";
const P521_CERT: &str = "ecdsa-sha2-nistp521-cert-v01@openssh.com";
const SK_ED25519_CERT: &str = "sk-ssh-ed25519-cert-v01@openssh.com";
const SK_ECDSA_CERT: &str = "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com";
const RSA_CERT: &str = "ssh-rsa-cert-v01@openssh.com";
const RSA_512_CERT: &str = "rsa-sha2-512-cert-v01@openssh.com";
const RSA_256_CERT: &str = "rsa-sha2-256-cert-v01@openssh.com";
const ED448_CERT: &str = "ssh-ed448-cert-v01@openssh.com";
const DSS_CERT: &str = "ssh-dss-cert-v01@openssh.com";

/// RFC 4253 §6.6, RFC 5656, RFC 8709; OpenSSH's PROTOCOL.certkeys and PROTOCOL.u2f.
static KEY_TYPES: &[KeyTypeSpec] = &[
    key_type(KeyType::Ed25519, ED25519, ED25519_CERT, &[ED25519], &[ED25519_CERT]),
    key_type(KeyType::EcdsaP256, P256, P256_CERT, &[P256], &[P256_CERT]),
    key_type(KeyType::EcdsaP384, P384, P384_CERT, &[P384], &[P384_CERT]),
    key_type(KeyType::EcdsaP521, P521, P521_CERT, &[P521], &[P521_CERT]),
    key_type(KeyType::SkEd25519, SK_ED25519, SK_ED25519_CERT, &[SK_ED25519], &[SK_ED25519_CERT]),
    key_type(KeyType::SkEcdsa, SK_ECDSA, SK_ECDSA_CERT, &[SK_ECDSA, WEBAUTHN], &[SK_ECDSA_CERT]),
    key_type(KeyType::Rsa, RSA, RSA_CERT, &[RSA_512, RSA_256, RSA], &[RSA_512_CERT, RSA_256_CERT, RSA_CERT]),
    key_type(KeyType::Ed448, ED448, ED448_CERT, &[ED448], &[ED448_CERT]),
    key_type(KeyType::Dss, DSS, DSS_CERT, &[DSS], &[DSS_CERT]),
];

const fn key_type(
    kind: KeyType,
    name: &'static str,
    certificate: &'static str,
    algorithms: &'static [&'static str],
    certificate_algorithms: &'static [&'static str],
) -> KeyTypeSpec {
    KeyTypeSpec { kind, name, certificate, algorithms, certificate_algorithms }
}

impl KeyType {
    /// The type of that name; whether it is a certificate's.
    pub(crate) fn by_name(name: &[u8]) -> Option<(Self, bool)> {
        KEY_TYPES.iter().find_map(|spec| match name {
            name if name == spec.name.as_bytes() => Some((spec.kind, false)),
            name if name == spec.certificate.as_bytes() => Some((spec.kind, true)),
            _ => None,
        })
    }

    fn spec(self) -> Option<&'static KeyTypeSpec> {
        KEY_TYPES.iter().find(|spec| spec.kind == self)
    }

    /// The name in blobs and files, of a plain key or of a certificate.
    pub(crate) fn name(self, certificate: bool) -> &'static str {
        self.spec().map_or("", |spec| if certificate { spec.certificate } else { spec.name })
    }

    /// The name in lists, as OpenSSH has it.
    pub(crate) fn short_name(self, certificate: bool) -> &'static str {
        let (plain, certified) = match self {
            Self::Ed25519 => ("ED25519", "ED25519-CERT"),
            Self::EcdsaP256 | Self::EcdsaP384 | Self::EcdsaP521 => ("ECDSA", "ECDSA-CERT"),
            Self::SkEd25519 => ("ED25519-SK", "ED25519-SK-CERT"),
            Self::SkEcdsa => ("ECDSA-SK", "ECDSA-SK-CERT"),
            Self::Rsa => ("RSA", "RSA-CERT"),
            Self::Ed448 => ("ED448", "ED448-CERT"),
            Self::Dss => ("DSA", "DSA-CERT"),
            Self::Own => ("OWN", "OWN-CERT"),
        };
        if certificate { certified } else { plain }
    }

    /// The signature algorithms of the type, best first.
    pub(crate) fn algorithms(self, certificate: bool) -> &'static [&'static str] {
        self.spec()
            .map_or(&[], |spec| if certificate { spec.certificate_algorithms } else { spec.algorithms })
    }

    /// Whether such a key is held by a token that says how its user was present.
    pub(crate) fn is_token(self) -> bool {
        matches!(self, Self::SkEd25519 | Self::SkEcdsa)
    }
}

/// A row of the signature table.
#[derive(Debug)]
pub(crate) struct SignatureSpec {
    pub(crate) name: &'static str,
    /// What signatures are labelled with: certificates change the name of the algorithm only.
    pub(crate) label: &'static str,
    pub(crate) rank: Rank,
    pub(crate) key_type: KeyType,
    /// None where the signature scheme hashes by itself.
    pub(crate) hash: Option<HashAlg>,
}

const fn row(
    name: &'static str,
    label: &'static str,
    rank: Rank,
    key_type: KeyType,
    hash: Option<HashAlg>,
) -> SignatureSpec {
    SignatureSpec { name, label, rank, key_type, hash }
}

/// In the order of preference.
pub(crate) static SIGNATURES: &[SignatureSpec] = {
    use HashAlg::{Sha1, Sha256, Sha384, Sha512};
    use KeyType::{Dss, EcdsaP256, EcdsaP384, EcdsaP521, Ed448, Ed25519, Rsa, SkEcdsa, SkEd25519};
    use Rank::{Default, Legacy, Supported};
    &[
        row(ED25519_CERT, ED25519, Default, Ed25519, None),
        row(P256_CERT, P256, Default, EcdsaP256, Some(Sha256)),
        row(P384_CERT, P384, Default, EcdsaP384, Some(Sha384)),
        row(P521_CERT, P521, Default, EcdsaP521, Some(Sha512)),
        row(SK_ED25519_CERT, SK_ED25519, Default, SkEd25519, None),
        row(SK_ECDSA_CERT, SK_ECDSA, Default, SkEcdsa, Some(Sha256)),
        row(RSA_512_CERT, RSA_512, Default, Rsa, Some(Sha512)),
        row(RSA_256_CERT, RSA_256, Default, Rsa, Some(Sha256)),
        row(ED25519, ED25519, Default, Ed25519, None),
        row(P256, P256, Default, EcdsaP256, Some(Sha256)),
        row(P384, P384, Default, EcdsaP384, Some(Sha384)),
        row(P521, P521, Default, EcdsaP521, Some(Sha512)),
        row(SK_ED25519, SK_ED25519, Default, SkEd25519, None),
        row(SK_ECDSA, SK_ECDSA, Default, SkEcdsa, Some(Sha256)),
        row(WEBAUTHN, WEBAUTHN, Default, SkEcdsa, Some(Sha256)),
        row(RSA_512, RSA_512, Default, Rsa, Some(Sha512)),
        row(RSA_256, RSA_256, Default, Rsa, Some(Sha256)),
        row(ED448_CERT, ED448, Supported, Ed448, None),
        row(ED448, ED448, Supported, Ed448, None),
        // SHA-1: collisions cost a few thousand dollars.
        row(RSA_CERT, RSA, Legacy, Rsa, Some(Sha1)),
        row(RSA, RSA, Legacy, Rsa, Some(Sha1)),
        row(DSS_CERT, DSS, Legacy, Dss, Some(Sha1)),
        row(DSS, DSS, Legacy, Dss, Some(Sha1)),
    ]
};

/// The row of `name`.
pub(crate) fn signature(name: &str) -> Option<&'static SignatureSpec> {
    SIGNATURES.iter().find(|spec| spec.name == name)
}

/// Whether an algorithm is one of keys with certificates.
pub(crate) fn is_certified(name: &str) -> bool {
    signature(name).is_some_and(|spec| spec.name != spec.label)
}
