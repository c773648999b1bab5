//! Encryption and integrity of a framed packet, in place: RFC 4253 §6.3 and §6.4, RFC 5647, OpenSSH's
//! encrypt-then-MAC (PROTOCOL §1.5) and ChaCha20-Poly1305.

use crate::crypto::CryptoError;
use crate::crypto::bulk::CipherState;
use crate::crypto::chachapoly::{ChaChaPoly, POLY_TAG};
use crate::crypto::cipher::{AesGcm, GCM_TAG};
use crate::crypto::hmac::{Hmac, MAX_MAC};
use crate::crypto::secret::constant_time_eq;
use crate::crypto::umac::Umac;

use super::own::MacState;
use super::{LENGTH_FIELD, PacketError};

/// The longest tag or MAC that follows a packet.
pub(super) const MAX_TAG: usize = MAX_MAC;

/// What computes MACs.
pub(super) enum MacKey {
    Hmac(Hmac),
    Umac(Umac),
    Own(Box<dyn MacState>),
}

/// A MAC beside the cipher.
pub(super) struct Mac {
    pub(super) key: MacKey,
    /// Bytes of it that are sent.
    pub(super) length: usize,
    pub(super) encrypt_then_mac: bool,
}

impl Mac {
    fn compute<'a>(
        &mut self,
        sequence: u32,
        packet: &[u8],
        out: &'a mut [u8; MAX_MAC],
    ) -> Result<&'a [u8], CryptoError> {
        match &mut self.key {
            MacKey::Hmac(hmac) => {
                hmac.compute(&[&sequence.to_be_bytes(), packet], out);
            }
            MacKey::Umac(umac) => {
                let tag = umac.compute(u64::from(sequence), packet)?;
                out.iter_mut().zip(tag).for_each(|(to, from)| *to = from);
            }
            MacKey::Own(state) => {
                state.compute(sequence, packet, out.get_mut(..self.length).unwrap_or_default())?;
            }
        }
        Ok(out.get(..self.length).unwrap_or_default())
    }

    fn check(&mut self, sequence: u32, packet: &[u8], tag: &[u8]) -> Result<(), PacketError> {
        let mut out = [0; MAX_MAC];
        let ours = self.compute(sequence, packet, &mut out)?;
        if !ours.is_empty() && constant_time_eq(ours, tag) { Ok(()) } else { Err(PacketError::BadMac) }
    }
}

/// A cipher and a MAC beside it.
pub(super) struct Pair {
    pub(super) cipher: Box<dyn CipherState>,
    pub(super) mac: Mac,
    /// The block of the cipher: as much must be decrypted to learn an encrypted length.
    pub(super) block: usize,
    /// Whether the cipher chains its blocks.
    pub(super) chained: bool,
}

/// How packets of one direction are protected. A packet is: length field, body, tag.
pub(super) enum Protection {
    /// Before the first key exchange.
    Plain,
    /// On another program's connection, which has keys of its own: OpenSSH's PROTOCOL.mux §9. There is
    /// no padding either.
    #[cfg_attr(not(unix), allow(dead_code, reason = "only UNIX sockets have masters"))]
    Shared,
    Gcm(AesGcm),
    ChaChaPoly(ChaChaPoly),
    Pair(Pair),
}

impl Protection {
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Self::Plain | Self::Shared)
    }

    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Shared)
    }

    /// The length of the tag.
    pub(super) fn tag_length(&self) -> usize {
        match self {
            Self::Plain | Self::Shared => 0,
            Self::Gcm(_) => GCM_TAG,
            Self::ChaChaPoly(_) => POLY_TAG,
            Self::Pair(pair) => pair.mac.length,
        }
    }

    /// Whether the length field is encrypted as part of the packet and counts for its alignment.
    pub(super) fn aligns_length(&self) -> bool {
        match self {
            Self::Plain | Self::Shared => true,
            Self::Gcm(_) | Self::ChaChaPoly(_) => false,
            Self::Pair(pair) => !pair.mac.encrypt_then_mac,
        }
    }

    /// Protects the packet that `out` ends with, from `start` on, and appends the tag.
    pub(super) fn seal(&mut self, sequence: u32, out: &mut Vec<u8>, start: usize) -> Result<(), PacketError> {
        let mut mac_buffer = [0; MAX_MAC];
        let packet = out.get_mut(start..).unwrap_or_default();
        match self {
            Self::Plain | Self::Shared => {}
            Self::Gcm(gcm) => {
                let (length, body) = split(packet)?;
                let tag = gcm.seal(length, body)?;
                out.extend_from_slice(&tag);
            }
            Self::ChaChaPoly(cipher) => {
                let tag = cipher.seal(sequence, packet)?;
                out.extend_from_slice(&tag);
            }
            Self::Pair(Pair { cipher, mac, .. }) if mac.encrypt_then_mac => {
                let (_, body) = split(packet)?;
                cipher.apply(body)?;
                let tag = mac.compute(sequence, packet, &mut mac_buffer)?;
                out.extend_from_slice(tag);
            }
            Self::Pair(Pair { cipher, mac, .. }) => {
                let tag = mac.compute(sequence, packet, &mut mac_buffer)?;
                cipher.apply(packet)?;
                out.extend_from_slice(tag);
            }
        }
        Ok(())
    }

    /// The bytes that must be there before the length can be read.
    pub(super) fn head_length(&self) -> usize {
        match self {
            Self::Pair(pair) if !pair.mac.encrypt_then_mac => pair.block,
            _ => LENGTH_FIELD,
        }
    }

    /// Reads the length. `head` has [`head_length`](Self::head_length) bytes; with a MAC over the
    /// plain packet they are decrypted, once.
    pub(super) fn open_head(&mut self, sequence: u32, head: &mut [u8]) -> Result<u32, PacketError> {
        let field = match self {
            Self::ChaChaPoly(cipher) => cipher.open_length(sequence, *split(head)?.0)?,
            Self::Pair(pair) if !pair.mac.encrypt_then_mac => {
                pair.cipher.apply(head)?;
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
            Self::Plain | Self::Shared => true,
            Self::Gcm(gcm) => {
                let (length, body) = split(packet)?;
                gcm.open(length, body, fixed(tag)?)?
            }
            Self::ChaChaPoly(cipher) => cipher.open(sequence, packet, fixed(tag)?)?,
            Self::Pair(Pair { cipher, mac, .. }) if mac.encrypt_then_mac => {
                mac.check(sequence, packet, tag)?;
                cipher.apply(split(packet)?.1)?;
                true
            }
            Self::Pair(Pair { cipher, mac, block, .. }) => {
                cipher.apply(packet.get_mut(*block..).unwrap_or_default())?;
                mac.check(sequence, packet, tag)?;
                true
            }
        };
        if good { Ok(()) } else { Err(PacketError::BadMac) }
    }

    /// Whether the moment of an error tells what is in a packet: with chained blocks an attacker may put a
    /// block of his choice where the length stands, and count the bytes that are read before the error
    /// (CVE-2008-5161).
    pub(super) fn betrays_length(&self) -> bool {
        matches!(self, Self::Pair(Pair { mac, chained: true, .. }) if !mac.encrypt_then_mac)
    }

    /// Computes a MAC over bytes of a packet that is refused already, for the time it takes.
    pub(super) fn spend(&mut self, sequence: u32, bytes: &[u8]) -> Result<(), PacketError> {
        if let Self::Pair(pair) = self {
            pair.mac.compute(sequence, bytes, &mut [0; MAX_MAC])?;
        }
        Ok(())
    }
}

/// Length field and body.
fn split(packet: &mut [u8]) -> Result<(&mut [u8; LENGTH_FIELD], &mut [u8]), PacketError> {
    packet.split_first_chunk_mut().ok_or(PacketError::BadMac)
}

fn fixed<const N: usize>(tag: &[u8]) -> Result<&[u8; N], PacketError> {
    tag.try_into().map_err(|_| PacketError::BadMac)
}
