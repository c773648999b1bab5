//! Key exchange messages: RFC 4253 §7 and §8, RFC 4419, RFC 5656, RFC 8731.

use crate::wire::{Mpint, NameList, messages};

messages! {
    /// RFC 4253 §7.1
    KexInit<'a> = 20 {
        cookie: [u8; 16],
        kex: NameList<'a>,
        host_key: NameList<'a>,
        cipher_to_server: NameList<'a>,
        cipher_to_client: NameList<'a>,
        mac_to_server: NameList<'a>,
        mac_to_client: NameList<'a>,
        compression_to_server: NameList<'a>,
        compression_to_client: NameList<'a>,
        language_to_server: NameList<'a>,
        language_to_client: NameList<'a>,
        first_kex_packet_follows: bool,
        reserved: u32,
    }
    /// RFC 4253 §7.3
    NewKeys = 21 {}
    /// RFC 4253 §8: the client's half of a finite-field exchange.
    KexDhInit<'a> = 30 { e: Mpint<'a> }
    /// RFC 4253 §8
    KexDhReply<'a> = 31 { host_key: &'a [u8], f: Mpint<'a>, signature: &'a [u8] }
    /// RFC 5656 §4 and every exchange whose halves are strings (X25519, ML-KEM, sntrup761).
    KexEcdhInit<'a> = 30 { share: &'a [u8] }
    /// RFC 5656 §4
    KexEcdhReply<'a> = 31 { host_key: &'a [u8], share: &'a [u8], signature: &'a [u8] }
    /// RFC 4419 §5: the request of the drafts before it, still sent by PuTTY.
    KexGexRequestOld = 30 { bits: u32 }
    /// RFC 4419 §3
    KexGexGroup<'a> = 31 { p: Mpint<'a>, g: Mpint<'a> }
    /// RFC 4419 §3
    KexGexInit<'a> = 32 { e: Mpint<'a> }
    /// RFC 4419 §3
    KexGexReply<'a> = 33 { host_key: &'a [u8], f: Mpint<'a>, signature: &'a [u8] }
    /// RFC 4419 §3
    KexGexRequest = 34 { min: u32, preferred: u32, max: u32 }
}
