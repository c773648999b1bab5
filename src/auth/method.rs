//! What applications answer and ask in authentication, and the bytes that a key signs.

use super::{HostbasedClient, Permissions};
use crate::key::PublicKey;
use crate::wire::Writer;

/// RFC 4252 §1: the only service there is to authenticate for.
pub(super) const CONNECTION: &[u8] = b"ssh-connection";
pub(super) const USERAUTH: &[u8] = b"ssh-userauth";

/// An application's verdict on an attempt to authenticate.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthAnswer {
    /// The user is who they say.
    Accept,
    /// The same, with less than everything allowed.
    AcceptWith(Box<Permissions>),
    /// Right, but another method is needed too.
    Partial,
    /// The same, with less than everything allowed.
    PartialWith(Box<Permissions>),
    /// No.
    Refuse,
    /// The password is right but has expired: ask for a new one with this prompt.
    ChangePassword(String),
}

impl AuthAnswer {
    /// Accepts when `yes`.
    pub fn when(yes: bool) -> Self {
        if yes { Self::Accept } else { Self::Refuse }
    }

    /// Whether an attempt that was right is enough, and what it allows if that is not everything; none
    /// when it was not right.
    pub(super) fn passed(self) -> Option<(bool, Option<Permissions>)> {
        match self {
            Self::Accept => Some((true, None)),
            Self::AcceptWith(permissions) => Some((true, Some(*permissions))),
            Self::Partial => Some((false, None)),
            Self::PartialWith(permissions) => Some((false, Some(*permissions))),
            Self::Refuse | Self::ChangePassword(_) => None,
        }
    }
}

/// One question of a keyboard-interactive round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// What to show.
    pub text: String,
    /// Whether the answer may be shown while it is typed.
    pub echo: bool,
}

/// One round of keyboard-interactive questions, RFC 4256 §3.2.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InteractiveQuery {
    /// A title.
    pub name: String,
    /// What to tell the user.
    pub instructions: String,
    /// The questions.
    pub prompts: Vec<Prompt>,
}

impl InteractiveQuery {
    /// A round without questions yet.
    #[must_use]
    pub fn new(name: &str, instructions: &str) -> Self {
        Self { name: name.to_owned(), instructions: instructions.to_owned(), prompts: Vec::new() }
    }

    /// Adds a question.
    #[must_use]
    pub fn prompt(mut self, text: &str, echo: bool) -> Self {
        self.prompts.push(Prompt { text: text.to_owned(), echo });
        self
    }
}

/// An application's reaction to a keyboard-interactive request or its answers.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InteractiveAnswer {
    /// Ask this.
    Ask(InteractiveQuery),
    /// It is decided.
    Done(AuthAnswer),
}

/// How a user was authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthInfo {
    /// The user's name, as the client gave it.
    pub user: String,
    /// The methods that were passed, in order.
    pub methods: Vec<&'static str>,
    /// The key whose signature was verified, if a key was used; with its certificate, if that is what
    /// let the user in.
    pub key: Option<PublicKey>,
    /// The host that vouched for the user, if one did: its signature was verified.
    pub hostbased: Option<HostbasedClient>,
    /// What the user may do. Held by the library: terminals and commands are refused or replaced
    /// before the application is asked.
    pub permissions: Permissions,
}

/// The method `publickey`, and the same with the server's host key signed too, which ties the signature
/// to one server (OpenSSH's PROTOCOL §3.1): whoever is asked to sign sees where it is good for.
pub(super) const PUBLICKEY: &[u8] = b"publickey";
pub(super) const HOSTBOUND: &[u8] = b"publickey-hostbound-v00@openssh.com";

/// RFC 4252 §7: what a key signs.
pub(super) fn signed_data(
    session_id: &[u8],
    user: &[u8],
    algorithm: &str,
    key: &[u8],
    host_key: Option<&[u8]>,
) -> Vec<u8> {
    let method = if host_key.is_some() { HOSTBOUND } else { PUBLICKEY };
    let mut data = Vec::new();
    data.put(session_id).put(&50_u8).put(user).put(CONNECTION).put(method).put(&true).put(algorithm).put(key);
    if let Some(host_key) = host_key {
        data.put(host_key);
    }
    data
}
