//! What arrives before it has a meaning: version lines, packets under every suite, messages.

use zeroize::Zeroizing;

use super::Input;
use crate::crypto::hash::HashAlg;
use crate::msg::{auth, connection, kex, transport};
use crate::packet::{
    CIPHERS, COMPRESSIONS, Direction, IdentReader, KeySource, MACS, MAX_PACKET, Opened, Opener, Sealer, Suite,
};
use crate::wire::Encode;

/// A version line, whole or in pieces, as either side reads it.
pub fn ident(data: &[u8]) {
    let mut input = Input(data);
    let mut reader =
        if input.byte().is_multiple_of(2) { IdentReader::client() } else { IdentReader::server() };
    while !input.is_empty() {
        let piece = input.piece(1024);
        match reader.feed(piece) {
            Ok(None) => {}
            Ok(Some((ident, used))) => {
                assert!(used <= piece.len() && ident.line().len() <= 255);
                return;
            }
            Err(_) => return,
        }
    }
}

fn suite(input: &mut Input<'_>) -> Option<Suite> {
    let (cipher, mac, compression) =
        (usize::from(input.byte()), usize::from(input.byte()), usize::from(input.byte()));
    let cipher = CIPHERS.get(cipher % CIPHERS.len())?;
    let mac = MACS.get(mac % MACS.len()).filter(|_| !cipher.is_aead());
    let compression = COMPRESSIONS.get(compression % COMPRESSIONS.len())?;
    Some(Suite { cipher, mac, compression })
}

fn keys() -> KeySource {
    KeySource {
        alg: HashAlg::Sha256,
        secret: Zeroizing::new(b"\0\0\0\x02\x12\x34".to_vec()),
        exchange_hash: vec![1; 32],
        session_id: vec![2; 32],
    }
}

/// Packets: honest ones that were meddled with, and whatever else.
pub fn open(data: &[u8]) {
    let mut input = Input(data);
    let (mut sealer, mut opener) = (Sealer::plain(), Opener::plain());
    if !input.byte().is_multiple_of(4)
        && let Some(suite) = suite(&mut input)
        && let (Ok(seal), Ok(open)) =
            (suite.seal_keys(&keys(), Direction::ToServer), suite.open_keys(&keys(), Direction::ToServer))
    {
        sealer.replace(seal, false);
        opener.replace(open, false);
        sealer.start_delayed_compression();
        opener.start_delayed_compression();
    }
    let mut wire = Vec::new();
    while !input.is_empty() {
        let payload = input.piece(1024).to_vec();
        let mut packet = Vec::new();
        if sealer.seal(&[&payload], &mut packet).is_err() {
            return;
        }
        for part in input.meddle(packet) {
            wire.extend_from_slice(&part);
        }
        loop {
            match opener.open(&mut wire) {
                Err(_) => return,
                Ok(Opened::NeedMore(needed)) => {
                    assert!(needed <= 4 + MAX_PACKET + 64, "waits for {needed}");
                    break;
                }
                Ok(Opened::Packet { payload, consumed, .. }) => {
                    assert!(opener.payload(&wire, &payload).len() <= MAX_PACKET);
                    assert!(consumed > 0 && consumed <= wire.len());
                    wire.drain(..consumed);
                }
            }
        }
    }
}

/// Decodes as each kind of message; what can be read can be written, and reads as the same again.
#[allow(elided_lifetimes_in_paths, reason = "a list of types, some of which borrow")]
pub fn messages(data: &[u8]) {
    macro_rules! each {
        ($($name:path),* $(,)?) => { $(
            if let Ok(message) = <$name>::decode_packet(data) {
                let bytes = message.to_vec();
                let again = <$name>::decode_packet(&bytes).map(|message| message.to_vec());
                assert_eq!(again.as_ref(), Ok(&bytes), "{}", stringify!($name));
                // Shown, as logs do.
                let _ = format!("{message:?}");
            }
        )* };
    }
    each!(
        transport::Disconnect,
        transport::Ignore,
        transport::Unimplemented,
        transport::Debug,
        transport::ServiceRequest,
        transport::ServiceAccept,
        transport::ExtInfo,
        transport::Ping,
        transport::Pong,
        kex::KexInit,
        kex::KexDhInit,
        kex::KexDhReply,
        kex::KexEcdhInit,
        kex::KexEcdhReply,
        kex::KexGexRequestOld,
        kex::KexGexGroup,
        kex::KexGexInit,
        kex::KexGexReply,
        kex::KexGexRequest,
        auth::UserauthRequest,
        auth::UserauthFailure,
        auth::UserauthBanner,
        auth::UserauthPkOk,
        auth::UserauthPasswdChangereq,
        auth::UserauthInfoRequest,
        auth::UserauthInfoResponse,
        connection::GlobalRequest,
        connection::RequestSuccess,
        connection::ChannelOpen,
        connection::ChannelOpenConfirmation,
        connection::ChannelOpenFailure,
        connection::ChannelWindowAdjust,
        connection::ChannelData,
        connection::ChannelExtendedData,
        connection::ChannelRequest,
    );
}
