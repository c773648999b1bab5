//! PEM files: PKCS#1, SEC1 (also encrypted as RFC 1421 does), PKCS#8 plain and encrypted.

use openssl::pkey::PKey as OpensslKey;

use super::body;
use crate::crypto::secret::Secret;
use crate::key::{KeyError, PKey};

/// The largest PBKDF2 count that is worked through: some seconds.
const PBKDF2_ROUNDS: u64 = 10_000_000;

/// Reads a PEM key through OpenSSL, after its cost was checked.
pub(super) fn read(text: &[u8], text_str: &str, passphrase: Option<&Secret>) -> Result<PKey, KeyError> {
    let pkcs8 = text_str.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----");
    let encrypted = pkcs8 || text_str.contains("Proc-Type: 4,ENCRYPTED");
    if pkcs8 {
        check_cost(&body(text_str, "ENCRYPTED PRIVATE KEY")?)?;
    }
    let key = match (encrypted, passphrase) {
        (false, _) => OpensslKey::private_key_from_pem(text)
            .map_err(|_| KeyError::Malformed("OpenSSL cannot read it"))?,
        (true, None) => return Err(KeyError::PassphraseNeeded),
        (true, Some(passphrase)) => OpensslKey::private_key_from_pem_passphrase(text, passphrase.expose())
            .map_err(|_| KeyError::WrongPassphrase)?,
    };
    PKey::from_openssl(key, String::new())
}

/// Finds the iteration counts of an EncryptedPrivateKeyInfo (RFC 5958, RFC 8018, RFC 7914): every
/// INTEGER in its AlgorithmIdentifier. A cost beyond the limit is refused before OpenSSL works on it.
fn check_cost(der: &[u8]) -> Result<(), KeyError> {
    let bad = KeyError::Malformed("broken DER");
    let (tag, inner, _) = element(der).ok_or_else(|| bad.clone())?;
    let (algorithm_tag, algorithm, _) = element(inner).ok_or_else(|| bad.clone())?;
    if tag != 0x30 || algorithm_tag != 0x30 {
        return Err(bad);
    }
    let mut product = 1_u64;
    let mut waiting = vec![algorithm];
    let mut seen = 0_usize;
    while let Some(mut rest) = waiting.pop() {
        while let Some((tag, content, after)) = element(rest) {
            seen = seen.saturating_add(1);
            if seen > 64 {
                return Err(bad);
            }
            match tag {
                0x30 => waiting.push(content),
                0x02 => {
                    let value = content.iter().try_fold(0_u64, |sum, byte| {
                        sum.checked_mul(256).and_then(|sum| sum.checked_add(u64::from(*byte)))
                    });
                    // scrypt's N, r and p multiply; PBKDF2 has a count and a small key length.
                    product = product.saturating_mul(value.unwrap_or(u64::MAX).max(1));
                }
                _ => {}
            }
            rest = after;
        }
    }
    // A key length of 16 to 32 may stand beside the count.
    if product > PBKDF2_ROUNDS.saturating_mul(32) {
        return Err(KeyError::TooCostly(format!("an iteration count beyond {PBKDF2_ROUNDS}")));
    }
    Ok(())
}

/// One DER element: tag, content, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        let (digits, rest) = rest.split_at_checked(count).filter(|_| (1..=4).contains(&count))?;
        let length = digits.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
        (length, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}
