//! What a server asks its application: one question a decision, each refused unless answered.
//!
//! Questions are asked on the thread that serves the connection, never on the engine's. One that
//! takes long delays that connection only.

mod forwarding;

use std::io;

use crate::auth::{
    AuthAnswer, AuthInfo, AuthenticationMethods, HostbasedClient, InteractiveAnswer, MethodAnswer,
    MethodLogin, MethodMessage,
};
use crate::channel::PtyRequest;
use crate::crypto::secret::Secret;
use crate::engine::ExitStatus;
use crate::key::PublicKey;
use crate::server::{ConnectionRules, Session};
#[cfg(unix)]
use crate::sys::user::Account;
use crate::x11::Cookie;

pub use forwarding::{
    DirectAnswer, DirectRequest, ForwardedPlace, GatewayPorts, ListenAnswer, ListenOptions, ListenRequest,
};

/// An application's answer to a request.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Granted.
    Yes,
    /// Refused.
    No,
}

impl Answer {
    /// Grants when `yes`.
    pub fn when(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

/// What a client wants to run in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionKind {
    /// The user's shell.
    Shell,
    /// A command.
    Exec(Vec<u8>),
    /// A subsystem by its name.
    Subsystem(String),
}

/// Which displays a server gives to sessions whose X11 is forwarded, as sshd_config(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct X11Displays {
    /// The first number that is tried: X11DisplayOffset. Low ones are the host's own.
    pub offset: u16,
    /// Whether they listen on the loopback addresses only: X11UseLocalhost.
    pub localhost: bool,
}

impl Default for X11Displays {
    fn default() -> Self {
        Self { offset: 10, localhost: true }
    }
}

/// A client that wants programs of a session to use its display: RFC 4254 §6.3.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct X11Request {
    /// Whether one connection is forwarded and no more.
    pub single_connection: bool,
    /// The screen that programs use unless told otherwise.
    pub screen: u32,
    /// What the client lets programs in by.
    pub(crate) cookie: Cookie,
    /// What was granted.
    pub(crate) displays: X11Displays,
}

/// An application's answer to a client that wants its X11 forwarded.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum X11Answer {
    /// Refused.
    Refuse,
    /// Granted, on one of these displays.
    Accept(X11Displays),
}

/// A session that a client wants to start, with what it asked for before.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionRequest {
    /// What to run: what the client asked for, or the command that its key forces.
    pub kind: SessionKind,
    /// What the client asked for when a command was forced instead.
    pub original: Option<SessionKind>,
    /// The type of the channels that lead to the client's agent, if that is forwarded.
    pub(crate) agent: Option<&'static str>,
    /// Whether and how X11 is forwarded.
    pub x11: Option<X11Request>,
    /// The terminal, if one was asked for and granted.
    pub pty: Option<PtyRequest>,
    /// The environment variables that were granted, then those that the client's key sets.
    pub env: Vec<(String, String)>,
    /// Who the client is.
    pub auth: AuthInfo,
}

impl SessionRequest {
    /// Whether the client's agent is forwarded.
    #[must_use]
    pub fn forwards_agent(&self) -> bool {
        self.agent.is_some()
    }
}

/// The application of a server; one for each connection. Everything is refused by default.
///
/// ```
/// use std::io::{self, Write};
/// use feramiko::*;
/// struct Bbs;
/// impl ServerInterface for Bbs {
///     fn check_auth_password(&self, user: &str, password: &Secret) -> AuthAnswer {
///         AuthAnswer::when(user == "robey" && password.matches("foo"))
///     }
///     fn check_channel_shell_request(&self, _: &SessionRequest) -> Answer { Answer::Yes }
///     fn session(&self, mut session: Session) -> io::Result<ExitStatus> {
///         writeln!(session, "Welcome to the BBS")?;
///         Ok(ExitStatus::Code(0))
///     }
/// }
/// ```
#[allow(unused_variables, reason = "the defaults refuse whatever is asked")]
pub trait ServerInterface: Send + Sync + 'static {
    /// The methods that the user may try, as refusals list them; methods of your own among them, called `name@domain`.
    fn allowed_auths(&self, user: &str) -> Vec<&'static str> {
        vec!["publickey", "password", "keyboard-interactive"]
    }

    /// Which of those methods the user has to pass, where one is not enough. The library holds it: what is
    /// accepted before a list is passed is one step of it.
    fn authentication_methods(&self, user: &str) -> Option<AuthenticationMethods> {
        None
    }

    /// What this connection is held to, once the client has named a user: what the server has for all, or
    /// what is changed of it for this one.
    fn connection_rules(&self, user: &str, usual: ConnectionRules) -> ConnectionRules {
        usual
    }

    /// May the user in without proving anything?
    fn check_auth_none(&self, user: &str) -> AuthAnswer {
        AuthAnswer::Refuse
    }

    /// Is that the user's password?
    fn check_auth_password(&self, user: &str, password: &Secret) -> AuthAnswer {
        AuthAnswer::Refuse
    }

    /// May the user's password be changed so? Asked after [`AuthAnswer::ChangePassword`].
    fn check_auth_password_change(&self, user: &str, old: &Secret, new: &Secret) -> AuthAnswer {
        AuthAnswer::Refuse
    }

    /// Would that key do for the user? A question of policy only, and asked more than once: that the
    /// client holds the key is verified by the library. Do not act here but in
    /// [`authenticated`](Self::authenticated).
    fn check_auth_publickey(&self, user: &str, key: &PublicKey) -> AuthAnswer {
        AuthAnswer::Refuse
    }

    /// Does a certificate for that key let the user in? Asked when its authority has signed it, it is
    /// one for users, for now, and for the address the client has, and demands nothing unknown: what is
    /// left is whether the authority is trusted and whether the certificate is for this user. See
    /// [`UserAuthorities`](crate::UserAuthorities), and [`AuthorizedKeys`](crate::AuthorizedKeys) for authorities
    /// that a user trusts, which answer both.
    fn check_auth_certificate(&self, user: &str, key: &PublicKey) -> AuthAnswer {
        AuthAnswer::Refuse
    }

    /// May the client's host say who its user is, and is that user `user` here? A question of policy
    /// only, asked when `hostbased` is among [`allowed_auths`](Self::allowed_auths): that the client
    /// holds the key, and that a certificate of it is for that host and for now, is verified by the
    /// library. Whether the key is that host's, and who of it may be whom, is left to answer: see
    /// [`HostbasedRules`](crate::HostbasedRules).
    fn check_auth_hostbased(&self, user: &str, client: &HostbasedClient) -> AuthAnswer {
        AuthAnswer::Refuse
    }

    /// What is the user to be asked?
    fn check_auth_interactive(&self, user: &str) -> InteractiveAnswer {
        InteractiveAnswer::Done(AuthAnswer::Refuse)
    }

    /// Are those the right answers? One for each prompt.
    fn check_auth_interactive_response(&self, user: &str, answers: &[Secret]) -> InteractiveAnswer {
        InteractiveAnswer::Done(AuthAnswer::Refuse)
    }

    /// Does what follows the method's name in a request let the user in, or what is the client to be asked? A method
    /// of your own, called `name@domain` among [`allowed_auths`](Self::allowed_auths); see
    /// [`AuthMethod`](crate::AuthMethod) for the client's side. Success is told by the library alone, and a refusal is
    /// counted and delayed as any other.
    fn check_auth_method(&self, login: &MethodLogin<'_>, fields: &Secret) -> MethodAnswer {
        MethodAnswer::Done(AuthAnswer::Refuse)
    }

    /// Does the client's answer to [`MethodAnswer::Ask`] let the user in, or what is to be asked next? Asked for each
    /// answer of one attempt, in turn; when another attempt begins, the one before is given up.
    fn check_auth_method_response(&self, login: &MethodLogin<'_>, response: &MethodMessage) -> MethodAnswer {
        MethodAnswer::Done(AuthAnswer::Refuse)
    }

    /// Somebody is authenticated; called once, with the key that was verified.
    fn authenticated(&self, auth: &AuthInfo) {}

    /// A text for the user before authentication.
    fn banner(&self) -> Option<String> {
        None
    }

    /// The command that is run whatever the user asks for: the one of the user's key, unless the application
    /// knows better.
    fn forced_command(&self, auth: &AuthInfo) -> Option<Vec<u8>> {
        auth.permissions.command.clone()
    }

    /// May a terminal be given?
    fn check_channel_pty_request(&self, pty: &PtyRequest) -> Answer {
        Answer::No
    }

    /// May the session's programs use the client's agent?
    fn check_channel_forward_agent_request(&self, auth: &AuthInfo) -> Answer {
        Answer::No
    }

    /// May the session's programs use the client's display? On UNIX only; elsewhere it is refused.
    fn check_channel_x11_request(&self, auth: &AuthInfo, request: &X11Request) -> X11Answer {
        X11Answer::Refuse
    }

    /// May this environment variable be set for the command?
    fn check_channel_env_request(&self, name: &str, value: &str) -> Answer {
        Answer::No
    }

    /// May a shell be started?
    fn check_channel_shell_request(&self, request: &SessionRequest) -> Answer {
        Answer::No
    }

    /// May the command be run?
    fn check_channel_exec_request(&self, request: &SessionRequest, command: &[u8]) -> Answer {
        Answer::No
    }

    /// May the subsystem be started?
    fn check_channel_subsystem_request(&self, request: &SessionRequest, name: &str) -> Answer {
        Answer::No
    }

    /// May the server connect to a host and port for the client? Asked, as the other questions about
    /// forwarding, on a thread of its own; what a key or certificate forbids is refused before. See
    /// [`ForwardRules`](crate::ForwardRules) for answers.
    fn check_channel_direct_tcpip_request(&self, request: &DirectRequest) -> DirectAnswer {
        DirectAnswer::Refuse
    }

    /// May the server connect to a UNIX socket for the client?
    fn check_channel_direct_streamlocal_request(&self, request: &DirectRequest) -> DirectAnswer {
        DirectAnswer::Refuse
    }

    /// May the server listen on a port for the client?
    fn check_port_forward_request(&self, request: &ListenRequest) -> ListenAnswer {
        ListenAnswer::Refuse
    }

    /// May the server listen on a UNIX socket for the client?
    fn check_streamlocal_forward_request(&self, request: &ListenRequest) -> ListenAnswer {
        ListenAnswer::Refuse
    }

    /// With whose rights UNIX sockets are connected to, made and removed for the client; none: with those of
    /// the server. Other rights than its own only root's server has, and only on Linux; elsewhere it is refused.
    #[cfg(unix)]
    fn forwarding_account(&self, auth: &AuthInfo) -> Option<Account> {
        None
    }

    /// The server no longer listens there for the client, which has said so.
    fn cancel_port_forward_request(&self, request: &ListenRequest) {}

    /// A request that concerns the connection: the bytes of a positive answer, or none to refuse.
    fn check_global_request(&self, kind: &str, rest: &[u8]) -> Option<Vec<u8>> {
        None
    }

    /// Runs a session that was granted, on a thread of its own. The session's channel is closed with
    /// the status returned; an error is logged and closes it without one.
    ///
    /// # Errors
    /// Whatever ended the session early.
    fn session(&self, session: Session) -> io::Result<ExitStatus> {
        Ok(ExitStatus::Code(255))
    }
}
