//! What the machine asks of the application, one question at a time.

use crate::auth::{HostbasedClient, MethodMessage};
use crate::crypto::secret::Secret;
use crate::key::PublicKey;

/// What is asked of the application.
#[derive(Debug)]
pub(crate) enum Question {
    None {
        user: String,
    },
    Password {
        user: String,
        password: Secret,
    },
    ChangePassword {
        user: String,
        old: Secret,
        new: Secret,
    },
    /// Whether the key would do; that the client holds it is checked by the machine.
    PublicKey {
        user: String,
        key: PublicKey,
    },
    /// The same of a key with a certificate; that it is signed by its authority is certain, whether it
    /// is good for now and for here is not.
    Certificate {
        user: String,
        key: PublicKey,
    },
    /// Whether the host may say who its user is; that it signed is checked by the machine.
    Hostbased {
        user: String,
        client: HostbasedClient,
    },
    Interactive {
        user: String,
    },
    InteractiveResponse {
        user: String,
        answers: Vec<Secret>,
    },
    /// A method of the application's own, with what follows its name in the request.
    Method {
        user: String,
        method: &'static str,
        fields: Secret,
    },
    MethodResponse {
        user: String,
        method: &'static str,
        message: MethodMessage,
    },
}

impl Question {
    /// The key that is asked about, a user's or a host's, with its certificate.
    pub(crate) fn key(&self) -> Option<&PublicKey> {
        match self {
            Self::PublicKey { key, .. } | Self::Certificate { key, .. } => Some(key),
            Self::Hostbased { client, .. } => Some(&client.key),
            _ => None,
        }
    }
}
