//! Hostbased authentication, RFC 4252 §9: the client's host vouches for the user, with its host key.
//! What both sides sign and read of it.

use super::method::CONNECTION;
use crate::key::{PKey, PublicKey};
use crate::wire::{Malformed, Reader, Writer};

/// The longest name of a host, RFC 1035 §2.3.4.
const HOST_BYTES: usize = 255;

/// A host that says who its user is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostbasedClient {
    /// The host's name as the client gave it, without a dot at its end: letters, digits and `-_.:%`.
    /// That the client comes from there is for the application to see.
    pub host: String,
    /// The user's name on that host.
    pub user: String,
    /// The host's key, with its certificate or without. That the client signs with it is verified;
    /// whether it is that host's is not.
    pub key: PublicKey,
}

/// What a client asks with.
#[derive(Debug)]
pub(crate) struct HostClaim {
    pub(crate) key: PKey,
    pub(crate) algorithm: &'static str,
    pub(crate) host: String,
    pub(crate) user: String,
}

impl HostClaim {
    /// The request's fields before the signature.
    pub(super) fn fields(&self) -> Vec<u8> {
        let mut fields = Vec::new();
        fields.put(self.algorithm).put(self.key.public_key().blob());
        fields.put(self.host.as_str()).put(self.user.as_str());
        fields
    }
}

/// What a host's key signs; `fields` are those of the request before the signature.
pub(super) fn signed_data(session_id: &[u8], user: &[u8], fields: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    data.put(session_id).put(&50_u8).put(user).put(CONNECTION).put("hostbased").extend_from_slice(fields);
    data
}

/// A request as it was read.
pub(super) struct HostRequest<'a> {
    pub(super) algorithm: &'a [u8],
    pub(super) blob: &'a [u8],
    host: &'a [u8],
    user: &'a [u8],
    pub(super) fields: &'a [u8],
    pub(super) signature: &'a [u8],
}

impl<'a> HostRequest<'a> {
    pub(super) fn read(rest: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(rest);
        let (algorithm, blob) = (reader.string()?, reader.string()?);
        let (host, user) = (reader.string()?, reader.string()?);
        let after = reader.clone().rest().len();
        let fields = rest.get(..rest.len().saturating_sub(after)).unwrap_or_default();
        let signature = reader.string()?;
        reader.finish()?;
        Ok(Self { algorithm, blob, host, user, fields, signature })
    }

    /// Who asks; none when the key cannot be read, or a name is one that nobody has.
    pub(super) fn client(&self, user_bytes: usize) -> Option<HostbasedClient> {
        let host = self.host.strip_suffix(b".").unwrap_or(self.host);
        let letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:%".contains(byte);
        let host = Some(host).filter(|host| host.iter().all(letter))?;
        let host = std::str::from_utf8(host).ok()?;
        let user = std::str::from_utf8(self.user).ok()?;
        let sane = (1..=HOST_BYTES).contains(&host.len())
            && (1..=user_bytes).contains(&user.len())
            && !user.chars().any(char::is_control);
        let key = PublicKey::from_blob(self.blob).ok()?;
        sane.then(|| HostbasedClient { host: host.to_owned(), user: user.to_owned(), key })
    }
}
