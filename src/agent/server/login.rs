//! What a client wants signed, where it is a login: RFC 4252 §7, and OpenSSH's hostbound variant of it
//! (PROTOCOL §1.8), which names the server's host key too. A key with destinations signs nothing else.

use crate::key::PublicKey;
use crate::wire::{Malformed, Reader};

/// SSH_MSG_USERAUTH_REQUEST, RFC 4252 §6.
const USERAUTH_REQUEST: u8 = 50;
/// The service that OpenSSH's agent signs for.
const SERVICE: &[u8] = b"ssh-connection";

/// A request to log in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Login<'a> {
    pub(super) session: &'a [u8],
    pub(super) user: &'a [u8],
    /// Only the hostbound variant has it.
    pub(super) host_key: Option<&'a [u8]>,
}

impl<'a> Login<'a> {
    /// Reads the data that is signed for a login with `key`.
    pub(super) fn parse(data: &'a [u8], key: &PublicKey) -> Result<Self, Malformed> {
        let mut reader = Reader::new(data);
        let session = reader.string()?;
        let number = reader.get::<u8>()?;
        let (user, service, method) = (reader.string()?, reader.string()?, reader.string()?);
        let signed = reader.get::<u8>()?;
        let (algorithm, blob) = (reader.string()?, reader.string()?);
        let host_key = match method {
            b"publickey" => None,
            b"publickey-hostbound-v00@openssh.com" => Some(reader.string()?),
            _ => return Err(Malformed::Value),
        };
        reader.finish()?;
        let of_the_key = || key.algorithms().iter().any(|known| known.as_bytes() == algorithm);
        let good = !session.is_empty()
            && number == USERAUTH_REQUEST
            && service == SERVICE
            && signed == 1
            && blob == key.blob()
            && (algorithm == key.key_type().as_bytes() || of_the_key());
        if good { Ok(Self { session, user, host_key }) } else { Err(Malformed::Value) }
    }
}
