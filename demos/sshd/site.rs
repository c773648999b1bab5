//! Who may in, and what they may do: the application of `sshd`.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use feramiko::{
    Account, Answer, AuthAnswer, AuthInfo, AuthenticationMethods, ConnectionRules, DirectAnswer,
    DirectRequest, ExitStatus, ForwardRules, HostbasedClient, InteractiveAnswer, InteractiveQuery, KeyLogin,
    ListenAnswer, ListenRequest, Peer, PtyRequest, PublicKey, Secret, ServerInterface, Session,
    SessionRequest, X11Answer, X11Request, pattern_list_matches,
};

use crate::config::Config;
use crate::hosts::Hosts;
use crate::who::{Who, from};
use crate::{forwarding, keys, sessions, settings};

/// What all connections share that began with one configuration.
pub(crate) struct Site {
    pub(crate) config: Arc<Config>,
    /// Of -u.
    pub(crate) passwords: HashMap<String, Secret>,
    /// Of -a: these let every user in whose account may be logged in to.
    pub(crate) keys: Vec<PathBuf>,
    /// The home of whoever runs this without a file, as the environment has it.
    pub(crate) home: Option<PathBuf>,
}

/// The longest banner; sshd's figure.
const BANNER: usize = 1024 * 1024;

/// A list that nobody passes: there are no devices.
const UNPASSED: &str = "keyboard-interactive:none";

/// One connection.
pub(crate) struct Application {
    site: Arc<Site>,
    peer: Peer,
    /// The user whom the client named last.
    who: Mutex<Option<Arc<Who>>>,
}

/// The user in sshd's words.
fn named(who: &Who) -> String {
    if who.account().is_some() { who.name.clone() } else { format!("invalid user {}", who.name) }
}

impl Application {
    pub(crate) fn new(site: Arc<Site>, peer: &Peer) -> Self {
        Self { site, peer: peer.clone(), who: Mutex::new(None) }
    }

    fn who(&self, user: &str) -> Arc<Who> {
        let mut known = self.who.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some(who) if who.name == user => Arc::clone(who),
            _ => Arc::clone(known.insert(Arc::new(Who::new(
                &self.site.config,
                user,
                &self.peer,
                self.site.home.as_deref(),
            )))),
        }
    }

    /// The user whom the client named last.
    fn current(&self) -> Option<Arc<Who>> {
        self.who.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the user may forward; nothing, where there is none.
    fn forward_rules(&self) -> ForwardRules {
        let rules = |who: Arc<Who>| who.account().map(|account| forwarding::rules(&who.config, account));
        self.current().and_then(rules).unwrap_or_default()
    }

    fn login<'a>(&self, user: &'a str, key: &'a PublicKey) -> KeyLogin<'a> {
        KeyLogin::new(user, key, self.peer.addresses.map(|(peer, _)| peer.ip()))
    }

    /// What was granted, less what the configuration takes away, and what PermitRootLogin says to it.
    /// `forced`: by a certificate, which is not seen in the answer.
    fn decided(&self, who: &Who, method: &str, answer: AuthAnswer, forced: bool) -> AuthAnswer {
        let answer = keys::narrowed(who, answer);
        if who.account().is_none_or(|account| account.uid() != 0) {
            return if who.account().is_some() { answer } else { AuthAnswer::Refuse };
        }
        let forced = match &answer {
            AuthAnswer::AcceptWith(permissions) => forced || permissions.command.is_some(),
            _ => false,
        };
        let may = match who.config.choice("permitrootlogin").as_str() {
            "yes" => true,
            "without-password" | "prohibit-password" => matches!(method, "publickey" | "hostbased"),
            "forced-commands-only" => method == "publickey" && forced,
            _ => false,
        };
        if !may && answer != AuthAnswer::Refuse {
            log::info!(target: "sshd", "root login by {method} from {} refused", self.peer.source);
        }
        if may { answer } else { AuthAnswer::Refuse }
    }

    fn key(&self, user: &str, key: &PublicKey) -> AuthAnswer {
        let who = self.who(user);
        let answer = keys::judge(&who, &self.login(&who.user, key), &self.site.keys);
        let forced = key.certificate().is_some_and(|certificate| certificate.force_command().is_some());
        let answer = self.decided(&who, "publickey", answer, forced);
        if answer == AuthAnswer::Refuse {
            // Clients try what keys they have: no sign of a stranger, and said to who asks for more than is usual.
            log::debug!(
                target: "sshd",
                "Failed publickey for {} from {} ssh2: {} {}",
                named(&who),
                from(&self.peer),
                key.short_type(),
                key.fingerprint()
            );
        }
        answer
    }
}

impl ServerInterface for Application {
    fn allowed_auths(&self, user: &str) -> Vec<&'static str> {
        let config = &self.who(user).config;
        let passwords = !self.site.passwords.is_empty();
        [
            ("publickey", config.flag("pubkeyauthentication")),
            ("hostbased", config.flag("hostbasedauthentication")),
            ("password", passwords && config.flag("passwordauthentication")),
            ("keyboard-interactive", passwords && config.flag("kbdinteractiveauthentication")),
        ]
        .into_iter()
        .filter_map(|(method, allowed)| allowed.then_some(method))
        .collect()
    }

    fn authentication_methods(&self, user: &str) -> Option<AuthenticationMethods> {
        let config = &self.who(user).config;
        let lists = || AuthenticationMethods::parse(&config.words("authenticationmethods").join(" "));
        // Its line was looked at when it was read. If it meant nothing, nobody could pass it.
        config
            .is_set("authenticationmethods")
            .then(|| lists().or_else(|| AuthenticationMethods::parse(UNPASSED)))
            .flatten()
    }

    fn connection_rules(&self, user: &str, usual: ConnectionRules) -> ConnectionRules {
        settings::rules(&self.who(user).config, usual)
    }

    fn banner(&self) -> Option<String> {
        let path = self.current()?.config.some("banner")?;
        let read = Account::current().and_then(|own| own.read_file(path.as_ref(), false));
        let text = read.inspect_err(|error| log::warn!(target: "sshd", "{path}: {error}")).ok()?;
        if text.len() > BANNER {
            log::warn!(target: "sshd", "{path}: no banner is shown, it is longer than {BANNER} bytes");
            return None;
        }
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    fn check_auth_password(&self, user: &str, password: &Secret) -> AuthAnswer {
        let who = self.who(user);
        // The same work for users that do not exist.
        let known = self.site.passwords.get(&who.user);
        let nobody = Secret::from("");
        let right = known.unwrap_or(&nobody).matches(password.expose());
        let empty = password.expose().is_empty();
        let answer = AuthAnswer::when(right && known.is_some() && !empty);
        let answer = self.decided(&who, "password", answer, false);
        if answer == AuthAnswer::Refuse {
            log::info!(target: "sshd", "Failed password for {} from {} ssh2", named(&who), from(&self.peer));
        }
        answer
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
        self.key(user, key)
    }

    fn check_auth_certificate(&self, user: &str, key: &PublicKey) -> AuthAnswer {
        self.key(user, key)
    }

    fn check_auth_hostbased(&self, user: &str, client: &HostbasedClient) -> AuthAnswer {
        let who = self.who(user);
        let address = self.peer.addresses.map(|(peer, _)| peer.ip());
        let answer = match (Hosts::of(&who.config), who.account()) {
            (Some(hosts), Some(account)) => hosts.judge(account, client, address),
            _ => AuthAnswer::Refuse,
        };
        self.decided(&who, "hostbased", answer, false)
    }

    fn authenticated(&self, auth: &AuthInfo) {
        let key = auth.key.as_ref().map(|key| format!(": {} {}", key.short_type(), key.fingerprint()));
        log::info!(
            target: "sshd",
            "Accepted {} for {} from {} ssh2{}",
            auth.methods.join(","),
            auth.user,
            from(&self.peer),
            key.unwrap_or_default()
        );
    }

    fn forced_command(&self, auth: &AuthInfo) -> Option<Vec<u8>> {
        let forced = self.who(&auth.user).config.some("forcecommand");
        forced.map(String::into_bytes).or_else(|| auth.permissions.command.clone())
    }

    fn check_channel_pty_request(&self, _: &PtyRequest) -> Answer {
        Answer::Yes
    }

    fn check_channel_forward_agent_request(&self, _: &AuthInfo) -> Answer {
        Answer::Yes
    }

    fn check_channel_x11_request(&self, _: &AuthInfo, _: &X11Request) -> X11Answer {
        self.current().map_or(X11Answer::Refuse, |who| forwarding::display(&who.config))
    }

    fn check_channel_env_request(&self, name: &str, _: &str) -> Answer {
        let accepted = self.current().map(|who| who.config.words("acceptenv")).unwrap_or_default();
        Answer::when(accepted.iter().any(|pattern| pattern_list_matches(pattern, name)))
    }

    fn check_channel_shell_request(&self, _: &SessionRequest) -> Answer {
        Answer::Yes
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
        Answer::Yes
    }

    fn check_channel_subsystem_request(&self, _: &SessionRequest, name: &str) -> Answer {
        Answer::when(self.current().is_some_and(|who| sessions::subsystem(&who, name).is_some()))
    }

    fn check_channel_direct_tcpip_request(&self, request: &DirectRequest) -> DirectAnswer {
        self.forward_rules().direct(request)
    }

    fn check_channel_direct_streamlocal_request(&self, request: &DirectRequest) -> DirectAnswer {
        self.forward_rules().direct(request)
    }

    fn check_port_forward_request(&self, request: &ListenRequest) -> ListenAnswer {
        self.forward_rules().listen(request)
    }

    fn check_streamlocal_forward_request(&self, request: &ListenRequest) -> ListenAnswer {
        self.forward_rules().listen(request)
    }

    fn forwarding_account(&self, _: &AuthInfo) -> Option<Account> {
        self.current().and_then(|who| who.account().cloned())
    }

    fn session(&self, session: Session) -> io::Result<ExitStatus> {
        let who = self.who(&session.request().auth.user);
        sessions::run(&who, &self.peer, session)
    }
}
