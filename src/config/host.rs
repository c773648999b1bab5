//! What a configuration says of one host.
//!
//! Its values are as they were when the host was looked up; only names of key files and of agents' sockets, as far
//! as they are in variables, and the variables that are sent are asked of the environment when they are.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::environment::Environment;
use super::forwarding::{ForwardRule, Way, Written};
use super::table::{Built, IDENTITIES, Own, Shape, Spec, TABLE, USERS, keyword};
use super::tokens::{Expand, Tokens, home};
use super::value::algorithm_list;

/// OpenSSH's.
const KEYSTROKES: Duration = Duration::from_millis(20);
use super::values::Values;
use super::{ConfigError, SSH_PORT, SSHConfig};
use crate::pattern::endpoint::{Endpoint, may_open};
use crate::pattern::{Letters, matches};
use crate::sys::traffic::TrafficClasses;

/// What a configuration says of one host: a value for every keyword of ssh_config(5).
///
/// ```
/// let config = feramiko::SSHConfig::from_text("Host *.org\n Compression yes\n IdentityFile ~/key-%h\n");
/// let host = config.lookup("a.org")?;
/// assert_eq!(host.get("Compression").as_deref(), Some("yes"));
/// assert_eq!(host.get("ServerAliveCountMax").as_deref(), Some("3"));
/// assert!(host.identity_files()?[0].ends_with("key-a.org"));
/// assert!(host.is_said("compression") && !host.is_said("serveralivecountmax"));
/// # Ok::<(), feramiko::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct HostConfig {
    values: Values,
    environment: Arc<dyn Environment>,
    /// All that most keywords may have; `tokens_of` knows the others.
    tokens: Tokens,
    host: String,
    original: String,
    user: String,
    port: u16,
    /// Its commands may be run.
    may_run: bool,
    stdio: Option<Endpoint>,
    /// What was asked, for further hosts on the way.
    config: SSHConfig,
}

impl fmt::Debug for HostConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostConfig")
            .field("host", &self.host)
            .field("original", &self.original)
            .field("values", &self.values)
            .finish_non_exhaustive()
    }
}

impl HostConfig {
    pub(super) fn new(
        values: Values,
        environment: Arc<dyn Environment>,
        tokens: Tokens,
        host: String,
        original: String,
        config: SSHConfig,
    ) -> Result<Self, String> {
        if values.one("connectionattempts") == Some("0") {
            return Err("ConnectionAttempts must not be 0".to_owned());
        }
        let user = tokens.get('r').unwrap_or_default().to_owned();
        let port = values.one("port").and_then(|port| port.parse().ok()).unwrap_or(SSH_PORT);
        let this = Self {
            values,
            environment,
            tokens,
            host,
            original,
            user,
            port,
            may_run: config.may_run(),
            stdio: None,
            config,
        };
        Ok(this)
    }

    pub(super) fn with_stdio(mut self, stdio: Option<Endpoint>) -> Self {
        self.stdio = stdio;
        self
    }

    /// The configuration that was asked, for hosts on the way to this one.
    #[must_use]
    pub fn config(&self) -> &SSHConfig {
        &self.config
    }

    /// Where the standard streams lead, if that was asked for by [`ConfigQuery::stdio_forward`].
    ///
    /// [`ConfigQuery::stdio_forward`]: super::ConfigQuery::stdio_forward
    #[must_use]
    pub fn stdio_forward(&self) -> Option<&Endpoint> {
        self.stdio.as_ref()
    }

    /// What was asked for.
    #[must_use]
    pub fn original_host(&self) -> &str {
        &self.original
    }

    /// Where to connect.
    #[must_use]
    pub fn hostname(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The user's name there; who runs the program, when nothing is said.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Whether the configuration says anything of a keyword, letters without case.
    #[must_use]
    pub fn is_said(&self, name: &str) -> bool {
        keyword(name).is_some_and(|spec| match spec.shape {
            Shape::Own(Own::Forward) => self.forwards(spec.name).next().is_some(),
            _ => self.values.all(spec.name).is_some(),
        })
    }

    /// The value of a keyword, letters without case, in the words of `ssh -G`, several with blanks between
    /// them; its default when nothing is said. None where there is no such keyword, or no value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        let words = self.get_all(name);
        (!words.is_empty()).then(|| words.join(" "))
    }

    /// The same, word by word.
    #[must_use]
    pub fn get_all(&self, name: &str) -> Vec<String> {
        let Some(spec) = keyword(name) else { return Vec::new() };
        match (spec.name, spec.shape) {
            ("host", _) => vec![self.original.clone()],
            ("hostname", _) => vec![self.host.clone()],
            (name, Shape::Own(Own::Forward)) => self.forwards(name).map(Written::shown).collect(),
            (name, Shape::Algorithms) => vec![algorithm_list(name, self.values.one(name))],
            _ => self.words(spec),
        }
    }

    /// The words of a keyword, or its default.
    pub(super) fn words(&self, spec: &Spec) -> Vec<String> {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        match (spec.name, self.values.all(spec.name)) {
            ("user", _) => vec![self.user.clone()],
            ("port", _) => vec![self.port.to_string()],
            (_, Some(words)) => words.to_vec(),
            ("userknownhostsfile", None) => {
                USERS.iter().filter_map(|path| home(path, &*self.environment).ok()).collect()
            }
            (_, None) => owned(spec.default),
        }
    }

    /// Whether a keyword is `yes`, or `true` as `ssh -G` has it.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        matches!(self.get(name).as_deref(), Some("yes" | "true"))
    }

    /// A keyword's number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u32> {
        self.get(name)?.parse().ok()
    }

    /// A keyword's time; none for `none` and 0.
    #[must_use]
    pub fn time(&self, name: &str) -> Option<Duration> {
        let seconds = self.number(name).filter(|seconds| *seconds > 0)?;
        Some(Duration::from_secs(seconds.into()))
    }

    /// A keyword's value as it was said, unless that is `none`.
    pub(crate) fn said(&self, name: &str) -> Option<&str> {
        self.values.some(name)
    }

    /// `RekeyLimit`: bytes and time, 0 for what is not said.
    pub(crate) fn rekey_limit(&self) -> (u64, Duration) {
        let words = self.values.all("rekeylimit").unwrap_or_default();
        let number = |at: usize| words.get(at).and_then(|word| word.parse().ok()).unwrap_or(0);
        (number(0), Duration::from_secs(number(1)))
    }

    /// `IPQoS`.
    #[must_use]
    pub fn traffic(&self) -> TrafficClasses {
        self.get_all("ipqos").join(" ").parse().unwrap_or_default()
    }

    /// Files whose names are a keyword's words; none for `none`.
    #[must_use]
    pub fn files(&self, name: &str) -> Vec<PathBuf> {
        let words = self.get_all(name).into_iter();
        words.filter(|word| !word.eq_ignore_ascii_case("none")).map(PathBuf::from).collect()
    }

    /// The files of keys to be tried, in order: `IdentityFile`, or the usual ones.
    ///
    /// # Errors
    /// [`ConfigError::Host`] for a token that stands for nothing, and a variable that is not set.
    pub fn identity_files(&self) -> Result<Vec<PathBuf>, ConfigError> {
        let usual = || IDENTITIES.iter().map(|path| (*path).to_owned()).collect();
        self.paths(self.values.all("identityfile").map_or_else(usual, <[String]>::to_vec))
    }

    /// The files of certificates that are named: `CertificateFile`.
    ///
    /// # Errors
    /// As [`identity_files`](Self::identity_files).
    pub fn certificate_files(&self) -> Result<Vec<PathBuf>, ConfigError> {
        self.paths(self.values.all("certificatefile").unwrap_or_default().to_vec())
    }

    fn paths(&self, words: Vec<String>) -> Result<Vec<PathBuf>, ConfigError> {
        let both = Expand { tokens: Some(&self.tokens), variables: Some(&*self.environment) };
        let path = |word: String| both.text(&home(&word, &*self.environment)?).map(PathBuf::from);
        let words = words.into_iter().filter(|word| !word.eq_ignore_ascii_case("none"));
        words.map(path).collect::<Result<_, _>>().map_err(|text| self.wrong(text))
    }

    fn wrong(&self, text: String) -> ConfigError {
        ConfigError::host(&self.original, text)
    }

    /// The command that leads to the host, with its tokens replaced: `ProxyCommand`, for the user's shell.
    ///
    /// # Errors
    /// [`ConfigError::Host`] for a token that stands for nothing there, and for a configuration that is no file
    /// of the user's.
    pub fn proxy_command(&self) -> Result<Option<String>, ConfigError> {
        self.command("proxycommand", &self.tokens.only("hknpr"))
    }

    /// The hosts that lead to this one, `[user@]host[:port]` with commas between them: `ProxyJump`.
    #[must_use]
    pub fn proxy_jump(&self) -> Option<&str> {
        self.values.some("proxyjump")
    }

    /// The command to be run here when the connection stands, for the user's shell, if `PermitLocalCommand` lets
    /// it: `LocalCommand`. `tunnel` is what `%T` stands for.
    ///
    /// # Errors
    /// As [`proxy_command`](Self::proxy_command).
    pub fn local_command(&self, tunnel: Option<&str>) -> Result<Option<String>, ConfigError> {
        if !self.is("permitlocalcommand") {
            return Ok(None);
        }
        self.command("localcommand", &self.tokens.with([('T', tunnel.unwrap_or("NONE"))]))
    }

    /// The command to be run there: `RemoteCommand`.
    #[must_use]
    pub fn remote_command(&self) -> Option<&str> {
        self.values.some("remotecommand")
    }

    /// The socket of a shared connection: `ControlPath`.
    #[must_use]
    pub fn control_path(&self) -> Option<PathBuf> {
        self.values.some("controlpath").map(PathBuf::from)
    }

    fn command(&self, name: &str, tokens: &Tokens) -> Result<Option<String>, ConfigError> {
        let expand = Expand { tokens: Some(tokens), variables: None };
        let Some(text) = self.values.some(name) else { return Ok(None) };
        self.runs(name)?;
        expand.text(text).map(Some).map_err(|text| self.wrong(text))
    }

    /// Lines that stand in no file run nothing.
    fn runs(&self, name: &str) -> Result<(), ConfigError> {
        if self.may_run {
            return Ok(());
        }
        Err(self.wrong(format!("{name} is not run: the configuration is no file of the user's")))
    }

    /// The words of `KnownHostsCommand`, each with its tokens replaced; `more` are those of the question.
    #[cfg(any(unix, test))]
    pub(crate) fn known_hosts_command(
        &self,
        more: [(char, &str); 5],
    ) -> Result<Option<Vec<String>>, ConfigError> {
        let Some(command) = self.values.some("knownhostscommand") else { return Ok(None) };
        self.runs("knownhostscommand")?;
        let tokens = self.tokens.with(more);
        let expand = Expand { tokens: Some(&tokens), variables: Some(&*self.environment) };
        let words = super::lexer::words(command, false).unwrap_or_default();
        let mut expanded = Vec::new();
        for (at, word) in words.into_iter().enumerate() {
            // The program itself is what the file says.
            expanded.push(if at == 0 {
                word
            } else {
                expand.text(&word).map_err(|text| self.wrong(text))?
            });
        }
        if expanded.is_empty() {
            return Err(self.wrong("KnownHostsCommand names no program, or a quote is not closed".to_owned()));
        }
        Ok(Some(expanded))
    }

    /// A path of a socket that a keyword names, which may be in a variable: `$NAME`. None where the variable is
    /// not set.
    fn socket(&self, name: &str) -> Option<PathBuf> {
        let word = self.values.some(name)?;
        match word.strip_prefix('$') {
            Some(variable) => self.environment.variable(variable).map(PathBuf::from),
            None if word == "SSH_AUTH_SOCK" => self.environment.variable(word).map(PathBuf::from),
            None => Some(PathBuf::from(word)),
        }
    }

    /// The socket of the agent: `IdentityAgent`. `Some(None)` is no agent; none is the usual one.
    #[must_use]
    pub fn identity_agent(&self) -> Option<Option<PathBuf>> {
        self.values.all("identityagent").map(|_| self.socket("identityagent"))
    }

    /// The socket of the agent that the server's programs may use: `ForwardAgent`.
    #[must_use]
    pub fn forward_agent(&self) -> Option<PathBuf> {
        match self.values.one("forwardagent")? {
            "no" => None,
            "yes" => match self.identity_agent() {
                Some(agent) => agent,
                None => self.environment.variable("SSH_AUTH_SOCK").map(PathBuf::from),
            },
            _ => self.socket("forwardagent"),
        }
    }

    /// The forwardings of a keyword, as they are written.
    pub(super) fn forwards(&self, name: &str) -> impl Iterator<Item = &Written> {
        let cleared = self.is_cleared();
        let ways: &[Way] = match name {
            "localforward" => &[Way::Local],
            "remoteforward" => &[Way::Remote, Way::RemoteDynamic],
            _ => &[Way::Dynamic],
        };
        self.values.forwards_of(ways).filter(move |_| !cleared)
    }

    fn is_cleared(&self) -> bool {
        self.values.one("clearallforwardings") == Some("yes")
    }

    /// The rules of `LocalForward`.
    #[must_use]
    pub fn local_forwards(&self) -> Vec<ForwardRule> {
        self.forwards("localforward").map(Written::rule).collect()
    }

    /// The rules of `RemoteForward`; without an end that is dynamic.
    #[must_use]
    pub fn remote_forwards(&self) -> Vec<ForwardRule> {
        self.forwards("remoteforward").map(Written::rule).collect()
    }

    /// The rules of `DynamicForward`.
    #[must_use]
    pub fn dynamic_forwards(&self) -> Vec<ForwardRule> {
        self.forwards("dynamicforward").map(Written::rule).collect()
    }

    /// Whether whoever connects to a dynamic rule of `RemoteForward` may be led to a place:
    /// `PermitRemoteOpen`.
    #[must_use]
    pub fn permits_remote_open(&self, to: &Endpoint) -> bool {
        let list = self.values.all("permitremoteopen").filter(|words| *words != ["any"]);
        may_open(list, to)
    }

    /// The character that begins a command to the program, at the start of a line of a terminal: `EscapeChar`.
    #[must_use]
    pub fn escape_char(&self) -> Option<u8> {
        // As `ssh -G` writes it.
        match self.get("escapechar")?.as_bytes() {
            [byte] | [b'\\', byte @ b'\\'] => Some(*byte),
            [b'\\', b'^', b'?'] => Some(127),
            [b'\\', b'^', letter] => Some(letter & 31),
            _ => None,
        }
    }

    /// How far apart what is typed leaves, so that its timing tells nothing: `ObscureKeystrokeTiming`. None
    /// where it leaves at once.
    #[must_use]
    pub fn keystroke_interval(&self) -> Option<Duration> {
        match self.get("obscurekeystroketiming")?.as_str() {
            "no" => None,
            milliseconds => Some(milliseconds.parse().map_or(KEYSTROKES, Duration::from_millis)),
        }
    }

    /// How long a shared connection is held that nobody uses: `ControlPersist`. None where it is not; nothing
    /// for ever.
    #[must_use]
    pub fn control_persist(&self) -> Option<Option<Duration>> {
        match self.get("controlpersist")?.as_str() {
            "no" => None,
            "yes" => Some(None),
            seconds => seconds.parse().ok().map(|seconds| Some(Duration::from_secs(seconds))),
        }
    }

    /// The bits that are taken away from the mode of a UNIX socket where connections are taken:
    /// `StreamLocalBindMask`.
    #[must_use]
    pub fn bind_mask(&self) -> Option<u32> {
        u32::from_str_radix(&self.get("streamlocalbindmask")?, 8).ok()
    }

    /// The variables that the session gets: those of `SetEnv`, and ours that `SendEnv` names. Of each name the
    /// first.
    #[must_use]
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        let mut found: Vec<(OsString, OsString)> = Vec::new();
        let set =
            self.values.all("setenv").unwrap_or_default().iter().filter_map(|pair| pair.split_once('='));
        for (name, value) in set {
            found.push((name.into(), value.into()));
        }
        let patterns = self.values.all("sendenv").unwrap_or_default();
        let sent = |name: &OsStr| {
            let name = name.as_encoded_bytes();
            patterns.iter().any(|pattern| matches(pattern.as_bytes(), name, Letters::Exact))
        };
        for (name, value) in std::env::vars_os() {
            if sent(&name) && !found.iter().any(|(known, _)| *known == name) {
                found.push((name, value));
            }
        }
        found
    }

    /// Tells in the log which keywords are said and not built.
    pub(crate) fn tell_unbuilt(&self) {
        for name in self.unbuilt(Built::No) {
            log::info!(target: "feramiko::config", "{}: {name} is not built", self.original);
        }
    }

    /// Keywords that are said and not built, of one kind.
    fn unbuilt(&self, kind: Built) -> Vec<&'static str> {
        let said = |spec: &&Spec| {
            let words = self.values.all(spec.name);
            words.is_some_and(|words| words != spec.default)
        };
        TABLE.iter().filter(|spec| spec.built == kind).filter(said).map(|spec| spec.name).collect()
    }

    /// The first keyword that was said and is not built, without which a connection would be less safe than
    /// was asked for.
    #[must_use]
    pub fn missing_safety(&self) -> Option<&'static str> {
        self.unbuilt(Built::Needed).first().copied()
    }
}
