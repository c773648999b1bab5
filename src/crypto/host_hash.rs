//! How host names are hidden in known_hosts files: HMAC-SHA1 (RFC 2104) keyed with a salt, as in
//! sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT".
//!
//! SHA-1 is what the format says. It protects nothing here but the names, from whoever reads the file.

use openssl::sha::Sha1;

/// The length of the salt and of the hash.
pub(crate) const LENGTH: usize = 20;

/// The hash of a host name under a salt.
pub(crate) fn hash(salt: &[u8; LENGTH], name: &[u8]) -> [u8; LENGTH] {
    /// SHA-1's block, to which RFC 2104 fills keys up.
    const BLOCK: usize = 64;
    let padded = |byte: u8| {
        let mut block = [byte; BLOCK];
        block.iter_mut().zip(salt).for_each(|(to, from)| *to ^= from);
        block
    };
    let mut inner = Sha1::new();
    inner.update(&padded(0x36));
    inner.update(name);
    let mut outer = Sha1::new();
    outer.update(&padded(0x5c));
    outer.update(&inner.finish());
    outer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_openssl() {
        use openssl::{hash::MessageDigest, pkey::PKey, sign::Signer};
        for length in [0_usize, 1, 11, 63, 64, 65, 255] {
            let salt: [u8; LENGTH] = crate::crypto::rand::array().unwrap();
            let name = vec![b'n'; length];
            let key = PKey::hmac(&salt).unwrap();
            let expected = Signer::new(MessageDigest::sha1(), &key).unwrap().sign_oneshot_to_vec(&name);
            assert_eq!(hash(&salt, &name).to_vec(), expected.unwrap());
        }
    }
}
