//! curve25519-sha256 (RFC 8731) with ssh-ed25519, in both roles, with the places where a test deviates.

use openssl::derive::Deriver;
use openssl::hash::{MessageDigest, hash};
use openssl::pkey::{Id, PKey, Private};
use openssl::sign::Signer;

use super::{Cipher, Field, IDENT, Raw, Role, Take, message};

/// What a KEXINIT offers.
#[derive(Debug, Clone)]
pub(crate) struct Lists {
    pub(crate) kex: String,
    pub(crate) host_key: String,
    pub(crate) mac: String,
    pub(crate) compression: String,
    pub(crate) follows: bool,
}

impl Default for Lists {
    fn default() -> Self {
        Self {
            kex: "curve25519-sha256".to_owned(),
            host_key: "ssh-ed25519".to_owned(),
            mac: "hmac-sha2-256".to_owned(),
            compression: "none".to_owned(),
            follows: false,
        }
    }
}

impl Lists {
    /// With the marker of strict key exchange for `role`.
    pub(crate) fn strict(role: Role) -> Self {
        let marker = match role {
            Role::Client => "kex-strict-c-v00@openssh.com",
            Role::Server => "kex-strict-s-v00@openssh.com",
        };
        Self { kex: format!("curve25519-sha256,{marker}"), ..Self::default() }
    }

    pub(crate) fn kexinit(&self, cipher: Cipher) -> Vec<u8> {
        let mut payload = message(20).raw([7; 16]).string(&self.kex).string(&self.host_key);
        let (cipher, mac) = (cipher.name(), &self.mac);
        for list in [cipher, cipher, mac, mac, &self.compression, &self.compression, "", ""] {
            payload = payload.string(list);
        }
        payload.bool(self.follows).u32(0)
    }
}

/// An Ed25519 key of our own.
pub(crate) struct HostKey(PKey<Private>);

impl HostKey {
    pub(crate) fn new() -> Self {
        Self(PKey::generate_ed25519().unwrap())
    }

    pub(crate) fn blob(&self) -> Vec<u8> {
        Vec::new().string("ssh-ed25519").string(self.0.raw_public_key().unwrap())
    }

    /// The signature as a blob.
    pub(crate) fn sign(&self, data: &[u8]) -> Vec<u8> {
        let signature = Signer::new_without_digest(&self.0).unwrap().sign_oneshot_to_vec(data).unwrap();
        Vec::new().string("ssh-ed25519").string(signature)
    }
}

/// Where a server's KEX reply goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deviation {
    None,
    /// The signature is of something else.
    OtherHash,
    /// The signature is by another key.
    OtherSigner,
    EmptySignature,
    /// The signature calls itself something else.
    OtherLabel,
    /// The key is of a type that was not agreed.
    OtherType,
    /// The blob's inner length lies.
    LyingBlob,
    /// The shared secret would be zero.
    ZeroShare,
    ShortShare,
    LongShare,
}

impl Raw {
    /// The whole exchange as a client.
    pub(crate) fn exchange(&mut self) -> &mut Self {
        assert_eq!(self.role, Role::Client);
        self.send_kexinit();
        self.await_kexinit();
        self.finish_client();
        self
    }

    pub(crate) fn send_kexinit(&mut self) {
        self.ours = self.lists.kexinit(self.cipher);
        let ours = self.ours.clone();
        self.send(&ours);
    }

    pub(crate) fn await_kexinit(&mut self) {
        let theirs = self.expect(20);
        self.take_kexinit(theirs);
    }

    /// The peer's KEXINIT, read elsewhere.
    pub(crate) fn take_kexinit(&mut self, theirs: Vec<u8>) {
        self.theirs = theirs;
        // The marker counts in the first KEXINIT only.
        if self.session_id.is_empty() {
            let text = String::from_utf8_lossy(&self.theirs).into_owned();
            let theirs = text.contains("kex-strict-c-v00") || text.contains("kex-strict-s-v00");
            self.strict = theirs && self.lists.kex.contains("kex-strict");
        }
    }

    /// What comes after both KEXINITs, through to a login.
    pub(crate) fn finish_exchange_and_log_in(&mut self) {
        self.finish_client();
        self.send(&message(5).string("ssh-userauth"));
        self.expect(6);
        self.send(&super::auth_request("robey", "password").bool(false).string("foo"));
        self.expect(52);
    }

    pub(crate) fn finish_client(&mut self) {
        let (key, public) = x25519();
        self.send(&message(30).string(&public));
        let reply = self.expect(31);
        let mut reply = Take::new(&reply[1..]);
        let (host_key, share) = (reply.string(), reply.string());
        let shared = agree(&key, share);
        let id = self.exchange_hash(host_key, &public, share, &shared);
        self.send(&[21]);
        self.switch_outgoing(&shared, &id);
        self.expect(21);
        self.switch_incoming(&shared, &id);
    }

    /// The whole exchange as a server; the error that a deviation provokes is seen by the caller.
    pub(crate) fn serve_exchange(&mut self, host_key: &HostKey, deviation: Deviation) -> bool {
        self.send_kexinit();
        self.await_kexinit();
        self.finish_server(host_key, deviation)
    }

    /// Answers the client's share; with a deviation that is the end of it.
    fn finish_server(&mut self, host_key: &HostKey, deviation: Deviation) -> bool {
        let (shared, id) = self.reply(host_key, deviation);
        if deviation != Deviation::None {
            return false;
        }
        self.send(&[21]);
        self.switch_outgoing(&shared, &id);
        self.expect(21);
        self.switch_incoming(&shared, &id);
        true
    }

    /// The KEX reply, and nothing after it; the shared secret and the exchange hash.
    pub(crate) fn reply(&mut self, host_key: &HostKey, deviation: Deviation) -> (Vec<u8>, Vec<u8>) {
        let init = self.expect(30);
        let theirs = Take::new(&init[1..]).string().to_vec();
        let (key, mut share) = x25519();
        match deviation {
            Deviation::ZeroShare => share = vec![0; 32],
            Deviation::ShortShare => share.truncate(31),
            Deviation::LongShare => share.push(0),
            _ => {}
        }
        let shared = agree(&key, &theirs);
        let mut blob = host_key.blob();
        match deviation {
            Deviation::OtherType => {
                blob = Vec::new().string("ecdsa-sha2-nistp256").string("nistp256").string([4; 65]);
            }
            Deviation::LyingBlob => blob[15..19].copy_from_slice(&u32::MAX.to_be_bytes()),
            _ => {}
        }
        let id = self.exchange_hash(&blob, &theirs, &share, &shared);
        let signature = match deviation {
            Deviation::OtherHash => host_key.sign(b"something else"),
            Deviation::OtherSigner => HostKey::new().sign(&id),
            Deviation::EmptySignature => Vec::new(),
            Deviation::OtherLabel => {
                let whole = host_key.sign(&id);
                Vec::new().string("ssh-rsa").raw(&whole[15..])
            }
            _ => host_key.sign(&id),
        };
        self.send(&message(31).string(blob).string(&share).string(signature));
        (shared, id)
    }

    fn exchange_hash(&mut self, host_key: &[u8], client: &[u8], server: &[u8], shared: &[u8]) -> Vec<u8> {
        let (ours, theirs) = ((IDENT.as_bytes(), &self.ours), (&self.their_ident[..], &self.theirs));
        let (first, second) = match self.role {
            Role::Client => (ours, theirs),
            Role::Server => (theirs, ours),
        };
        let hashed = Vec::new()
            .string(first.0)
            .string(second.0)
            .string(first.1)
            .string(second.1)
            .string(host_key)
            .string(client)
            .string(server)
            .mpint(shared);
        let id = hash(MessageDigest::sha256(), &hashed).unwrap().to_vec();
        if self.session_id.is_empty() {
            self.session_id.clone_from(&id);
        }
        id
    }

    /// RFC 4253 §7.2; all that is asked for fits into one hash.
    fn derive(&self, shared: &[u8], id: &[u8], letter: u8) -> Vec<u8> {
        let hashed = Vec::new().mpint(shared).raw(id).u8(letter).raw(&self.session_id);
        hash(MessageDigest::sha256(), &hashed).unwrap().to_vec()
    }

    fn keys(&self, shared: &[u8], id: &[u8], to_server: bool) -> [Vec<u8>; 3] {
        let letters = if to_server { *b"ACE" } else { *b"BDF" };
        letters.map(|letter| self.derive(shared, id, letter))
    }

    fn switch_outgoing(&mut self, shared: &[u8], id: &[u8]) {
        let [iv, key, mac] = self.keys(shared, id, self.role == Role::Client);
        self.outgoing.rekey(self.cipher, true, &iv, &key, mac);
        if self.strict {
            self.outgoing.sequence = 0;
        }
    }

    fn switch_incoming(&mut self, shared: &[u8], id: &[u8]) {
        let [iv, key, mac] = self.keys(shared, id, self.role == Role::Server);
        self.incoming.rekey(self.cipher, false, &iv, &key, mac);
        if self.strict {
            self.incoming.sequence = 0;
        }
    }
}

fn x25519() -> (PKey<Private>, Vec<u8>) {
    let key = PKey::generate_x25519().unwrap();
    let public = key.raw_public_key().unwrap();
    (key, public)
}

fn agree(key: &PKey<Private>, share: &[u8]) -> Vec<u8> {
    let peer = PKey::public_key_from_raw_bytes(share, Id::X25519).unwrap();
    let mut deriver = Deriver::new(key).unwrap();
    deriver.set_peer(&peer).unwrap();
    deriver.derive_to_vec().unwrap()
}
