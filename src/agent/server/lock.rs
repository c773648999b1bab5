//! The lock: while the agent is locked its keys are there only encrypted (AES-256-GCM), under a secret
//! derived from the passphrase (bcrypt_pbkdf, as in key files) and kept nowhere.

use zeroize::Zeroizing;

use super::Refusal;
use crate::crypto::CryptoError;
use crate::crypto::cipher::AesGcm;
use crate::crypto::rand;
use crate::key::{FIELDS_ROOM, PKey, get_fields, put_fields};
use crate::wire::Reader;

/// bcrypt_pbkdf's salt; ssh-keygen's length.
pub(super) const SALT: usize = 16;
/// An AES-256 key.
pub(super) const SECRET: usize = 32;
/// ssh-keygen's default for key files, which this stands for.
const ROUNDS: u32 = 24;
const TAG: usize = 16;
/// What is sealed first, so that a passphrase can be told from a wrong one without any key.
const CHECK: &[u8] = b"the agent is locked";
/// Its number; the keys count on from here.
const CHECK_NUMBER: u32 = 0;

/// What is known of the passphrase while locked.
pub(super) struct Lock {
    salt: [u8; SALT],
    check: Sealed,
    /// The number of the last thing that was sealed.
    last: u32,
}

/// Something that was encrypted. No two have the same number, and so not the same nonce: each lock has a
/// secret of its own.
pub(super) struct Sealed {
    number: u32,
    body: Vec<u8>,
    tag: [u8; TAG],
}

/// A salt for a new lock and the secret that comes of it.
pub(super) fn fresh(passphrase: &[u8]) -> Result<([u8; SALT], Zeroizing<[u8; SECRET]>), Refusal> {
    let salt = rand::array().map_err(failed)?;
    Ok((salt, derive(passphrase, &salt)?))
}

/// The secret of a passphrase. Takes about a tenth of a second: guessing shall.
pub(super) fn derive(passphrase: &[u8], salt: &[u8; SALT]) -> Result<Zeroizing<[u8; SECRET]>, Refusal> {
    let mut secret = Zeroizing::new([0; SECRET]);
    bcrypt_pbkdf::bcrypt_pbkdf(passphrase, salt, ROUNDS, secret.as_mut_slice())
        .map_err(|_| "an empty passphrase locks nothing")?;
    Ok(secret)
}

impl Lock {
    pub(super) fn new(salt: [u8; SALT], secret: &Zeroizing<[u8; SECRET]>) -> Result<Self, Refusal> {
        let check = Sealed::new(CHECK_NUMBER, Zeroizing::new(CHECK.to_vec()), secret)?;
        Ok(Self { salt, check, last: CHECK_NUMBER })
    }

    pub(super) fn salt(&self) -> [u8; SALT] {
        self.salt
    }

    /// Whether this is the secret that the keys were sealed with.
    pub(super) fn fits(&self, secret: &Zeroizing<[u8; SECRET]>) -> Result<bool, Refusal> {
        self.check.reveal(secret).map(|opened| opened.is_some())
    }

    pub(super) fn seal(&mut self, key: &PKey, secret: &Zeroizing<[u8; SECRET]>) -> Result<Sealed, Refusal> {
        self.last = self.last.checked_add(1).ok_or("too many keys to seal")?;
        let mut fields = Zeroizing::new(Vec::with_capacity(FIELDS_ROOM.saturating_add(key.comment().len())));
        put_fields(&mut fields, key).map_err(|_| "a key cannot be written")?;
        Sealed::new(self.last, fields, secret)
    }
}

impl Sealed {
    fn new(
        number: u32,
        mut body: Zeroizing<Vec<u8>>,
        secret: &Zeroizing<[u8; SECRET]>,
    ) -> Result<Self, Refusal> {
        let tag = cipher(number, secret)?.seal(&[], &mut body).map_err(failed)?;
        Ok(Self { number, body: std::mem::take(&mut *body), tag })
    }

    /// None for another secret.
    fn reveal(&self, secret: &Zeroizing<[u8; SECRET]>) -> Result<Option<Zeroizing<Vec<u8>>>, Refusal> {
        let mut body = Zeroizing::new(self.body.clone());
        let good = cipher(self.number, secret)?.open(&[], &mut body, &self.tag).map_err(failed)?;
        Ok(Some(body).filter(|_| good))
    }

    pub(super) fn open(&self, secret: &Zeroizing<[u8; SECRET]>) -> Result<PKey, Refusal> {
        let fields = self.reveal(secret)?.ok_or("a key was sealed otherwise")?;
        get_fields(&mut Reader::new(&fields)).map_err(|_| "a key cannot be read")
    }
}

fn cipher(number: u32, secret: &Zeroizing<[u8; SECRET]>) -> Result<AesGcm, Refusal> {
    let mut nonce = [0; 12];
    let (front, _) = nonce.split_at_mut(4);
    front.copy_from_slice(&number.to_be_bytes());
    AesGcm::new(secret.as_slice(), &nonce).map_err(failed)
}

fn failed(error: CryptoError) -> Refusal {
    log::warn!(target: "feramiko::agent", "{error}");
    "cryptography failed"
}
