//! Encryption and integrity of a framed packet, in place: RFC 4253 §6.3 and §6.4, RFC 5647, OpenSSH's
//! encrypt-then-MAC (PROTOCOL §1.7) and ChaCha20-Poly1305.

use crate::crypto::chachapoly::{ChaChaPoly, POLY_TAG};
use crate::crypto::cipher::{AesCtr, AesGcm, GCM_TAG};
use crate::crypto::hmac::{Hmac, MAX_MAC};
use crate::crypto::secret::constant_time_eq;

use super::{LENGTH_FIELD, PacketError};

/// The block of counter mode: as much must be decrypted to learn an encrypted length.
const CTR_BLOCK: usize = 16;

/// The longest tag or MAC that follows a packet.
pub(super) const MAX_TAG: usize = MAX_MAC;

/// A MAC beside the cipher.
pub(super) struct Mac {
    pub(super) hmac: Hmac,
    pub(super) encrypt_then_mac: bool,
}

impl Mac {
    fn compute<'a>(&self, sequence: u32, packet: &[u8], out: &'a mut [u8; MAX_MAC]) -> &'a [u8] {
        self.hmac.compute(&[&sequence.to_be_bytes(), packet], out)
    }

    fn check(&self, sequence: u32, packet: &[u8], tag: &[u8]) -> Result<(), PacketError> {
        let mut out = [0; MAX_MAC];
        let ours = self.compute(sequence, packet, &mut out);
        if constant_time_eq(ours, tag) { Ok(()) } else { Err(PacketError::BadMac) }
    }
}

/// How packets of one direction are protected. A packet is: length field, body, tag.
pub(super) enum Protection {
    /// Before the first key exchange.
    Plain,
    Gcm(AesGcm),
    ChaChaPoly(ChaChaPoly),
    Ctr(AesCtr, Mac),
}

impl Protection {
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Self::Plain)
    }

    /// The length of the tag.
    pub(super) fn tag_length(&self) -> usize {
        match self {
            Self::Plain => 0,
            Self::Gcm(_) => GCM_TAG,
            Self::ChaChaPoly(_) => POLY_TAG,
            Self::Ctr(_, mac) => mac.hmac.length(),
        }
    }

    /// Whether the length field is encrypted as part of the packet and counts for its alignment.
    pub(super) fn aligns_length(&self) -> bool {
        match self {
            Self::Plain => true,
            Self::Gcm(_) | Self::ChaChaPoly(_) => false,
            Self::Ctr(_, mac) => !mac.encrypt_then_mac,
        }
    }

    /// Protects the packet that `out` ends with, from `start` on, and appends the tag.
    pub(super) fn seal(&mut self, sequence: u32, out: &mut Vec<u8>, start: usize) -> Result<(), PacketError> {
        let mut mac_buffer = [0; MAX_MAC];
        let packet = out.get_mut(start..).unwrap_or_default();
        match self {
            Self::Plain => {}
            Self::Gcm(gcm) => {
                let (length, body) = split(packet)?;
                let tag = gcm.seal(length, body)?;
                out.extend_from_slice(&tag);
            }
            Self::ChaChaPoly(cipher) => {
                let tag = cipher.seal(sequence, packet)?;
                out.extend_from_slice(&tag);
            }
            Self::Ctr(ctr, mac) if mac.encrypt_then_mac => {
                let (_, body) = split(packet)?;
                ctr.apply(body)?;
                let tag = mac.compute(sequence, packet, &mut mac_buffer);
                out.extend_from_slice(tag);
            }
            Self::Ctr(ctr, mac) => {
                let tag = mac.compute(sequence, packet, &mut mac_buffer);
                ctr.apply(packet)?;
                out.extend_from_slice(tag);
            }
        }
        Ok(())
    }

    /// The bytes that must be there before the length can be read.
    pub(super) fn head_length(&self) -> usize {
        match self {
            Self::Ctr(_, mac) if !mac.encrypt_then_mac => CTR_BLOCK,
            _ => LENGTH_FIELD,
        }
    }

    /// Reads the length. `head` has [`head_length`](Self::head_length) bytes; in counter mode with a MAC over
    /// the plain packet they are decrypted, once.
    pub(super) fn open_head(&mut self, sequence: u32, head: &mut [u8]) -> Result<u32, PacketError> {
        let field = match self {
            Self::ChaChaPoly(cipher) => cipher.open_length(sequence, *split(head)?.0)?,
            Self::Ctr(ctr, mac) if !mac.encrypt_then_mac => {
                ctr.apply(head)?;
                *split(head)?.0
            }
            _ => *split(head)?.0,
        };
        Ok(u32::from_be_bytes(field))
    }

    /// Checks and decrypts a packet whose head went through [`open_head`](Self::open_head). After an error
    /// nothing in it may be used.
    pub(super) fn open(&mut self, sequence: u32, packet: &mut [u8], tag: &[u8]) -> Result<(), PacketError> {
        let good = match self {
            Self::Plain => true,
            Self::Gcm(gcm) => {
                let (length, body) = split(packet)?;
                gcm.open(length, body, fixed(tag)?)?
            }
            Self::ChaChaPoly(cipher) => cipher.open(sequence, packet, fixed(tag)?)?,
            Self::Ctr(ctr, mac) if mac.encrypt_then_mac => {
                mac.check(sequence, packet, tag)?;
                ctr.apply(split(packet)?.1)?;
                true
            }
            Self::Ctr(ctr, mac) => {
                ctr.apply(packet.get_mut(CTR_BLOCK..).unwrap_or_default())?;
                mac.check(sequence, packet, tag)?;
                true
            }
        };
        if good { Ok(()) } else { Err(PacketError::BadMac) }
    }
}

/// Length field and body.
fn split(packet: &mut [u8]) -> Result<(&mut [u8; LENGTH_FIELD], &mut [u8]), PacketError> {
    packet.split_first_chunk_mut().ok_or(PacketError::BadMac)
}

fn fixed<const N: usize>(tag: &[u8]) -> Result<&[u8; N], PacketError> {
    tag.try_into().map_err(|_| PacketError::BadMac)
}
