//! What one side offers, and how users change it: `a,b`, `+a`, `-a`, `^a` as in ssh_config(5), and the
//! profiles `modern`, `compatible`, `legacy` and `pq_only`.

use super::KexError;
use super::own::Own;
use super::table::METHODS;
use crate::crypto::Rank;
use crate::key::algorithm::{SIGNATURES, is_certified};
use crate::key::{RSA_FLOOR, RSA_MAX, RSA_MIN};
use crate::packet::{COMPRESSIONS, MACS, ciphers_by_preference};
use crate::pattern::{Letters, matches};

/// The algorithms that a connection offers, each list in the order of preference.
///
/// ```
/// let mut algorithms = feramiko::Algorithms::client_defaults();
/// algorithms.set_ciphers("aes256-gcm@openssh.com,aes128-ctr")?;
/// algorithms.set_kex("-ecdh-sha2-nistp521")?;
/// assert!(algorithms.set_macs("hmac-rot13").is_err());
/// // For a router of 2005, and for nobody without a post-quantum exchange.
/// let old = feramiko::Algorithms::client_defaults().legacy();
/// assert!(old.ciphers().contains(&"3des-cbc"));
/// let strict = feramiko::Algorithms::client_defaults().pq_only();
/// assert!(!strict.kex().contains(&"curve25519-sha256"));
/// # Ok::<(), feramiko::KexError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Algorithms {
    pub(crate) kex: Vec<&'static str>,
    pub(crate) host_keys: Vec<&'static str>,
    pub(crate) ciphers: Vec<&'static str>,
    pub(crate) macs: Vec<&'static str>,
    pub(crate) compressions: Vec<&'static str>,
    /// Signature algorithms accepted from, or used by, a user's key.
    pub(crate) public_keys: Vec<&'static str>,
    /// The same for the key of a host that says who its user is.
    pub(crate) hostbased: Vec<&'static str>,
    /// Signature algorithms of the authorities of certificates.
    pub(crate) ca_signatures: Vec<&'static str>,
    /// RSA keys of hosts and users, ours and the peer's, have at least so many bits.
    pub(crate) rsa_bits: usize,
    pub(super) own: Own,
}

/// Sets one list.
type SetList = fn(&mut Algorithms, &str) -> Result<(), KexError>;
/// Shows one.
type ShowList = fn(&Algorithms) -> &[&'static str];

/// The keywords of ssh_config(5) and sshd_config(5) whose values are lists.
const KEYWORDS: [(&str, SetList, ShowList); 7] = [
    ("ciphers", Algorithms::set_ciphers, Algorithms::ciphers),
    ("macs", Algorithms::set_macs, Algorithms::macs),
    ("kexalgorithms", Algorithms::set_kex, Algorithms::kex),
    ("hostkeyalgorithms", Algorithms::set_host_keys, Algorithms::host_keys),
    ("pubkeyacceptedalgorithms", Algorithms::set_public_keys, Algorithms::public_keys),
    ("hostbasedacceptedalgorithms", Algorithms::set_hostbased, Algorithms::hostbased),
    ("casignaturealgorithms", Algorithms::set_ca_signatures, Algorithms::ca_signatures),
];

fn keyword(name: &str) -> Option<(SetList, ShowList)> {
    KEYWORDS.into_iter().find(|(row, ..)| row.eq_ignore_ascii_case(name)).map(|(_, set, show)| (set, show))
}

impl Algorithms {
    /// The keywords of ssh_config(5) and sshd_config(5) whose values are lists of algorithms, in lower case.
    pub fn keywords() -> impl Iterator<Item = &'static str> {
        KEYWORDS.into_iter().map(|(name, ..)| name)
    }

    /// The list that a keyword of ssh_config(5) or sshd_config(5) sets; none where it sets none.
    ///
    /// ```
    /// let mut algorithms = feramiko::Algorithms::client_defaults();
    /// algorithms.set_list("Ciphers", "^aes256-ctr").unwrap()?;
    /// assert_eq!(algorithms.list("Ciphers").unwrap()[0], "aes256-ctr");
    /// assert!(algorithms.list("Port").is_none());
    /// # Ok::<(), feramiko::KexError>(())
    /// ```
    #[must_use]
    pub fn list(&self, name: &str) -> Option<&[&'static str]> {
        keyword(name).map(|(_, show)| show(self))
    }

    /// Changes the list that a keyword of ssh_config(5) or sshd_config(5) sets, as the keyword's value would; see
    /// [`set_kex`](Self::set_kex). None where it sets none.
    pub fn set_list(&mut self, name: &str, spec: &str) -> Option<Result<(), KexError>> {
        keyword(name).map(|(set, _)| set(self, spec))
    }

    /// What a client offers unless told otherwise: post-quantum exchanges first, weak ones never.
    #[must_use]
    pub fn client_defaults() -> Self {
        let mut this = Self::server_defaults();
        this.kex = METHODS.iter().filter(|spec| spec.rank == Rank::Default).map(|spec| spec.name).collect();
        // Old servers know no other; last, and only where the cipher needs a MAC.
        this.macs.extend(LAST_MACS);
        this
    }

    /// What a server offers unless told otherwise: like a client, without NIST curves, finite fields
    /// and SHA-1.
    #[must_use]
    pub fn server_defaults() -> Self {
        let ciphers = ciphers_by_preference().into_iter().filter(|spec| spec.rank == Rank::Default);
        let signatures: Vec<_> =
            SIGNATURES.iter().filter(|spec| spec.rank == Rank::Default).map(|spec| spec.name).collect();
        // Nobody has a browser certify keys.
        let usual = |name: &&str| !is_certified(name) && !name.starts_with("webauthn-");
        let authorities = signatures.iter().copied().filter(usual);
        Self {
            kex: METHODS.iter().filter(|spec| spec.server_default).map(|spec| spec.name).collect(),
            host_keys: signatures.clone(),
            ciphers: ciphers.map(|spec| spec.name).collect(),
            macs: MACS.iter().filter(|spec| spec.rank == Rank::Default).map(|spec| spec.name).collect(),
            compressions: vec!["none"],
            rsa_bits: RSA_MIN,
            ca_signatures: authorities.collect(),
            hostbased: signatures.clone(),
            public_keys: signatures,
            own: Own::default(),
        }
    }

    /// Adds, after all others, what is sound but not offered unasked: algorithms of [`Rank::Supported`].
    #[must_use]
    pub fn compatible(mut self) -> Self {
        self.add(|rank| rank != Rank::Legacy);
        self
    }

    /// Adds, after all others, every algorithm there is, weak ones too, for devices that know no better.
    #[must_use]
    pub fn legacy(mut self) -> Self {
        self.add(|_| true);
        self
    }

    /// Takes away every key exchange that a quantum computer would break: what is recorded today stays
    /// secret. With them go the MACs of plain text; all peers with such exchanges have better ones.
    #[must_use]
    pub fn pq_only(mut self) -> Self {
        let safe = |name: &str| METHODS.iter().any(|spec| spec.name == name && spec.is_post_quantum());
        self.kex.retain(|name| safe(name));
        self.macs.retain(|name| MACS.iter().all(|spec| spec.name != *name || spec.encrypt_then_mac));
        self
    }

    fn add(&mut self, wanted: impl Fn(Rank) -> bool) {
        let signatures = signatures(&self.own);
        for (list, rows) in [
            (&mut self.kex, methods(&self.own)),
            (&mut self.host_keys, signatures.clone()),
            (&mut self.ciphers, ciphers(&self.own)),
            (&mut self.macs, macs(&self.own)),
            (&mut self.compressions, compressions(&self.own)),
            (&mut self.public_keys, signatures.clone()),
            (&mut self.hostbased, signatures.clone()),
            (&mut self.ca_signatures, plain(signatures)),
        ] {
            for row in rows.iter().filter(|row| wanted(row.rank)) {
                if !list.contains(&row.name) {
                    list.push(row.name);
                }
            }
        }
    }

    /// Demands so many bits of the RSA keys of hosts and users, ours and the peer's; 2048 unless told
    /// otherwise. Less than 1024 and more than 16384 cannot be demanded. Keys of 1024 bits are within reach
    /// of whoever can pay for it: take them only where a device has no other.
    #[must_use]
    pub fn required_rsa_size(mut self, bits: usize) -> Self {
        self.rsa_bits = bits.clamp(RSA_FLOOR, RSA_MAX);
        self
    }

    /// The key exchange methods offered.
    #[must_use]
    pub fn kex(&self) -> &[&'static str] {
        &self.kex
    }

    /// The ciphers offered.
    #[must_use]
    pub fn ciphers(&self) -> &[&'static str] {
        &self.ciphers
    }

    /// The MACs offered.
    #[must_use]
    pub fn macs(&self) -> &[&'static str] {
        &self.macs
    }

    /// The host key algorithms offered.
    #[must_use]
    pub fn host_keys(&self) -> &[&'static str] {
        &self.host_keys
    }

    /// Signature algorithms that users may have, as a server.
    #[must_use]
    pub fn public_keys(&self) -> &[&'static str] {
        &self.public_keys
    }

    /// Signature algorithms of hosts that say who their user is.
    #[must_use]
    pub fn hostbased(&self) -> &[&'static str] {
        &self.hostbased
    }

    /// Signature algorithms that the authorities of certificates may have used.
    #[must_use]
    pub fn ca_signatures(&self) -> &[&'static str] {
        &self.ca_signatures
    }

    /// The compressions offered.
    #[must_use]
    pub fn compressions(&self) -> &[&'static str] {
        &self.compressions
    }

    /// Changes the key exchange methods. A plain list replaces them, `+list` appends, `-list` takes
    /// away, `^list` moves to the front. Among the names may stand words: `modern` for all that are offered
    /// by default, `compatible` for these and the sound rest, `legacy` for all there are, and, for key
    /// exchange only, `pq_only` for the post-quantum ones; and patterns with `*` and `?`.
    ///
    /// # Errors
    /// [`KexError::UnknownAlgorithm`] for a name that is not known; nothing is changed then.
    pub fn set_kex(&mut self, spec: &str) -> Result<(), KexError> {
        change(&mut self.kex, spec, &methods(&self.own))
    }

    /// Changes the host key algorithms; see [`set_kex`](Self::set_kex).
    ///
    /// # Errors
    /// As [`set_kex`](Self::set_kex).
    pub fn set_host_keys(&mut self, spec: &str) -> Result<(), KexError> {
        change(&mut self.host_keys, spec, &signatures(&self.own))
    }

    /// Changes the signature algorithms of users' keys; see [`set_kex`](Self::set_kex).
    ///
    /// # Errors
    /// As [`set_kex`](Self::set_kex).
    pub fn set_public_keys(&mut self, spec: &str) -> Result<(), KexError> {
        change(&mut self.public_keys, spec, &signatures(&self.own))
    }

    /// Changes the signature algorithms of hosts that say who their user is: `HostbasedAcceptedAlgorithms`. See
    /// [`set_kex`](Self::set_kex).
    ///
    /// # Errors
    /// As [`set_kex`](Self::set_kex).
    pub fn set_hostbased(&mut self, spec: &str) -> Result<(), KexError> {
        change(&mut self.hostbased, spec, &signatures(&self.own))
    }

    /// Changes the signature algorithms of certificates' authorities: `CASignatureAlgorithms`. A certificate
    /// that is signed by another counts for nothing. See [`set_kex`](Self::set_kex).
    ///
    /// # Errors
    /// As [`set_kex`](Self::set_kex).
    pub fn set_ca_signatures(&mut self, spec: &str) -> Result<(), KexError> {
        change(&mut self.ca_signatures, spec, &plain(signatures(&self.own)))
    }

    /// Changes the ciphers; see [`set_kex`](Self::set_kex).
    ///
    /// # Errors
    /// As [`set_kex`](Self::set_kex).
    pub fn set_ciphers(&mut self, spec: &str) -> Result<(), KexError> {
        change(&mut self.ciphers, spec, &ciphers(&self.own))
    }

    /// Changes the MACs; see [`set_kex`](Self::set_kex).
    ///
    /// # Errors
    /// As [`set_kex`](Self::set_kex).
    pub fn set_macs(&mut self, spec: &str) -> Result<(), KexError> {
        change(&mut self.macs, spec, &macs(&self.own))
    }

    /// Changes the compressions; see [`set_kex`](Self::set_kex).
    ///
    /// # Errors
    /// As [`set_kex`](Self::set_kex).
    pub fn set_compressions(&mut self, spec: &str) -> Result<(), KexError> {
        change(&mut self.compressions, spec, &compressions(&self.own))
    }
}

/// The MACs of [`Rank::Supported`] that a client offers all the same.
const LAST_MACS: [&str; 2] = ["hmac-sha1-etm@openssh.com", "hmac-sha1"];

/// What a list needs of a row of any table.
#[derive(Clone)]
struct Row {
    name: &'static str,
    rank: Rank,
    post_quantum: bool,
}

impl Row {
    /// Whether `word` is its name, a pattern of it, or a profile that it belongs to.
    fn is_meant(&self, word: &str) -> bool {
        match word {
            "modern" => self.rank == Rank::Default,
            "compatible" => self.rank != Rank::Legacy,
            "legacy" => true,
            "pq_only" => self.post_quantum,
            name => matches(name.as_bytes(), self.name.as_bytes(), Letters::Exact),
        }
    }
}

macro_rules! rows {
    ($function:ident, $table:expr, $own:ident) => {
        fn $function(own: &Own) -> Vec<Row> {
            let row = |name, rank| Row { name, rank, post_quantum: false };
            let table = $table.into_iter().map(|spec| row(spec.name, spec.rank));
            table.chain(own.$own.iter().map(|spec| row(spec.name, spec.rank))).collect()
        }
    };
}

rows!(ciphers, ciphers_by_preference(), ciphers);
rows!(macs, MACS, macs);
rows!(compressions, COMPRESSIONS, compressions);

fn methods(own: &Own) -> Vec<Row> {
    METHODS
        .iter()
        .chain(own.kex.iter().copied())
        .map(|spec| Row { name: spec.name, rank: spec.rank, post_quantum: spec.is_post_quantum() })
        .collect()
}

fn signatures(own: &Own) -> Vec<Row> {
    let own = own.keys.iter().map(|spec| &spec.signature);
    SIGNATURES
        .iter()
        .chain(own)
        .map(|spec| Row { name: spec.name, rank: spec.rank, post_quantum: false })
        .collect()
}

/// Those by which a key signs, whatever certificate it has.
fn plain(mut signatures: Vec<Row>) -> Vec<Row> {
    signatures.retain(|row| !is_certified(row.name));
    signatures
}

fn change(list: &mut Vec<&'static str>, spec: &str, known: &[Row]) -> Result<(), KexError> {
    let (sign, names) = match spec.split_at_checked(1) {
        Some((sign @ ("+" | "-" | "^"), names)) => (sign, names),
        _ => ("", spec),
    };
    let mut named = Vec::new();
    for word in names.split(',').map(str::trim) {
        let found: Vec<_> = known.iter().filter(|row| row.is_meant(word)).map(|row| row.name).collect();
        if found.is_empty() {
            let known = known.iter().map(|row| row.name).collect();
            return Err(KexError::UnknownAlgorithm { name: word.to_owned(), known });
        }
        for name in found {
            if !named.contains(&name) {
                named.push(name);
            }
        }
    }
    let rest: Vec<_> = list.iter().copied().filter(|name| !named.contains(name)).collect();
    *list = match sign {
        "+" => list.iter().copied().chain(named.into_iter().filter(|name| !list.contains(name))).collect(),
        "-" => rest,
        "^" => named.into_iter().chain(rest).collect(),
        _ => named,
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{CIPHERS, CipherSpec};

    #[test]
    fn profiles_add_and_take_away() {
        for base in [Algorithms::client_defaults(), Algorithms::server_defaults()] {
            let compatible = base.clone().compatible();
            let legacy = compatible.clone().legacy();
            assert_eq!(legacy.kex.len(), METHODS.len());
            assert_eq!(legacy.ciphers.len(), ciphers(&Own::default()).len());
            assert_eq!(legacy.macs.len(), MACS.len());
            assert_eq!(legacy.public_keys.len(), SIGNATURES.len());
            // What was there comes first, in its order.
            assert!(compatible.kex.starts_with(&base.kex) && legacy.kex[..base.kex.len()] == base.kex);
            assert!(legacy.macs.starts_with(&base.macs) && legacy.ciphers.starts_with(&base.ciphers));
            let weak = |name: &&str| name.contains("sha1") && name.contains("diffie") || name.contains("cbc");
            assert!(!compatible.kex.iter().chain(&compatible.ciphers).any(weak));
            assert!(compatible.macs.contains(&"umac-64@openssh.com"));
            assert!(!compatible.macs.iter().any(|name| name.contains("md5")));
            let strict = legacy.pq_only();
            assert_eq!(
                strict.kex.iter().filter(|name| name.contains("mlkem") || name.contains("sntrup")).count(),
                strict.kex.len()
            );
            assert_eq!(strict.kex.len(), 5);
            assert!(!strict.macs.is_empty() && strict.macs.iter().all(|name| name.contains("-etm@")));
        }
    }

    /// Nothing weak is offered by those who did not ask for it.
    #[test]
    fn defaults_hold_no_more_than_they_say() {
        let client = Algorithms::client_defaults();
        let server = Algorithms::server_defaults();
        let default = |rows: Vec<Row>| -> Vec<_> {
            rows.iter().filter(|row| row.rank == Rank::Default).map(|row| row.name).collect()
        };
        assert_eq!(client.kex, default(methods(&Own::default())));
        assert_eq!(
            (&client.ciphers, &server.ciphers),
            (&default(ciphers(&Own::default())), &default(ciphers(&Own::default())))
        );
        assert_eq!(server.macs, default(macs(&Own::default())));
        assert_eq!(client.macs, [&default(macs(&Own::default()))[..], &LAST_MACS].concat());
        assert_eq!(client.compressions, ["none"]);
    }

    #[test]
    fn lists_take_words_for_profiles() {
        let mut algorithms = Algorithms::client_defaults();
        let before = algorithms.clone();
        algorithms.set_ciphers("+legacy").unwrap();
        assert_eq!(algorithms.ciphers, before.clone().legacy().ciphers);
        algorithms.set_ciphers("-3des-cbc,arcfour").unwrap();
        assert_eq!(algorithms.ciphers.len(), before.clone().legacy().ciphers.len() - 2);
        algorithms.set_ciphers("modern").unwrap();
        assert_eq!(algorithms.ciphers, before.ciphers);
        algorithms.set_kex("pq_only,curve25519-sha256").unwrap();
        assert_eq!(algorithms.kex.len(), 6);
        assert_eq!(algorithms.kex.last(), Some(&"curve25519-sha256"));
        algorithms.set_macs("^umac-64@openssh.com,compatible").unwrap();
        assert_eq!(algorithms.macs.first(), Some(&"umac-64@openssh.com"));
        // Only key exchanges withstand quantum computers; no other list has the word.
        for wrong in ["pq_only", "modern,none", "Legacy", ""] {
            let before = algorithms.clone();
            assert!(matches!(algorithms.set_macs(wrong), Err(KexError::UnknownAlgorithm { .. })), "{wrong}");
            assert_eq!(algorithms, before);
        }
    }

    /// The rows of `doc/algorithms.md` are those of the tables, in their order; each names a source.
    #[test]
    fn the_documentation_lists_every_row() {
        let families = [
            ("key exchange", methods(&Own::default())),
            ("cipher", CIPHERS.iter().map(row).collect()),
            ("MAC", macs(&Own::default())),
            ("compression", compressions(&Own::default())),
            ("signature", signatures(&Own::default())),
        ];
        let expected: Vec<String> = families
            .iter()
            .flat_map(|(family, rows)| rows.iter().map(move |row| (family, row)))
            .map(|(family, row)| format!("| `{}` | {family} | {:?} |", row.name, row.rank).to_lowercase())
            .collect();
        let found: Vec<(String, &str)> = include_str!("../../doc/algorithms.md")
            .lines()
            .skip_while(|line| *line != "## Table")
            .filter(|line| line.starts_with("| `"))
            .filter_map(|line| line.strip_suffix(" |")?.rsplit_once("| "))
            .map(|(row, source)| (format!("{row}|").to_lowercase(), source))
            .collect();
        let names: Vec<_> = found.iter().map(|(row, _)| row.clone()).collect();
        assert!(names == expected, "the rows should be, each with its source:\n{}", expected.join("\n"));
        assert!(found.iter().all(|(_, source)| source.len() > 2));
    }

    fn row(spec: &'static CipherSpec) -> Row {
        Row { name: spec.name, rank: spec.rank, post_quantum: false }
    }
}
