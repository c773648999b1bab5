//! What one side offers, and how users change it: `a,b`, `+a`, `-a`, `^a` as in ssh_config(5).

use super::KexError;
use super::table::METHODS;
use crate::crypto::Rank;
use crate::key::algorithm::SIGNATURES;
use crate::packet::{CIPHERS, COMPRESSIONS, MACS, ciphers_by_preference};

/// The algorithms that a connection offers, each list in the order of preference.
///
/// ```
/// let mut algorithms = feramiko::Algorithms::client_defaults();
/// algorithms.set_ciphers("aes256-gcm@openssh.com,aes128-ctr")?;
/// algorithms.set_kex("-ecdh-sha2-nistp521")?;
/// assert!(algorithms.set_macs("hmac-rot13").is_err());
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
}

impl Algorithms {
    /// What a client offers unless told otherwise: post-quantum exchanges first, weak ones never.
    #[must_use]
    pub fn client_defaults() -> Self {
        let mut this = Self::server_defaults();
        this.kex = METHODS.iter().filter(|spec| spec.rank == Rank::Default).map(|spec| spec.name).collect();
        // Old servers know no other; last, and only where the cipher needs a MAC.
        this.macs = MACS.iter().map(|spec| spec.name).collect();
        this
    }

    /// What a server offers unless told otherwise: like a client, without NIST curves, finite fields
    /// and SHA-1.
    #[must_use]
    pub fn server_defaults() -> Self {
        let ciphers = ciphers_by_preference().into_iter().filter(|spec| spec.rank == Rank::Default);
        let signatures: Vec<_> =
            SIGNATURES.iter().filter(|spec| spec.rank == Rank::Default).map(|spec| spec.name).collect();
        Self {
            kex: METHODS.iter().filter(|spec| spec.server_default).map(|spec| spec.name).collect(),
            host_keys: signatures.clone(),
            ciphers: ciphers.map(|spec| spec.name).collect(),
            macs: MACS.iter().filter(|spec| spec.rank == Rank::Default).map(|spec| spec.name).collect(),
            compressions: vec!["none"],
            public_keys: signatures,
        }
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

    /// The compressions offered.
    #[must_use]
    pub fn compressions(&self) -> &[&'static str] {
        &self.compressions
    }

    /// Changes the key exchange methods. A plain list replaces them, `+list` appends, `-list` takes
    /// away, `^list` moves to the front.
    ///
    /// # Errors
    /// [`KexError::UnknownAlgorithm`] for a name that is not known; nothing is changed then.
    pub fn set_kex(&mut self, spec: &str) -> Result<(), KexError> {
        change(&mut self.kex, spec, METHODS.iter().map(|row| row.name).collect())
    }

    /// Changes the host key algorithms; see [`set_kex`](Self::set_kex).
    ///
    /// # Errors
    /// As [`set_kex`](Self::set_kex).
    pub fn set_host_keys(&mut self, spec: &str) -> Result<(), KexError> {
        change(&mut self.host_keys, spec, SIGNATURES.iter().map(|row| row.name).collect())
    }

    /// Changes the signature algorithms of users' keys; see [`set_kex`](Self::set_kex).
    ///
    /// # Errors
    /// As [`set_kex`](Self::set_kex).
    pub fn set_public_keys(&mut self, spec: &str) -> Result<(), KexError> {
        change(&mut self.public_keys, spec, SIGNATURES.iter().map(|row| row.name).collect())
    }

    /// Changes the ciphers; see [`set_kex`](Self::set_kex).
    ///
    /// # Errors
    /// As [`set_kex`](Self::set_kex).
    pub fn set_ciphers(&mut self, spec: &str) -> Result<(), KexError> {
        change(&mut self.ciphers, spec, CIPHERS.iter().map(|row| row.name).collect())
    }

    /// Changes the MACs; see [`set_kex`](Self::set_kex).
    ///
    /// # Errors
    /// As [`set_kex`](Self::set_kex).
    pub fn set_macs(&mut self, spec: &str) -> Result<(), KexError> {
        change(&mut self.macs, spec, MACS.iter().map(|row| row.name).collect())
    }

    /// Changes the compressions; see [`set_kex`](Self::set_kex).
    ///
    /// # Errors
    /// As [`set_kex`](Self::set_kex).
    pub fn set_compressions(&mut self, spec: &str) -> Result<(), KexError> {
        change(&mut self.compressions, spec, COMPRESSIONS.iter().map(|row| row.name).collect())
    }
}

fn change(list: &mut Vec<&'static str>, spec: &str, known: Vec<&'static str>) -> Result<(), KexError> {
    let (sign, names) = match spec.split_at_checked(1) {
        Some((sign @ ("+" | "-" | "^"), names)) => (sign, names),
        _ => ("", spec),
    };
    let mut named = Vec::new();
    for name in names.split(',').map(str::trim) {
        let found = known.iter().copied().find(|row| *row == name);
        let Some(found) = found else {
            return Err(KexError::UnknownAlgorithm { name: name.to_owned(), known });
        };
        if !named.contains(&found) {
            named.push(found);
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
