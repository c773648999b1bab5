//! Who may in, and what they may do: the application of `sshd`.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use feramiko::{
    Answer, AuthAnswer, AuthInfo, AuthorizedKeys, DirectAnswer, DirectRequest, ExitStatus, ForwardRules,
    HostbasedClient, InteractiveAnswer, InteractiveQuery, KeyLogin, ListenAnswer, ListenRequest, LocalServer,
    Peer, PtyRequest, PublicKey, RevokedKeys, Secret, ServerInterface, Session, SessionKind, SessionRequest,
    X11Answer, X11Displays, X11Request,
};

use crate::hosts::Hosts;
use crate::support::home::{expand, home};

/// What all connections share. The files are read at every login, as sshd does: who was taken out of one
/// does not come in again.
pub(crate) struct Site {
    pub(crate) passwords: HashMap<String, Secret>,
    pub(crate) key_files: Vec<PathBuf>,
    /// Files with keys of authorities whose certificates let in whom they name.
    pub(crate) authorities: Vec<PathBuf>,
    /// A file with the names that those certificates may have instead of the user's.
    pub(crate) principals_file: Option<PathBuf>,
    /// A file with what is revoked. One that cannot be read lets nobody in.
    pub(crate) revoked: Option<PathBuf>,
    pub(crate) user_environment: bool,
    pub(crate) agent_forwarding: bool,
    pub(crate) x11_forwarding: bool,
    pub(crate) x11: X11Displays,
    pub(crate) forwarding: ForwardRules,
    pub(crate) user: String,
    pub(crate) banner: Option<String>,
    /// Which hosts are believed, where any are.
    pub(crate) hosts: Option<Hosts>,
}

impl Site {
    pub(crate) fn new() -> Result<Self, String> {
        let user = nix::unistd::User::from_uid(nix::unistd::getuid()).map_err(|error| error.to_string())?;
        Ok(Self {
            passwords: HashMap::new(),
            key_files: Vec::new(),
            authorities: Vec::new(),
            principals_file: None,
            revoked: None,
            user_environment: false,
            agent_forwarding: true,
            x11_forwarding: false,
            x11: X11Displays::default(),
            forwarding: ForwardRules::new(),
            user: user.ok_or("whoever runs this has no name")?.name,
            banner: None,
            hosts: None,
        })
    }

    /// A file of the user's: `%h` is the home, `%u` the name, `%U` the number, `%%` a `%`; `~`, and what is
    /// no absolute path, begin at home.
    pub(crate) fn file(&self, value: &str) -> Result<PathBuf, String> {
        let home = home();
        let (mut path, mut letters) = (OsString::new(), value.chars());
        while let Some(letter) = letters.next() {
            match (letter, if letter == '%' { letters.next() } else { None }) {
                ('%', Some('h')) => path.push(&home),
                ('%', Some('u')) => path.push(&self.user),
                ('%', Some('U')) => path.push(nix::unistd::getuid().to_string()),
                ('%', Some('%')) => path.push("%"),
                ('%', _) => return Err(format!("{value}: % stands before h, u, U or %")),
                _ => path.push(letter.encode_utf8(&mut [0; 4])),
            }
        }
        Ok(home.join(expand(path)))
    }

    fn revokes(&self, key: &PublicKey) -> bool {
        let Some(path) = &self.revoked else { return false };
        match RevokedKeys::from_file(path).map(|list| list.check_key(key)) {
            Ok(None) => false,
            Ok(Some(reason)) => {
                log::warn!(target: "sshd", "{} is revoked: {reason:?}", key.fingerprint());
                true
            }
            Err(error) => {
                log::error!(target: "sshd", "RevokedKeys: {error}");
                true
            }
        }
    }

    /// What the first file says that lets the key in.
    fn judge(&self, login: &KeyLogin<'_>) -> AuthAnswer {
        if login.user != self.user || self.revokes(login.key) {
            return AuthAnswer::Refuse;
        }
        for path in &self.key_files {
            match AuthorizedKeys::load(path) {
                Ok(keys) => match keys.permit_user_environment(self.user_environment).check(login) {
                    AuthAnswer::Refuse => {}
                    answer => return answer,
                },
                Err(error) => log::warn!(target: "sshd", "{error}"),
            }
        }
        AuthAnswer::Refuse
    }

    /// Whether a trusted authority says in a certificate who this is.
    fn certified(&self, login: &KeyLogin<'_>) -> AuthAnswer {
        let Some(certificate) = login.key.certificate() else { return AuthAnswer::Refuse };
        let trusted = self.authorities.iter().any(|path| has_key(path, certificate.authority()));
        let named = match &self.principals_file {
            None => certificate.names(login.user),
            Some(path) => lines(path).iter().any(|name| certificate.names(name)),
        };
        AuthAnswer::when(login.user == self.user && trusted && named && !self.revokes(login.key))
    }
}

/// The lines of a file that say something; none when it cannot be read.
fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| {
        log::warn!(target: "sshd", "{}: {error}", path.display());
        String::new()
    });
    let says = |line: &&str| !line.is_empty() && !line.starts_with('#');
    text.lines().map(str::trim).filter(says).map(str::to_owned).collect()
}

fn has_key(path: &Path, key: &PublicKey) -> bool {
    lines(path).iter().any(|line| PublicKey::from_line(line).is_ok_and(|(known, _)| known == *key))
}

pub(crate) struct Application {
    pub(crate) site: Arc<Site>,
    pub(crate) peer: Peer,
}

impl Application {
    fn login<'a>(&self, user: &'a str, key: &'a PublicKey) -> KeyLogin<'a> {
        KeyLogin::new(user, key, self.peer.addresses.map(|(peer, _)| peer.ip()))
    }
}

impl ServerInterface for Application {
    fn allowed_auths(&self, _: &str) -> Vec<&'static str> {
        let mut methods = vec!["publickey"];
        methods.extend(self.site.hosts.as_ref().map(|_| "hostbased"));
        if !self.site.passwords.is_empty() {
            methods.extend(["password", "keyboard-interactive"]);
        }
        methods
    }

    fn banner(&self) -> Option<String> {
        self.site.banner.clone()
    }

    fn check_auth_password(&self, user: &str, password: &Secret) -> AuthAnswer {
        // The same work for users that do not exist.
        let known = self.site.passwords.get(user);
        let nobody = Secret::from("");
        let right = known.unwrap_or(&nobody).matches(password.expose());
        AuthAnswer::when(right && known.is_some() && user == self.site.user)
    }

    fn check_auth_interactive(&self, _: &str) -> InteractiveAnswer {
        InteractiveAnswer::Ask(InteractiveQuery::new("", "").prompt("Password: ", false))
    }

    fn check_auth_interactive_response(&self, user: &str, answers: &[Secret]) -> InteractiveAnswer {
        InteractiveAnswer::Done(match answers {
            [password] => self.check_auth_password(user, password),
            _ => AuthAnswer::Refuse,
        })
    }

    fn check_auth_publickey(&self, user: &str, key: &PublicKey) -> AuthAnswer {
        self.site.judge(&self.login(user, key))
    }

    fn check_auth_certificate(&self, user: &str, key: &PublicKey) -> AuthAnswer {
        let login = self.login(user, key);
        match self.site.certified(&login) {
            AuthAnswer::Refuse => self.site.judge(&login),
            answer => answer,
        }
    }

    fn check_auth_hostbased(&self, user: &str, client: &HostbasedClient) -> AuthAnswer {
        let address = self.peer.addresses.map(|(peer, _)| peer.ip());
        match &self.site.hosts {
            Some(hosts) if user == self.site.user => hosts.judge(user, client, address),
            _ => AuthAnswer::Refuse,
        }
    }

    fn check_channel_pty_request(&self, _: &PtyRequest) -> Answer {
        Answer::Yes
    }

    fn check_channel_forward_agent_request(&self, _: &AuthInfo) -> Answer {
        Answer::when(self.site.agent_forwarding)
    }

    fn check_channel_x11_request(&self, _: &AuthInfo, _: &X11Request) -> X11Answer {
        if self.site.x11_forwarding { X11Answer::Accept(self.site.x11) } else { X11Answer::Refuse }
    }

    fn check_channel_env_request(&self, name: &str, _: &str) -> Answer {
        Answer::when(name == "LANG" || name.starts_with("LC_"))
    }

    fn check_channel_shell_request(&self, _: &SessionRequest) -> Answer {
        Answer::Yes
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
        Answer::Yes
    }

    fn check_channel_subsystem_request(&self, _: &SessionRequest, name: &str) -> Answer {
        Answer::when(name == "sftp")
    }

    fn check_channel_direct_tcpip_request(&self, request: &DirectRequest) -> DirectAnswer {
        self.site.forwarding.direct(request)
    }

    fn check_channel_direct_streamlocal_request(&self, request: &DirectRequest) -> DirectAnswer {
        self.site.forwarding.direct(request)
    }

    fn check_port_forward_request(&self, request: &ListenRequest) -> ListenAnswer {
        self.site.forwarding.listen(request)
    }

    fn check_streamlocal_forward_request(&self, request: &ListenRequest) -> ListenAnswer {
        self.site.forwarding.listen(request)
    }

    fn session(&self, session: Session) -> io::Result<ExitStatus> {
        // A key that forces the command asks for it as OpenSSH's do.
        let internal = SessionKind::Exec(b"internal-sftp".to_vec());
        if [SessionKind::Subsystem("sftp".to_owned()), internal].contains(&session.request().kind) {
            return session.serve_sftp(LocalServer::new()?);
        }
        let mut environment = Vec::new();
        if let Some((peer, local)) = self.peer.addresses {
            let (from, to) =
                (format!("{} {}", peer.ip(), peer.port()), format!("{} {}", local.ip(), local.port()));
            environment.push(("SSH_CLIENT".to_owned(), format!("{from} {}", local.port())));
            environment.push(("SSH_CONNECTION".to_owned(), format!("{from} {to}")));
        }
        session.run_as_login(&environment)
    }
}
