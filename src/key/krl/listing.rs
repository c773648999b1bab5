//! A list as text for people: what `ssh-keygen -Q -l` shows (krl.c, krl_dump).

use std::fmt;

use super::{Certificates, RevokedKeys};
use crate::key::PublicKey;
use crate::sys::local_time::{Civil, shown};
use crate::wire::Escaped;

/// As `ssh-keygen -Q -l` shows it; the time by the clocks of this place.
impl fmt::Display for RevokedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Civil { year, month, day, hour, minute, second } = shown(self.generated);
        writeln!(f, "# KRL version {}", self.version)?;
        writeln!(f, "# Generated at {year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}")?;
        if !self.comment.is_empty() {
            writeln!(f, "# Comment: {}", Escaped(&self.comment))?;
        }
        writeln!(f)?;
        // Keys that are not built have no fingerprint here.
        for key in self.keys.iter().filter_map(|blob| PublicKey::from_blob(blob).ok()) {
            writeln!(f, "hash: {} # {}", key.fingerprint(), key.key_type())?;
        }
        for hash in &self.sha256 {
            writeln!(f, "hash: SHA256:{}", hex(hash))?;
        }
        for hash in &self.sha1 {
            writeln!(f, "# hash SHA1:{}", hex(hash))?;
        }
        self.by_authority().into_iter().try_for_each(|(authority, of_one)| certificates(f, authority, of_one))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn certificates(f: &mut fmt::Formatter<'_>, authority: &[u8], of_one: &Certificates) -> fmt::Result {
    writeln!(f)?;
    match PublicKey::from_blob(authority) {
        _ if authority.is_empty() => writeln!(f, "# Wildcard CA")?,
        Ok(key) => writeln!(f, "# CA key {} {}", key.key_type(), key.fingerprint())?,
        Err(error) => writeln!(f, "# CA key: {error}")?,
    }
    for (first, last) in of_one.serials.runs() {
        if first == last {
            writeln!(f, "serial: {first}")?;
        } else {
            writeln!(f, "serial: {first}-{last}")?;
        }
    }
    of_one.key_ids.iter().try_for_each(|key_id| writeln!(f, "id: {}", Escaped(key_id)))
}
