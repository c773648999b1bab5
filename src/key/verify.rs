//! Checking signatures: blobs of RFC 4253 §6.6, RFC 5656 §3.1.2, RFC 8709 §6; those of tokens,
//! OpenSSH's PROTOCOL.u2f, say how the user was present and are signed over more than the data.

use base64ct::{Base64UrlUnpadded, Encoding};
use openssl::bn::BigNum;
use openssl::dsa::DsaSig;
use openssl::ecdsa::EcdsaSig;
use openssl::pkey::{PKey, Public};
use openssl::sign::Verifier;

use super::algorithm::{KeyType, SignatureSpec};
use super::{KeyError, PublicKey};
use crate::crypto::hash::HashAlg;
use crate::wire::{Mpint, Reader, Writer};

/// An Ed25519 signature, RFC 8032 §5.1.
const ED25519_SIGNATURE: usize = 64;
/// An Ed448 signature, RFC 8032 §5.2.
const ED448_SIGNATURE: usize = 114;
/// A DSA signature: two numbers of 160 bits, RFC 4253 §6.6.
const DSS_SIGNATURE: usize = 40;
/// The name of signatures that a browser had a token make.
const WEBAUTHN: &str = "webauthn-sk-ecdsa-sha2-nistp256@openssh.com";

/// Flags of a token's signature, W3C Web Authentication §6.1.
const USER_PRESENT: u8 = 1;
const USER_VERIFIED: u8 = 4;
const ATTESTED_DATA: u8 = 0x40;
const EXTENSION_DATA: u8 = 0x80;

/// How a token was used for a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenUse {
    /// Somebody touched it.
    pub touched: bool,
    /// It knew who: by a PIN or a fingerprint.
    pub verified: bool,
    /// How many signatures it made, as far as it counts.
    pub counter: u32,
}

/// Checks a signature blob; how the token was used, if the key is a token's.
pub(super) fn verify(
    key: &PublicKey,
    algorithm: &str,
    data: &[u8],
    blob: &[u8],
) -> Result<Option<TokenUse>, KeyError> {
    let spec = key.signature(algorithm).ok_or(KeyError::BadSignature)?;
    let checked = check(key, spec, data, blob);
    // A failed check leaves OpenSSL's error queue filled; it must not colour a later error.
    drop(openssl::error::ErrorStack::get());
    checked
}

fn check(
    key: &PublicKey,
    spec: &SignatureSpec,
    data: &[u8],
    blob: &[u8],
) -> Result<Option<TokenUse>, KeyError> {
    let bad = |_| KeyError::BadSignature;
    let mut reader = Reader::new(blob);
    let (label, raw) = (reader.string().map_err(bad)?, reader.string().map_err(bad)?);
    if label != spec.label.as_bytes() {
        return Err(KeyError::BadSignature);
    }
    let signed =
        if spec.key_type.is_token() { Some(token_data(key, spec, data, &mut reader)?) } else { None };
    reader.finish().map_err(bad)?;
    let data = signed.as_ref().map_or(data, |(signed, _)| signed);
    let good = match spec.key_type {
        KeyType::Ed25519 | KeyType::SkEd25519 => edwards(key.openssl()?, ED25519_SIGNATURE, data, raw)?,
        KeyType::Ed448 => edwards(key.openssl()?, ED448_SIGNATURE, data, raw)?,
        KeyType::Rsa => rsa(key.openssl()?, spec.hash, data, raw)?,
        KeyType::Dss => dss(key.openssl()?, data, raw)?,
        KeyType::EcdsaP256 | KeyType::EcdsaP384 | KeyType::EcdsaP521 | KeyType::SkEcdsa => {
            ecdsa(key.openssl()?, spec.hash, data, raw)?
        }
        KeyType::Own => match key.own() {
            Some(own) => own.verify(key.blob(), data, raw)?,
            None => false,
        },
    };
    if good { Ok(signed.map(|(_, token)| token)) } else { Err(KeyError::BadSignature) }
}

/// What a token signed in place of `data`, and how it says it was used.
fn token_data(
    key: &PublicKey,
    spec: &SignatureSpec,
    data: &[u8],
    reader: &mut Reader<'_>,
) -> Result<(Vec<u8>, TokenUse), KeyError> {
    let bad = |_| KeyError::BadSignature;
    let (flags, counter) = (reader.get::<u8>().map_err(bad)?, reader.get::<u32>().map_err(bad)?);
    let mut signed = HashAlg::Sha256.digest(&[key.application()])?.to_vec();
    signed.put(&flags).put(&counter);
    if spec.label == WEBAUTHN {
        let parts = [reader.string(), reader.string(), reader.string()];
        let [Ok(origin), Ok(client_data), Ok(extensions)] = parts else { return Err(KeyError::BadSignature) };
        let extended = flags & EXTENSION_DATA != 0;
        if flags & ATTESTED_DATA != 0 || extended == extensions.is_empty() || origin.contains(&b'"') {
            return Err(KeyError::BadSignature);
        }
        if !client_data.starts_with(&client_data_start(data, origin)) {
            return Err(KeyError::BadSignature);
        }
        signed.extend_from_slice(extensions);
        signed.extend_from_slice(&HashAlg::Sha256.digest(&[client_data])?);
    } else {
        signed.extend_from_slice(&HashAlg::Sha256.digest(&[data])?);
    }
    let token =
        TokenUse { touched: flags & USER_PRESENT != 0, verified: flags & USER_VERIFIED != 0, counter };
    Ok((signed, token))
}

/// How a browser's JSON begins: what was signed, and for whom.
fn client_data_start(data: &[u8], origin: &[u8]) -> Vec<u8> {
    let mut start = b"{\"type\":\"webauthn.get\",\"challenge\":\"".to_vec();
    start.extend_from_slice(Base64UrlUnpadded::encode_string(data).as_bytes());
    start.extend_from_slice(b"\",\"origin\":\"");
    start.extend_from_slice(origin);
    start.push(b'"');
    start
}

fn edwards(key: &PKey<Public>, length: usize, data: &[u8], raw: &[u8]) -> Result<bool, KeyError> {
    Ok(raw.len() == length && Verifier::new_without_digest(key)?.verify_oneshot(raw, data).unwrap_or(false))
}

fn rsa(key: &PKey<Public>, hash: Option<HashAlg>, data: &[u8], raw: &[u8]) -> Result<bool, KeyError> {
    let hash = hash.ok_or(KeyError::BadSignature)?;
    // RFC 4253 §6.6 lets leading zeros be missing; OpenSSL wants them.
    let mut padded = vec![0; key.size().checked_sub(raw.len()).ok_or(KeyError::BadSignature)?];
    padded.extend_from_slice(raw);
    let mut verifier = Verifier::new(hash.message_digest(), key)?;
    verifier.update(data)?;
    Ok(verifier.verify(&padded).unwrap_or(false))
}

fn dss(key: &PKey<Public>, data: &[u8], raw: &[u8]) -> Result<bool, KeyError> {
    if raw.len() != DSS_SIGNATURE {
        return Ok(false);
    }
    let (r, s) = raw.split_at(DSS_SIGNATURE / 2);
    let pair = DsaSig::from_private_components(BigNum::from_slice(r)?, BigNum::from_slice(s)?)?;
    let mut verifier = Verifier::new(HashAlg::Sha1.message_digest(), key)?;
    verifier.update(data)?;
    Ok(verifier.verify(&pair.to_der()?).unwrap_or(false))
}

fn ecdsa(key: &PKey<Public>, hash: Option<HashAlg>, data: &[u8], raw: &[u8]) -> Result<bool, KeyError> {
    let hash = hash.ok_or(KeyError::BadSignature)?;
    let mut reader = Reader::new(raw);
    let mut number = || reader.get::<Mpint<'_>>().map_err(|_| KeyError::BadSignature);
    let (r, s) = (number()?, number()?);
    reader.finish().map_err(|_| KeyError::BadSignature)?;
    let pair = EcdsaSig::from_private_components(
        BigNum::from_slice(r.magnitude())?,
        BigNum::from_slice(s.magnitude())?,
    )?;
    let digest = hash.digest(&[data])?;
    Ok(pair.verify(&digest, &*key.ec_key()?).unwrap_or(false))
}
