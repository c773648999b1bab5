//! From a host's name to what all lines say of it: two passes where they are wanted, defaults, tokens.
//! OpenSSH's ssh.c, main.
//!
//! Runs on the caller's thread.

use std::sync::Arc;

use super::environment::Environment;
use super::forwarding::{ForwardRule, Way, Written};
use super::host::HostConfig;
use super::read::{Named, Reading, Scope, tokens};
use super::table::{Own, Shape, keyword};
use super::tokens::{Expand, Tokens, home};
use super::values::Values;
use super::{ConfigError, SSHConfig, Source, canonical, names};
use crate::pattern::endpoint::Endpoint;

/// What stands in for the name of a file in errors about options.
pub(super) const COMMAND_LINE: &str = "command-line";

/// A host that is looked up, with what counts more than the files.
///
/// ```
/// let config = feramiko::SSHConfig::from_text("Host build\n HostName build.example.org\n Port 2222\n");
/// let host = config.query("build").option("User=ci")?.lookup()?;
/// assert_eq!((host.hostname(), host.port(), host.user()), ("build.example.org", 2222, "ci"));
/// # Ok::<(), feramiko::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ConfigQuery {
    config: SSHConfig,
    host: String,
    values: Values,
    command: String,
    /// The user's name was said by whoever asked, not by a file.
    user_given: bool,
    /// Where the standard streams lead.
    stdio: Option<Endpoint>,
}

impl ConfigQuery {
    pub(super) fn new(config: SSHConfig, host: &str) -> Self {
        Self {
            config,
            host: host.to_owned(),
            values: Values::default(),
            command: String::new(),
            user_given: false,
            stdio: None,
        }
    }

    /// The user's name, unless one was given before. It must hold nothing that a shell would understand.
    #[must_use]
    pub fn user(mut self, user: &str) -> Self {
        if self.values.one("user").is_none() {
            self.values.replace("user", vec![user.to_owned()]);
            self.user_given = true;
        }
        self
    }

    /// The port, unless one was given before.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        if self.values.one("port").is_none() {
            self.values.replace("port", vec![port.to_string()]);
        }
        self
    }

    /// The command that is to be run: what `Match command` and `Match sessiontype` are about.
    #[must_use]
    pub fn command(mut self, command: &str) -> Self {
        command.clone_into(&mut self.command);
        self
    }

    /// A line as `ssh -o` takes it: `Name=value` or `Name value`. It counts more than the files, and than what is
    /// given after it.
    ///
    /// # Errors
    /// [`ConfigError::Line`] when it is not understood.
    pub fn option(mut self, line: &str) -> Result<Self, ConfigError> {
        let environment = Arc::clone(&self.config.environment);
        let mut reading = self.reading(&*environment);
        let scope = Scope { file: COMMAND_LINE, users: true, command_line: true, dead: false, depth: 0 };
        reading.line(line.as_bytes(), scope, 0, &mut true)?;
        self.values = reading.values;
        Ok(self)
    }

    /// A keyword with its words, which need no quotes. It counts as a line does that stands here.
    ///
    /// # Errors
    /// As [`option`](Self::option).
    pub fn words<S: AsRef<str>>(mut self, name: &str, words: &[S]) -> Result<Self, ConfigError> {
        let wrong = |text| ConfigError::Line { file: COMMAND_LINE.to_owned(), line: 0, text };
        let spec = keyword(name).ok_or_else(|| wrong(format!("bad configuration option: {name}")))?;
        if let Shape::Own(Own::Hosts | Own::Match | Own::Include) = spec.shape {
            return Err(wrong(format!("{} is for files, not for the command line", spec.name)));
        }
        let words: Vec<_> = words.iter().map(|word| word.as_ref().to_owned()).collect();
        let environment = Arc::clone(&self.config.environment);
        let mut reading = self.reading(&*environment);
        reading.value(spec, &words.join(" "), &words, true).map_err(wrong)?;
        self.values = reading.values;
        Ok(self)
    }

    /// The same, in the place of what was given before.
    ///
    /// # Errors
    /// As [`option`](Self::option).
    pub fn instead<S: AsRef<str>>(mut self, name: &str, words: &[S]) -> Result<Self, ConfigError> {
        if let Some(spec) = keyword(name) {
            self.values.forget(spec.name);
        }
        self.words(name, words)
    }

    /// A forwarding, as `ssh -L`, `-R` or `-D` takes it.
    ///
    /// # Errors
    /// [`ConfigError::Line`] when it is none.
    pub fn forward(mut self, letter: char, word: &str) -> Result<Self, ConfigError> {
        let environment = &*self.config.environment;
        let parse = |way| Written::parse(word, way, environment);
        let forward = match letter {
            'L' => parse(Way::Local),
            'R' => parse(Way::Remote).or_else(|_| parse(Way::RemoteDynamic)),
            _ => parse(Way::Dynamic),
        };
        let wrong = |text| ConfigError::Line { file: COMMAND_LINE.to_owned(), line: 0, text };
        let added = forward.and_then(|forward| self.values.forward(forward));
        added.map_err(wrong)?;
        Ok(self)
    }

    /// The standard streams lead somewhere, as `ssh -W` takes it: there is no session then, and unless something
    /// else is said no other forwarding, and a failure ends the connection.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn stdio_forward(mut self, word: &str) -> Result<Self, ConfigError> {
        self.stdio = Some(ForwardRule::stdio(word)?);
        self.instead("SessionType", &["none"])?.instead("RequestTTY", &["no"])
    }

    /// The files to be read, instead of those that the question was put to.
    #[must_use]
    pub fn files(mut self, config: SSHConfig) -> Self {
        self.config = config;
        self
    }

    /// What was given so far for a keyword, in the words of `ssh -G`.
    #[must_use]
    pub fn given(&self, name: &str) -> Option<&str> {
        self.values.one(keyword(name)?.name)
    }

    /// Another host.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    fn reading<'a>(&self, environment: &'a dyn Environment) -> Reading<'a> {
        Reading {
            environment,
            values: self.values.clone(),
            host: self.host.clone(),
            original: self.host.clone(),
            local_user: environment.user().unwrap_or_default(),
            command: self.command.clone(),
            may_run: false,
            is_final: false,
            wants_final: false,
            files: 0,
        }
    }

    /// What everything says of the host, together.
    ///
    /// # Errors
    /// [`ConfigError::Line`] for a line that is not understood, [`ConfigError::File`] for a file that cannot
    /// be read, [`ConfigError::Host`] for names that could be commands, and for what cannot be found out.
    pub fn lookup(self) -> Result<HostConfig, ConfigError> {
        let wrong = |text: String| ConfigError::host(&self.host, text);
        if !names::is_host(&self.host) {
            return Err(wrong("hostname contains invalid characters".to_owned()));
        }
        if self.values.one("user").is_some_and(|user| !names::is_user(user)) {
            return Err(wrong("remote username contains invalid characters".to_owned()));
        }
        let environment = Arc::clone(&self.config.environment);
        let mut reading = self.reading(&*environment);
        self.pass(&mut reading)?;
        let name = match reading.values.one("hostname") {
            Some(name) => {
                let tokens = Tokens::new([('h', self.host.clone())]);
                Expand { tokens: Some(&tokens), variables: None }.text(name).map_err(wrong)?
            }
            None => self.host.clone(),
        };
        let was_said = reading.values.one("hostname").is_some();
        // Addresses are put in order as such.
        let name = if canonical::is_address(&name) { name } else { name.to_ascii_lowercase() };
        let host = canonical::name(&name, &reading.values, &*environment).map_err(wrong)?.unwrap_or(name);
        if was_said {
            reading.values.replace("hostname", vec![host.clone()]);
        }
        let canonical = reading.values.one("canonicalizehostname").is_some_and(|mode| mode != "false");
        if reading.wants_final || canonical {
            reading.values.replace("hostname", vec![host.clone()]);
            reading.host.clone_from(&host);
            reading.is_final = true;
            reading.files = 0;
            self.pass(&mut reading)?;
        }
        let (mut values, local_user, original) = (reading.values, reading.local_user, self.host.clone());
        if self.stdio.is_some() {
            values.say("exitonforwardfailure", "yes");
            values.say("clearallforwardings", "yes");
        }
        let (given, config) = (self.user_given, self.config.clone());
        let found = Found { host, original, local_user, given, config };
        Ok(finish(values, environment, found).map_err(wrong)?.with_stdio(self.stdio.clone()))
    }

    /// Reads all lines once.
    fn pass(&self, reading: &mut Reading<'_>) -> Result<(), ConfigError> {
        for source in &*self.config.sources {
            let Source { file, text, users, may_run } = source;
            reading.may_run = *may_run;
            let scope = Scope { file, users: *users, command_line: false, dead: false, depth: 0 };
            reading.text(text, scope)?;
        }
        Ok(())
    }
}

/// What the passes have found.
struct Found {
    host: String,
    original: String,
    local_user: String,
    given: bool,
    config: SSHConfig,
}

/// Replaces the tokens of all values that are shown without them.
fn finish(mut values: Values, environment: Arc<dyn Environment>, found: Found) -> Result<HostConfig, String> {
    // Keys are known under names in lower case.
    if let Some(alias) = values.one("hostkeyalias").map(str::to_ascii_lowercase) {
        values.replace("hostkeyalias", vec![alias]);
    }
    let alias = values.one("hostkeyalias").unwrap_or(&found.original).to_owned();
    let named = Named { host: &found.host, original: &found.original, alias: &alias };
    let all = tokens(&values, &*environment, &found.local_user, named)?;
    user(&mut values, &*environment, &all, found.given)?;
    let all = tokens(&values, &*environment, &found.local_user, named)?;
    let percent = Expand { tokens: Some(&all), variables: None };
    let both = Expand { tokens: Some(&all), variables: Some(&*environment) };
    if let Some(command) = values.some("remotecommand") {
        let command = percent.text(command)?;
        values.replace("remotecommand", vec![command]);
    }
    for name in ["controlpath", "identityagent", "forwardagent", "userknownhostsfile", "revokedhostkeys"] {
        let Some(words) = values.all(name) else { continue };
        let known = ["none", "yes", "no"];
        let path = |word: &String| match word.as_str() {
            word if known.contains(&word) => Ok(word.to_owned()),
            word => both.text(&home(word, &*environment)?),
        };
        let words = words.iter().map(path).collect::<Result<_, _>>()?;
        values.replace(name, words);
    }
    if let Some(version) = values.one("versionaddendum") {
        let version = both.text(version)?;
        values.replace("versionaddendum", vec![version]);
    }
    if let Some(pairs) = values.all("setenv") {
        let pair = |pair: &String| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok::<_, String>(format!("{name}={}", both.text(value)?))
        };
        let pairs = pairs.iter().map(pair).collect::<Result<_, _>>()?;
        values.replace("setenv", pairs);
    }
    values.forwards =
        values.forwards.iter().map(|forward| forward.expanded(percent)).collect::<Result<_, _>>()?;
    let Found { host, original, config, .. } = found;
    HostConfig::new(values, environment, all, host, original, config)
}

/// Replaces the tokens of a user's name that a file gives; of what it then is nothing may reach a shell.
fn user(values: &mut Values, environment: &dyn Environment, all: &Tokens, given: bool) -> Result<(), String> {
    let Some(said) = values.one("user").filter(|_| !given).map(str::to_owned) else { return Ok(()) };
    let tokens = all.only("Ldhijklnpu");
    let user = Expand { tokens: Some(&tokens), variables: Some(environment) }.text(&said)?;
    if user != said && !names::is_user(&user) {
        return Err("remote username contains invalid characters".to_owned());
    }
    values.replace("user", vec![user]);
    Ok(())
}
