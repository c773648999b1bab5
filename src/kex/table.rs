//! The table of exchange methods. Adding one is a row here and a line in `method.rs` if it is of a
//! new kind. Rows of users' own are made in `own.rs`.

use super::own::{KexAnswer, KexOffer};
use crate::crypto::Rank;
use crate::crypto::ec::Curve;
use crate::crypto::hash::HashAlg;
use crate::crypto::pq::Kem;

/// What a method computes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Ecdh(Curve),
    /// The group of RFC 2409 or RFC 3526 with that many bits.
    Group(usize),
    /// The server chooses the group: RFC 4419.
    GroupExchange,
    /// A post-quantum mechanism and a curve, both needed to be broken.
    Hybrid(Kem, Curve),
    /// A user's.
    Own(KexOffer, KexAnswer),
}

/// A key exchange: a row of the table, or a user's own.
#[derive(Debug)]
pub struct KexSpec {
    pub(crate) name: &'static str,
    pub(crate) rank: Rank,
    /// Whether a server offers it unasked: no NIST curves and no finite fields, as OpenSSH since 10.0.
    pub(super) server_default: bool,
    pub(super) hash: HashAlg,
    pub(super) kind: Kind,
}

impl KexSpec {
    /// Whether it withstands a quantum computer.
    pub(super) fn is_post_quantum(&self) -> bool {
        matches!(self.kind, Kind::Hybrid(..))
    }
}

const fn row(name: &'static str, server_default: bool, hash: HashAlg, kind: Kind) -> KexSpec {
    KexSpec { name, rank: Rank::Default, server_default, hash, kind }
}

const fn named(name: &'static str, rank: Rank, hash: HashAlg, kind: Kind) -> KexSpec {
    KexSpec { name, rank, server_default: false, hash, kind }
}

/// In the order of preference: post-quantum first.
pub(crate) static METHODS: &[KexSpec] = &[
    row("mlkem768x25519-sha256", true, HashAlg::Sha256, Kind::Hybrid(Kem::MlKem768, Curve::X25519)),
    row("sntrup761x25519-sha512", true, HashAlg::Sha512, Kind::Hybrid(Kem::Sntrup761, Curve::X25519)),
    row(
        "sntrup761x25519-sha512@openssh.com",
        true,
        HashAlg::Sha512,
        Kind::Hybrid(Kem::Sntrup761, Curve::X25519),
    ),
    named(
        "mlkem768nistp256-sha256",
        Rank::Supported,
        HashAlg::Sha256,
        Kind::Hybrid(Kem::MlKem768, Curve::P256),
    ),
    named(
        "mlkem1024nistp384-sha384",
        Rank::Supported,
        HashAlg::Sha384,
        Kind::Hybrid(Kem::MlKem1024, Curve::P384),
    ),
    row("curve25519-sha256", true, HashAlg::Sha256, Kind::Ecdh(Curve::X25519)),
    row("curve25519-sha256@libssh.org", true, HashAlg::Sha256, Kind::Ecdh(Curve::X25519)),
    named("curve448-sha512", Rank::Supported, HashAlg::Sha512, Kind::Ecdh(Curve::X448)),
    row("ecdh-sha2-nistp256", false, HashAlg::Sha256, Kind::Ecdh(Curve::P256)),
    row("ecdh-sha2-nistp384", false, HashAlg::Sha384, Kind::Ecdh(Curve::P384)),
    row("ecdh-sha2-nistp521", false, HashAlg::Sha512, Kind::Ecdh(Curve::P521)),
    row("diffie-hellman-group-exchange-sha256", false, HashAlg::Sha256, Kind::GroupExchange),
    row("diffie-hellman-group16-sha512", false, HashAlg::Sha512, Kind::Group(4096)),
    row("diffie-hellman-group18-sha512", false, HashAlg::Sha512, Kind::Group(8192)),
    row("diffie-hellman-group14-sha256", false, HashAlg::Sha256, Kind::Group(2048)),
    named("diffie-hellman-group15-sha512", Rank::Supported, HashAlg::Sha512, Kind::Group(3072)),
    named("diffie-hellman-group17-sha512", Rank::Supported, HashAlg::Sha512, Kind::Group(6144)),
    named("diffie-hellman-group-exchange-sha1", Rank::Legacy, HashAlg::Sha1, Kind::GroupExchange),
    named("diffie-hellman-group14-sha1", Rank::Legacy, HashAlg::Sha1, Kind::Group(2048)),
    named("diffie-hellman-group1-sha1", Rank::Legacy, HashAlg::Sha1, Kind::Group(1024)),
];

/// The row of `name`.
pub(super) fn method(name: &str) -> Option<&'static KexSpec> {
    METHODS.iter().find(|spec| spec.name == name)
}
