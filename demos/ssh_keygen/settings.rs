//! What the command line asks for, besides the action.

use feramiko::{FingerprintHash, KeyFormat, OpensshParams, PKey, PublicFormat, Secret};

use super::files::ask_filename;
use super::outcome::{Outcome, fatal};
use super::support::given::Given;

/// The options with their values read.
pub(crate) struct Settings {
    pub(crate) given: Given,
    pub(crate) quiet: bool,
    pub(crate) hash: FingerprintHash,
    pub(crate) bits: Option<u32>,
    pub(crate) serial: u64,
    /// Whether each certificate has the next serial.
    pub(crate) count_serials: bool,
    /// What public keys are converted to and from.
    pub(crate) format: PublicFormat,
    rounds: Option<u32>,
}

impl Settings {
    pub(crate) fn new(given: Given) -> Outcome<Self> {
        let number = |letter, what: &str| match given.last(letter) {
            None => Ok(None),
            Some(text) => {
                let number = text.parse().ok().filter(|number| *number > 0);
                number.map(Some).ok_or_else(|| fatal(format!("{what} has bad value {text}")))
            }
        };
        let (bits, rounds) = (number('b', "Bits")?, number('a', "The number of rounds")?);
        let hash = match given.last('E') {
            None => FingerprintHash::default(),
            Some(name) => FingerprintHash::by_name(name)
                .ok_or_else(|| fatal(format!("Invalid hash algorithm \"{name}\"")))?,
        };
        let format = match given.last('m').map(str::to_ascii_uppercase).as_deref() {
            None | Some("RFC4716" | "SSH2") => PublicFormat::Rfc4716,
            Some("PKCS8") => PublicFormat::Pkcs8,
            Some("PEM") => PublicFormat::Pem,
            Some(other) => return Err(fatal(format!("Unsupported conversion format \"{other}\""))),
        };
        let (serial, count_serials) = serial(given.last('z').unwrap_or("0"))?;
        let quiet = given.has('q');
        Ok(Self { given, quiet, hash, bits, serial, count_serials, format, rounds })
    }

    /// The file of `-f`, or what the user says.
    pub(crate) fn file(&self, question: &str) -> Outcome<String> {
        match self.given.last('f') {
            Some(path) => Ok(path.to_owned()),
            None => ask_filename(question, self.given.last('t')),
        }
    }

    /// The passphrase of `-P`, or else that of `-N`.
    pub(crate) fn passphrase(&self) -> Option<Secret> {
        self.given.last('P').or_else(|| self.given.last('N')).map(Secret::from)
    }

    /// How `key` is written.
    pub(crate) fn key_format(&self, key: &PKey) -> Outcome<KeyFormat> {
        let name = key.public_key().key_type();
        match self.format {
            PublicFormat::Pkcs8 => return Ok(KeyFormat::Pkcs8),
            // PEM knows no Edwards curves.
            PublicFormat::Pem if !name.starts_with("ssh-ed") => return Ok(KeyFormat::Pem),
            _ => {}
        }
        let mut params = OpensshParams::default();
        if let Some(cipher) = self.given.last('Z') {
            cipher.clone_into(&mut params.cipher);
        }
        params.rounds = self.rounds.unwrap_or(params.rounds);
        Ok(KeyFormat::Openssh(params))
    }
}

/// A serial number, and with `+` whether it counts.
fn serial(text: &str) -> Outcome<(u64, bool)> {
    let digits = text.strip_prefix('+');
    let number = digits.unwrap_or(text);
    let only_digits = number.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = number.parse().ok().filter(|_| only_digits);
    let parsed = parsed.ok_or_else(|| fatal(format!("Invalid serial number \"{number}\"")))?;
    Ok((parsed, digits.is_some()))
}
