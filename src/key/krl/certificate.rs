//! What revocation goes by in a certificate (OpenSSH's PROTOCOL.certkeys): the key inside, the serial,
//! the key id, the CA.
//!
//! Believes what stands there: whether the CA has signed it makes no difference to revoking it.

use crate::wire::{Malformed, Reader, Writer};

/// What the names of certificate types end with.
const SUFFIX: &[u8] = b"-cert-v01@openssh.com";

/// Certificate types, the type of the key inside, and how many fields that has.
const TYPES: &[(&str, &str, usize)] = &[
    ("ssh-ed25519-cert-v01@openssh.com", "ssh-ed25519", 1),
    ("ssh-rsa-cert-v01@openssh.com", "ssh-rsa", 2),
    ("ssh-dss-cert-v01@openssh.com", "ssh-dss", 4),
    ("ecdsa-sha2-nistp256-cert-v01@openssh.com", "ecdsa-sha2-nistp256", 2),
    ("ecdsa-sha2-nistp384-cert-v01@openssh.com", "ecdsa-sha2-nistp384", 2),
    ("ecdsa-sha2-nistp521-cert-v01@openssh.com", "ecdsa-sha2-nistp521", 2),
    ("sk-ssh-ed25519-cert-v01@openssh.com", "sk-ssh-ed25519@openssh.com", 2),
    ("sk-ecdsa-sha2-nistp256-cert-v01@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com", 3),
];

/// Whether a key type is one of certificates.
pub(super) fn is_certificate(key_type: &[u8]) -> bool {
    key_type.ends_with(SUFFIX)
}

/// The fields of a certificate that revocation goes by.
#[derive(Debug)]
pub(super) struct Certificate<'a> {
    /// The blob of the key that is certified.
    pub(super) key: Vec<u8>,
    pub(super) serial: u64,
    pub(super) key_id: &'a [u8],
    /// The CA's blob.
    pub(super) authority: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// Reads a certificate of a type that is known.
    pub(super) fn parse(blob: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(blob);
        let name = reader.string()?;
        let row = TYPES.iter().find(|(certificate, ..)| certificate.as_bytes() == name);
        let (_, plain, fields) = row.ok_or(Malformed::Value)?;
        reader.string()?; // nonce
        let mut key = Vec::new();
        key.put(*plain);
        for _ in 0..*fields {
            key.put(reader.string()?);
        }
        let serial = reader.get()?;
        reader.get::<u32>()?; // user or host
        let key_id = reader.string()?;
        reader.string()?; // principals
        reader.take(16)?; // valid after, valid before
        for _ in ["critical options", "extensions", "reserved"] {
            reader.string()?;
        }
        let authority = reader.string()?;
        reader.string()?; // signature
        reader.finish()?;
        Ok(Self { key, serial, key_id, authority })
    }
}
