//! Which method is tried after which: keys of the host, keys given, key files, the agent, default keys, methods of the
//! application's own, password, keyboard-interactive; again after each partial success.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::cancel::Cancel;
use crate::agent::{AddOptions, Agent, AgentError};
use crate::auth::{Attempt, HostClaim, InteractiveQuery};
use crate::crypto::secret::Secret;
use crate::engine::{Clock, Closer};
use crate::error::{Error, Result};
use crate::key::{KeyError, PKey, PublicKey};
use crate::transport::{Answers, AuthMethod, ChangePassword, OnBanner, Outcome, Transport};
use crate::wire::is_own_name;

/// Keys that `ssh` looks for, in its order.
const DEFAULT_KEYS: [&str; 5] = ["id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk"];
/// Ends the name of the file that holds a key's certificate.
const CERTIFICATE: &str = "-cert.pub";
/// Ends the name of the file that holds a key's public half.
const PUBLIC: &str = ".pub";
/// How often a password is asked for unless told otherwise: NumberOfPasswordPrompts.
const PASSWORD_PROMPTS: u32 = 3;
/// The order in which methods are tried unless told otherwise: PreferredAuthentications.
const METHODS: [&str; 4] = ["hostbased", "publickey", "keyboard-interactive", "password"];

type Interactive = Box<dyn FnMut(&InteractiveQuery) -> Result<Vec<Secret>> + Send>;
type AskPassphrase = Box<dyn FnMut(&Path) -> Option<Secret> + Send>;
type AskKey = Box<dyn FnMut(&Path, &PKey) -> bool + Send>;
type AskPassword = Box<dyn FnMut(&str) -> Option<Secret> + Send>;

/// Everything that a user can prove with.
pub(super) struct Credentials {
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
    /// Keys of this host, with its name and the user's here.
    pub(super) hosts: Vec<(PKey, String, String)>,
    pub(super) keys: Vec<PKey>,
    pub(super) key_files: Vec<(PathBuf, Option<Secret>)>,
    pub(super) passphrase: Option<AskPassphrase>,
    pub(super) ask_password: Option<AskPassword>,
    pub(super) new_password: Option<AskPassword>,
    pub(super) interactive: Option<Interactive>,
    /// Methods of the application's own.
    pub(super) methods: Vec<Box<dyn AuthMethod>>,
    pub(super) on_banner: Option<OnBanner>,
    pub(super) agent: bool,
    pub(super) default_keys: bool,
    pub(super) identities_only: bool,
    /// The agent's socket, if it is not the usual one.
    pub(super) agent_socket: Option<PathBuf>,
    /// Files of certificates, which may belong to any key: `CertificateFile`.
    pub(super) certificates: Vec<PathBuf>,
    /// How keys that were read from files are given to the agent.
    pub(super) add_to_agent: Option<AddOptions>,
    /// Whether the user is asked first: `AddKeysToAgent ask`. Where nobody can be, none is given.
    pub(super) asks_to_add: bool,
    pub(super) may_add: Option<AskKey>,
    /// How often a password is asked for.
    pub(super) prompts: u32,
    /// Methods that are not to be used.
    pub(super) refused: Vec<&'static str>,
    /// Methods that are to be used, in this order; none for all.
    pub(super) preferred: Option<Vec<String>>,
}

impl Default for Credentials {
    fn default() -> Self {
        Self {
            user: None,
            password: None,
            hosts: Vec::new(),
            keys: Vec::new(),
            key_files: Vec::new(),
            passphrase: None,
            ask_password: None,
            new_password: None,
            interactive: None,
            methods: Vec::new(),
            on_banner: None,
            agent: true,
            default_keys: true,
            identities_only: false,
            agent_socket: None,
            certificates: Vec::new(),
            add_to_agent: None,
            asks_to_add: false,
            may_add: None,
            prompts: PASSWORD_PROMPTS,
            refused: Vec::new(),
            preferred: None,
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .field("keys", &self.keys)
            .field("key_files", &self.key_files.iter().map(|(path, _)| path).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// One thing to try.
enum Try {
    Key(PKey),
    File(PathBuf, Option<Secret>),
    /// The agent's, found by its public half in a file.
    Held(PKey, PathBuf),
}

impl Credentials {
    /// Tries everything, until the time is over or until it is cancelled; the banners of the server.
    pub(super) fn authenticate(
        mut self,
        transport: &Transport,
        user: Option<String>,
        clock: &Clock,
        cancel: &Cancel,
    ) -> Result<Vec<String>> {
        let user = match user.or_else(|| self.user.clone()) {
            Some(user) => user,
            None => {
                crate::sys::user::login_name().map_err(|error| Error::io("finding the user's name", error))?
            }
        };
        if let Some(told) = self.on_banner.take() {
            transport.set_on_banner(told);
        }
        let mut run = Run::new(transport, user);
        let order = self.order();
        // Keys first, in one flight with the request for the service; without any, ask what would do.
        let agent = self.agent.then(|| Agent::for_login(self.agent_socket.as_deref(), clock.ends()));
        let _watch = agent.as_ref().and_then(|agent| agent.as_ref().ok()).map(|agent| {
            let cut: Arc<dyn Closer> = Arc::new(CutAgent(agent.clone()));
            cancel.watch(cut)
        });
        let holder = agent.as_ref().and_then(|agent| agent.as_ref().ok()).cloned();
        let uses = |method: &str| order.iter().any(|name| name == method);
        let mut keys = Vec::new();
        if uses("publickey") {
            keys = self.keys_to_try(transport, agent, clock);
        }
        if !uses("hostbased") {
            self.hosts.clear();
        }
        if self.hosts.is_empty() && keys.is_empty() {
            run.attempt(Attempt::None, Answers::none())?;
        }
        self.try_methods(&mut run, order, keys, holder.as_ref(), clock)?;
        if run.success { Ok(run.banners) } else { Err(transport.auth_error(&run.user)) }
    }

    fn try_methods(
        &mut self,
        run: &mut Run<'_>,
        order: Vec<String>,
        mut keys: Vec<Try>,
        agent: Option<&Agent>,
        clock: &Clock,
    ) -> Result<()> {
        // One that was given goes before questions.
        let early = self.preferred.is_none() && !self.refused.contains(&"password");
        let mut given = self.password.clone();
        // Once more after a partial success, with what was not judged: its turn may have come only now.
        loop {
            run.progress = false;
            for method in &order {
                self.try_method(run, method, &mut keys, (&mut given, early), (agent, clock))?;
            }
            if run.success || !run.progress {
                return Ok(());
            }
        }
    }

    fn try_method(
        &mut self,
        run: &mut Run<'_>,
        method: &str,
        keys: &mut Vec<Try>,
        (given, early): (&mut Option<Secret>, bool),
        (agent, clock): (Option<&Agent>, &Clock),
    ) -> Result<()> {
        match method {
            "hostbased" => {
                for (key, host, user) in std::mem::take(&mut self.hosts) {
                    let waits = run.over("hostbased");
                    if !waits {
                        attempt_host(run, key.clone(), &host, &user)?;
                    }
                    if waits || run.out_of_turn("hostbased") {
                        self.hosts.push((key, host, user));
                    }
                }
            }
            "publickey" => {
                let mut waiting = std::mem::take(keys).into_iter();
                while !run.over("publickey")
                    && let Some(key) = waiting.next()
                {
                    self.try_key(run, key, agent, clock)?;
                }
                keys.extend(run.unjudged.drain(..).map(Try::Key).chain(waiting));
            }
            "password" => self.try_password(run, given, clock)?,
            name if is_own_name(name) => {
                if let Some(own) = self.methods.iter_mut().find(|own| own.name() == name) {
                    run.attempt_own(&mut **own)?;
                }
            }
            "keyboard-interactive" => {
                if early {
                    self.try_given(run, given)?;
                }
                self.try_interactive(run)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// The methods that may be used, in their order.
    fn order(&self) -> Vec<String> {
        let mut order = self.preferred.clone().unwrap_or_else(|| {
            let [hostbased, publickey, questions @ ..] = METHODS;
            let own = self.methods.iter().map(|method| method.name());
            let all = [hostbased, publickey].into_iter().chain(own).chain(questions);
            all.map(str::to_owned).collect()
        });
        order.retain(|method| !self.refused.contains(&method.as_str()));
        order
    }

    /// Keys given, files of keys, the agent's keys, the usual files. A key of a file that the agent has is
    /// the agent's to sign with. With `identities_only` the agent's other keys are left out, and the usual
    /// files where others were named.
    fn keys_to_try(
        &mut self,
        transport: &Transport,
        agent: Option<std::result::Result<Agent, AgentError>>,
        clock: &Clock,
    ) -> Vec<Try> {
        let mut list: Vec<_> = std::mem::take(&mut self.keys).into_iter().map(Try::Key).collect();
        let mut held = agent.map(|agent| agents_keys(agent, transport, clock.ends())).unwrap_or_default();
        // Certificates that are named go before all that is not given: servers count what they refuse.
        for file in &self.certificates {
            list.extend(held.iter().find_map(|key| certified(key, file, true)).map(Try::Key));
        }
        let files = std::mem::take(&mut self.key_files);
        let usual = self.default_keys && (files.is_empty() || !self.identities_only);
        list.extend(files.into_iter().flat_map(|file| from_file(file, &mut held)));
        let home = dirs::home_dir().filter(|_| usual);
        let usual = home.into_iter().flat_map(|home| DEFAULT_KEYS.map(|name| home.join(".ssh").join(name)));
        let (there, agents): (Vec<_>, Vec<_>) = usual
            .flat_map(|path| from_file((path, None), &mut held))
            .partition(|one| matches!(one, Try::File(..)));
        list.extend(agents);
        if !self.identities_only {
            list.extend(held.into_iter().map(Try::Key));
        }
        list.extend(there.into_iter().filter(|one| matches!(one, Try::File(path, _) if path.exists())));
        list
    }

    fn try_key(&mut self, run: &mut Run<'_>, key: Try, agent: Option<&Agent>, clock: &Clock) -> Result<()> {
        let (key, path) = match key {
            Try::Key(key) => return attempt_key(run, key),
            Try::Held(key, path) => (key, path),
            Try::File(path, secret) => match self.load(&path, secret.as_ref(), clock) {
                Ok(key) => {
                    self.keep(&key, &path, agent, clock);
                    (key, path)
                }
                Err(error) => {
                    let key = Some(path.display().to_string());
                    run.transport.note_attempt("publickey", key, &error.to_string());
                    return Ok(());
                }
            },
        };
        // What stands beside a key as its public half may be a certificate as well.
        let beside = [beside(&path, CERTIFICATE), beside(&path, PUBLIC)];
        let named = !self.certificates.is_empty();
        for file in if named { self.certificates.as_slice() } else { &beside } {
            if let Some(certified) = certified(&key, file, named).filter(|_| !run.over("publickey")) {
                attempt_key(run, certified)?;
            }
        }
        if run.over("publickey") { Ok(()) } else { attempt_key(run, key) }
    }

    fn load(
        &mut self,
        path: &Path,
        secret: Option<&Secret>,
        clock: &Clock,
    ) -> std::result::Result<PKey, KeyError> {
        let passphrase = secret.map(|secret| String::from_utf8_lossy(secret.expose()));
        match PKey::from_file(path, passphrase.as_deref()) {
            Err(KeyError::PassphraseNeeded) => {
                let ask = self.passphrase.as_mut();
                let asked =
                    ask.and_then(|ask| clock.aside(|| ask(path))).ok_or(KeyError::PassphraseNeeded)?;
                PKey::from_file(path, Some(&String::from_utf8_lossy(asked.expose())))
            }
            other => other,
        }
    }

    /// The password that was given, by the method of that name.
    fn try_given(&mut self, run: &mut Run<'_>, given: &mut Option<Secret>) -> Result<()> {
        match given.take_if(|_| !run.over("password")) {
            Some(password) => run.attempt_password(password, self.new_password.as_mut()),
            None => Ok(()),
        }
    }

    fn try_password(&mut self, run: &mut Run<'_>, given: &mut Option<Secret>, clock: &Clock) -> Result<()> {
        self.try_given(run, given)?;
        if let Some(ask) = &mut self.ask_password {
            for _ in 0..self.prompts {
                if run.over("password") {
                    break;
                }
                let Some(password) = clock.aside(|| ask(&run.user)) else { break };
                run.attempt_password(password, self.new_password.as_mut())?;
            }
        }
        Ok(())
    }

    fn try_interactive(&mut self, run: &mut Run<'_>) -> Result<()> {
        // Many servers want passwords by keyboard-interactive: one hidden question.
        if let Some(password) = self.password.clone().filter(|_| self.interactive.is_none())
            && !run.over("keyboard-interactive")
        {
            run.attempt_interactive(&mut |query: &InteractiveQuery| answer_with(query, &password))?;
        }
        if let Some(interactive) = &mut self.interactive {
            for _ in 0..self.prompts {
                if run.over("keyboard-interactive") {
                    break;
                }
                run.attempt_interactive(&mut **interactive)?;
            }
        }
        Ok(())
    }

    /// Gives the agent a key that was read from a file, if that is wished.
    fn keep(&mut self, key: &PKey, path: &Path, agent: Option<&Agent>, clock: &Clock) {
        let (Some(options), Some(agent)) = (&self.add_to_agent, agent) else { return };
        let ask = &mut self.may_add;
        let mut may = || ask.as_mut().is_some_and(|ask| clock.aside(|| ask(path, key)));
        if self.asks_to_add && !may() {
            return log::debug!(target: "feramiko::auth", "{}: the agent is not given the key", path.display());
        }
        if let Err(error) = agent.clone().within(clock.ends()).add(key, options) {
            log::warn!(target: "feramiko::auth", "the agent does not take the key: {error}");
        }
    }
}

/// The keys of the user's agent; none when there is no agent.
fn agents_keys(
    agent: std::result::Result<Agent, AgentError>,
    transport: &Transport,
    deadline: Instant,
) -> Vec<PKey> {
    let keys = agent.and_then(|agent| {
        bind(&agent.clone().within(deadline), transport);
        agent.within(deadline).keys()
    });
    match keys {
        Ok(keys) => keys.into_iter().map(PKey::from).collect(),
        Err(error) => {
            log::debug!(target: "feramiko::auth", "no keys of an agent: {error}");
            Vec::new()
        }
    }
}

/// The path with more behind its name.
fn beside(path: &Path, more: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(more);
    name.into()
}

/// The keys that a file names, those that are `held` taken from there: by the certificate beside it, by
/// the public half that is in it or beside it. What the agent does not have is in the file.
fn from_file((path, secret): (PathBuf, Option<Secret>), held: &mut Vec<PKey>) -> Vec<Try> {
    let mut take = |public: Option<PublicKey>| {
        let at = held.iter().position(|key| public.as_ref() == Some(key.public_key()))?;
        Some(held.remove(at))
    };
    let public = |path: &Path| PublicKey::from_file(path).ok().map(|(key, _)| key);
    let certified = take(public(&beside(&path, CERTIFICATE))).map(Try::Key);
    let plain = take(public(&path).or_else(|| public(&beside(&path, PUBLIC))));
    let plain = match plain {
        Some(key) => Try::Held(key, path),
        None => Try::File(path, secret),
    };
    certified.into_iter().chain([plain]).collect()
}

/// Ends what is asked of an agent when a login is cancelled.
struct CutAgent(Agent);

impl Closer for CutAgent {
    fn close(&self) {
        self.0.cut();
    }
}

/// Tells the agent which session it signs for, so that it can hold its keys to their destinations. One
/// that does not know of that is used all the same.
fn bind(agent: &Agent, transport: &Transport) {
    if let Some((host_key, session_id, proof)) = transport.session_binding()
        && let Err(error) = agent.session_bind(&host_key, &session_id, &proof, false)
    {
        log::debug!(target: "feramiko::auth", "the agent is not bound to the session: {error}");
    }
}

/// The key with the certificate of a file: one that lies beside the key's, as `ssh` looks for it, or one that is
/// `named` and may be another key's.
fn certified(key: &PKey, file: &Path, named: bool) -> Option<PKey> {
    if !named && !file.exists() {
        return None;
    }
    let certificate = PublicKey::from_file(file);
    let others = |certificate: &PublicKey| {
        named && certificate.without_certificate() != key.public_key().without_certificate()
    };
    // A plain public half beside a key is no certificate, and nobody has said that it is one.
    let plain = |certificate: &PublicKey| !named && certificate.certificate().is_none();
    if certificate.as_ref().is_ok_and(|(certificate, _)| others(certificate) || plain(certificate)) {
        return None;
    }
    let certified = certificate.and_then(|(certificate, _)| key.with_certificate(&certificate));
    certified
        .inspect_err(|error| {
            log::warn!(target: "feramiko::auth", "{}: not used: {error}", file.display());
        })
        .ok()
}

/// A key that costs nothing to sign with is used at once; one that a person may have to confirm is
/// offered first.
fn attempt_key(run: &mut Run<'_>, key: PKey) -> Result<()> {
    let Some(algorithm) = run.transport.algorithm_for(&key) else {
        run.unusable("publickey", &key);
        return Ok(());
    };
    if run.offered.contains(key.public_key()) {
        return Ok(());
    }
    run.offered.push(key.public_key().clone());
    let probe = key.is_external();
    run.attempt(Attempt::PublicKey { key: key.clone(), algorithm, probe }, Answers::none())?;
    if run.out_of_turn("publickey") {
        run.offered.retain(|offered| offered != key.public_key());
        run.unjudged.push(key);
    }
    Ok(())
}

/// A host's key, with its certificate first if it has one.
fn attempt_host(run: &mut Run<'_>, key: PKey, host: &str, user: &str) -> Result<()> {
    let plain = key.public_key().certificate().map(|_| key.without_certificate());
    for key in [Some(key), plain].into_iter().flatten() {
        if run.over("hostbased") {
            break;
        }
        let Some(algorithm) = run.transport.host_algorithm_for(&key) else {
            run.unusable("hostbased", &key);
            continue;
        };
        let claim = HostClaim { key, algorithm, host: host.to_owned(), user: user.to_owned() };
        run.attempt(Attempt::Hostbased(claim), Answers::none())?;
    }
    Ok(())
}

/// The password as the answer to every hidden question; nothing for the others.
fn answer_with(query: &InteractiveQuery, password: &Secret) -> Result<Vec<Secret>> {
    let answer = |echo: bool| if echo { Secret::from("") } else { password.clone() };
    Ok(query.prompts.iter().map(|prompt| answer(prompt.echo)).collect())
}

/// Where the attempts stand.
struct Run<'a> {
    transport: &'a Transport,
    user: String,
    /// What the server said it accepts, once it did.
    methods: Option<Vec<String>>,
    /// Keys that were tried: the agent and a file may have the same.
    offered: Vec<PublicKey>,
    /// Keys that were refused because others come first.
    unjudged: Vec<PKey>,
    success: bool,
    /// The last attempt was one step of several; one of this round was.
    partial: bool,
    progress: bool,
    banners: Vec<String>,
}

impl<'a> Run<'a> {
    fn new(transport: &'a Transport, user: String) -> Self {
        Self {
            transport,
            user,
            methods: None,
            offered: Vec::new(),
            unjudged: Vec::new(),
            success: false,
            partial: false,
            progress: false,
            banners: Vec::new(),
        }
    }

    /// Whether the last attempt was refused because `method`, by which it was made, is not next.
    fn out_of_turn(&self, method: &str) -> bool {
        !self.success && !self.partial && self.over(method)
    }

    /// Whether `method` need not be tried.
    fn over(&self, method: &str) -> bool {
        self.success
            || self.methods.as_ref().is_some_and(|methods| !methods.iter().any(|name| name == method))
    }

    /// Notes a key that cannot even be offered.
    fn unusable(&self, method: &str, key: &PKey) {
        let key = key.public_key();
        let why = format!("no signature algorithm of {} is allowed", key.key_type());
        self.transport.note_attempt(method, Some(key.fingerprint()), &why);
    }

    fn attempt(&mut self, attempt: Attempt, answers: Answers<'_>) -> Result<()> {
        let outcome = self.transport.try_auth(&self.user, attempt, answers)?;
        self.note(outcome);
        Ok(())
    }

    fn attempt_own(&mut self, method: &mut dyn AuthMethod) -> Result<()> {
        if !self.over(method.name()) {
            let outcome = self.transport.try_method(&self.user, method)?;
            self.note(outcome);
        }
        Ok(())
    }

    fn note(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Success(banners) => {
                self.success = true;
                self.banners = banners;
            }
            Outcome::Failure { methods, partial } => {
                self.methods = Some(methods);
                self.partial = partial;
                self.progress |= partial;
            }
            Outcome::Unusable(_) => self.partial = false,
        }
    }

    fn attempt_password(&mut self, password: Secret, new: Option<&mut AskPassword>) -> Result<()> {
        let mut change = new.map(|ask| move |prompt: &str| Ok(ask(prompt)));
        let change_password = change.as_mut().map(|change| change as &mut ChangePassword<'_>);
        self.attempt(Attempt::Password(password), Answers { change_password, ..Answers::none() })
    }

    fn attempt_interactive(
        &mut self,
        handler: &mut (dyn FnMut(&InteractiveQuery) -> Result<Vec<Secret>> + '_),
    ) -> Result<()> {
        let mut handler = |query: &InteractiveQuery| handler(query);
        self.attempt(Attempt::Interactive, Answers { interactive: Some(&mut handler), ..Answers::none() })
    }
}
