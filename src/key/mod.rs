//! Keys (being written).

/// Why a key could not be read or used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyError {
    /// Not built.
    Unsupported(String),
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    blob: Vec<u8>,
}

impl PublicKey {
    /// Reads the blob.
    pub fn from_blob(blob: &[u8]) -> Result<Self, KeyError> {
        Ok(Self { blob: blob.to_vec() })
    }

    /// The blob.
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// Its type.
    pub fn key_type(&self) -> &'static str {
        "ssh-ed25519"
    }

    /// Signature algorithms.
    pub fn algorithms(&self) -> &'static [&'static str] {
        &["ssh-ed25519"]
    }

    /// Checks a signature.
    pub fn verify(&self, _algorithm: &str, _data: &[u8], _signature: &[u8]) -> Result<(), KeyError> {
        Err(KeyError::Unsupported("not built".into()))
    }

    /// SHA256:…
    pub fn fingerprint(&self) -> String {
        String::new()
    }
}

/// A private key.
#[derive(Debug, Clone)]
pub struct PKey {
    public: PublicKey,
}

impl PKey {
    /// Its public half.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Signs.
    pub fn sign(&self, _algorithm: &str, _data: &[u8]) -> Result<Vec<u8>, KeyError> {
        Err(KeyError::Unsupported("not built".into()))
    }
}
