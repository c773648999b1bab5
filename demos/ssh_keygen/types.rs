//! The names of key types, short and in full.

use feramiko::KeyKind;

/// A type of keys by its names.
pub(crate) struct Type {
    /// The name in files.
    pub(crate) name: &'static str,
    /// The name for people; several types share one.
    short: &'static str,
    /// How such a key is made; none for those of tokens.
    make: Option<KeyKind>,
    /// The file in `~/.ssh` for such a key.
    pub(crate) file: &'static str,
}

const fn row(name: &'static str, short: &'static str, make: Option<KeyKind>, file: &'static str) -> Type {
    Type { name, short, make, file }
}

const RSA_BITS: u32 = 3072;

static TYPES: &[Type] = &[
    row("ssh-ed25519", "ed25519", Some(KeyKind::Ed25519), "id_ed25519"),
    row("ecdsa-sha2-nistp256", "ecdsa", Some(KeyKind::EcdsaP256), "id_ecdsa"),
    row("ecdsa-sha2-nistp384", "ecdsa", Some(KeyKind::EcdsaP384), "id_ecdsa"),
    row("ecdsa-sha2-nistp521", "ecdsa", Some(KeyKind::EcdsaP521), "id_ecdsa"),
    row("ssh-rsa", "rsa", Some(KeyKind::Rsa(RSA_BITS)), "id_rsa"),
    row("rsa-sha2-256", "rsa", Some(KeyKind::Rsa(RSA_BITS)), "id_rsa"),
    row("rsa-sha2-512", "rsa", Some(KeyKind::Rsa(RSA_BITS)), "id_rsa"),
    row("ssh-dss", "dsa", Some(KeyKind::Dss), "id_dsa"),
    row("ssh-ed448", "ed448", Some(KeyKind::Ed448), "id_ed448"),
    row("sk-ecdsa-sha2-nistp256@openssh.com", "ecdsa-sk", None, "id_ecdsa_sk"),
    row("sk-ssh-ed25519@openssh.com", "ed25519-sk", None, "id_ed25519_sk"),
];

/// The first type of that name, in upper or lower case.
pub(crate) fn by_name(name: &str) -> Option<&'static Type> {
    let is = |known: &str| known.eq_ignore_ascii_case(name);
    TYPES.iter().find(|row| is(row.name) || is(row.short))
}

/// Whether known_hosts may have keys of that type.
pub(crate) fn is_known(name: &str) -> bool {
    let certificate = name.strip_suffix("-cert-v01@openssh.com");
    certificate
        .map_or_else(
            || by_name(name),
            |plain| by_name(plain).or_else(|| by_name(&format!("{plain}@openssh.com"))),
        )
        .is_some()
}

impl Type {
    /// Whether keys of both are the same but for curve or signature.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.short == other.short
    }

    /// The key to be made; `Err` tells why there is none.
    pub(crate) fn kind(&self, bits: Option<u32>) -> Result<Option<KeyKind>, String> {
        let wrong = |text: &str| Err(text.to_owned());
        match (self.make, bits) {
            (Some(KeyKind::Rsa(_)), Some(bits)) if (2048..=16384).contains(&bits) => {
                Ok(Some(KeyKind::Rsa(bits)))
            }
            (Some(KeyKind::Rsa(_)), Some(_)) => wrong("Invalid RSA key length: must be 2048 to 16384 bits"),
            (Some(KeyKind::Dss), Some(bits)) if bits != 1024 => {
                wrong("Invalid DSA key length: must be 1024 bits")
            }
            (Some(_), Some(bits)) if self.short == "ecdsa" => match bits {
                256 => Ok(Some(KeyKind::EcdsaP256)),
                384 => Ok(Some(KeyKind::EcdsaP384)),
                521 => Ok(Some(KeyKind::EcdsaP521)),
                _ => wrong("Invalid ECDSA key length: valid lengths are 256, 384 or 521 bits"),
            },
            (make, _) => Ok(make),
        }
    }
}
