//! Packets of one direction: RFC 4253 §6, AES-CTR with HMAC (RFC 4344, RFC 6668), AES-GCM (RFC 5647).

use openssl::cipher::Cipher as OpenSsl;
use openssl::cipher_ctx::CipherCtx;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cipher {
    Ctr,
    Gcm,
}

impl Cipher {
    pub(crate) const ALL: [Self; 2] = [Self::Ctr, Self::Gcm];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ctr => "aes128-ctr",
            Self::Gcm => "aes128-gcm@openssh.com",
        }
    }
}

enum Keys {
    Plain,
    Ctr { context: CipherCtx, mac: Vec<u8> },
    Gcm { context: CipherCtx, fixed: [u8; 4], counter: u64 },
}

/// One direction.
pub(crate) struct Direction {
    keys: Keys,
    pub(crate) sequence: u32,
    /// The length of the packet whose first block was decrypted already.
    begun: Option<usize>,
}

impl Default for Direction {
    fn default() -> Self {
        Self { keys: Keys::Plain, sequence: 0, begun: None }
    }
}

const MAC: usize = 32;
const TAG: usize = 16;

impl Direction {
    /// New keys; `derive` makes them from RFC 4253's letters.
    pub(crate) fn rekey(&mut self, cipher: Cipher, encrypt: bool, iv: &[u8], key: &[u8], mac: Vec<u8>) {
        let mut context = CipherCtx::new().unwrap();
        self.keys = match cipher {
            Cipher::Ctr => {
                let (key, iv) = (&key[..16], &iv[..16]);
                context.encrypt_init(Some(OpenSsl::aes_128_ctr()), Some(key), Some(iv)).unwrap();
                Keys::Ctr { context, mac }
            }
            Cipher::Gcm => {
                let algorithm = OpenSsl::aes_128_gcm();
                match encrypt {
                    true => context.encrypt_init(Some(algorithm), Some(&key[..16]), None).unwrap(),
                    false => context.decrypt_init(Some(algorithm), Some(&key[..16]), None).unwrap(),
                }
                let counter = u64::from_be_bytes(iv[4..12].try_into().unwrap());
                Keys::Gcm { context, fixed: iv[..4].try_into().unwrap(), counter }
            }
        };
        self.begun = None;
    }

    /// Appends a packet with an honest length and padding.
    pub(crate) fn seal(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        let (block, counted) = match self.keys {
            Keys::Plain => (8, 4),
            Keys::Ctr { .. } => (16, 4),
            Keys::Gcm { .. } => (16, 0),
        };
        let mut padding = block - (payload.len() + 1 + counted) % block;
        if padding < 4 {
            padding += block;
        }
        let mut body = vec![padding as u8];
        body.extend_from_slice(payload);
        body.resize(body.len() + padding, 0);
        self.seal_body((body.len() as u32).to_be_bytes(), &body, out);
    }

    /// Appends what stands after the length with any length before it.
    pub(crate) fn seal_body(&mut self, length: [u8; 4], body: &[u8], out: &mut Vec<u8>) {
        let plain = [&length[..], body].concat();
        match &mut self.keys {
            Keys::Plain => out.extend_from_slice(&plain),
            Keys::Ctr { context, mac } => {
                let code = hmac(mac, self.sequence, &plain);
                let mut sealed = plain;
                let all = sealed.len();
                context.cipher_update_inplace(&mut sealed, all).unwrap();
                out.extend_from_slice(&sealed);
                out.extend_from_slice(&code);
            }
            Keys::Gcm { context, fixed, counter } => {
                context.encrypt_init(None, None, Some(&nonce(fixed, counter))).unwrap();
                context.cipher_update(&length, None).unwrap();
                let mut sealed = body.to_vec();
                context.cipher_update_inplace(&mut sealed, body.len()).unwrap();
                context.cipher_final(&mut []).unwrap();
                let mut tag = [0; TAG];
                context.tag(&mut tag).unwrap();
                out.extend_from_slice(&length);
                out.extend_from_slice(&sealed);
                out.extend_from_slice(&tag);
            }
        }
        self.sequence = self.sequence.wrapping_add(1);
    }

    /// Takes one packet off the front, once it is whole.
    pub(crate) fn open(&mut self, bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
        let body = match &mut self.keys {
            Keys::Plain => {
                let length = u32::from_be_bytes(bytes.get(..4)?.try_into().unwrap()) as usize;
                bytes.get(4..4 + length)?;
                bytes.drain(..4 + length).skip(4).collect::<Vec<u8>>()
            }
            Keys::Ctr { context, mac } => {
                if self.begun.is_none() {
                    context.cipher_update_inplace(bytes.get_mut(..16)?, 16).unwrap();
                    self.begun = Some(u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize);
                }
                let length = self.begun?;
                bytes.get(..4 + length + MAC)?;
                context.cipher_update_inplace(&mut bytes[16..4 + length], length - 12).unwrap();
                let code = hmac(mac, self.sequence, &bytes[..4 + length]);
                assert_eq!(bytes[4 + length..4 + length + MAC], code, "the peer's MAC is wrong");
                self.begun = None;
                bytes.drain(..4 + length + MAC).skip(4).take(length).collect()
            }
            Keys::Gcm { context, fixed, counter } => {
                let head: [u8; 4] = bytes.get(..4)?.try_into().unwrap();
                let length = u32::from_be_bytes(head) as usize;
                bytes.get(..4 + length + TAG)?;
                context.decrypt_init(None, None, Some(&nonce(fixed, counter))).unwrap();
                context.set_tag(&bytes[4 + length..4 + length + TAG]).unwrap();
                context.cipher_update(&head, None).unwrap();
                context.cipher_update_inplace(&mut bytes[4..4 + length], length).unwrap();
                context.cipher_final(&mut []).expect("the peer's tag is wrong");
                bytes.drain(..4 + length + TAG).skip(4).take(length).collect()
            }
        };
        self.sequence = self.sequence.wrapping_add(1);
        Some(body[1..body.len() - body[0] as usize].to_vec())
    }
}

fn nonce(fixed: &[u8; 4], counter: &mut u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(fixed);
    nonce[4..].copy_from_slice(&counter.to_be_bytes());
    *counter = counter.wrapping_add(1);
    nonce
}

fn hmac(key: &[u8], sequence: u32, packet: &[u8]) -> Vec<u8> {
    let key = PKey::hmac(key).unwrap();
    let mut signer = Signer::new(MessageDigest::sha256(), &key).unwrap();
    signer.update(&sequence.to_be_bytes()).unwrap();
    signer.update(packet).unwrap();
    signer.sign_to_vec().unwrap()
}
