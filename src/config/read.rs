//! Reads lines in order and keeps what they say of one host. OpenSSH's readconf.c, read_config_file_depth and
//! process_config_line_depth.
//!
//! Runs on the thread that looks a host up. Knows the world by [`Environment`] only.

use std::path::Path;

use super::criteria::{self, Known};
use super::environment::Environment;
use super::forwarding::{Way, Written};
use super::table::{Built, Own, Shape, Spec, keyword};
use super::tokens::{Expand, Tokens};
use super::values::Values;
use super::{ConfigError, SSH_PORT, jump, lexer};
use crate::crypto::hash::HashAlg;
use crate::pattern::{Letters, matches_list};

/// How deep files may include others; OpenSSH's figure.
const DEPTH: usize = 16;
/// How many files may be read for one host: a file that includes itself twice, 16 deep, would be 65,535.
const FILES: usize = 1024;

/// Where lines come from, and what they may do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'a> {
    /// The file's name.
    pub(super) file: &'a str,
    /// The user's, not the system's: `~` and relative names mean the user's folders.
    pub(super) users: bool,
    /// Options that stand in no file.
    pub(super) command_line: bool,
    /// Nothing in it is about the host; it is only checked.
    pub(super) dead: bool,
    pub(super) depth: usize,
}

/// One host, and what is known of it so far.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    pub(super) environment: &'a dyn Environment,
    pub(super) values: Values,
    /// The host's name as Host sees it: as it was asked for, and in the second pass the one that was found.
    pub(super) host: String,
    pub(super) original: String,
    pub(super) local_user: String,
    pub(super) command: String,
    pub(super) may_run: bool,
    pub(super) is_final: bool,
    pub(super) wants_final: bool,
    pub(super) files: usize,
}

impl Reading<'_> {
    /// Reads the lines of a file. Whether those before it were about the host does not matter to them.
    pub(super) fn text(&mut self, text: &[u8], scope: Scope<'_>) -> Result<(), ConfigError> {
        let mut active = !scope.dead;
        for (number, line) in (1_u32..).zip(text.split(|byte| *byte == b'\n')) {
            self.line(line, scope, number, &mut active)?;
        }
        Ok(())
    }

    /// Reads one line.
    pub(super) fn line(
        &mut self,
        line: &[u8],
        scope: Scope<'_>,
        number: u32,
        active: &mut bool,
    ) -> Result<(), ConfigError> {
        let wrong = |text| ConfigError::Line { file: scope.file.to_owned(), line: number, text };
        // Comments may be in any alphabet.
        if line.trim_ascii_start().starts_with(b"#") {
            return Ok(());
        }
        let text = std::str::from_utf8(line).map_err(|_| wrong("not UTF-8".to_owned()))?;
        if text.contains('\0') {
            return Err(wrong("it holds a NUL".to_owned()));
        }
        let Some(line) = lexer::line(text).map_err(wrong)? else { return Ok(()) };
        let spec = match keyword(line.keyword) {
            Some(spec) => spec,
            None if self.is_ignored(line.keyword) => return Ok(()),
            None => return Err(wrong(format!("bad configuration option: {}", line.keyword))),
        };
        if spec.built == Built::Gone {
            log::debug!(target: "feramiko::config", "{} line {number}: {} is ignored", scope.file, spec.name);
            return Ok(());
        }
        let Shape::Own(own @ (Own::Hosts | Own::Match | Own::Include)) = spec.shape else {
            return self.value(spec, line.rest, &line.words, *active).map_err(wrong);
        };
        if scope.command_line {
            return Err(wrong(format!("{} is for files, not for the command line", spec.name)));
        }
        match own {
            Own::Hosts => *active = criteria::host(&line.words, &self.host).map_err(wrong)? && !scope.dead,
            Own::Match => *active = self.matched(&line.words, scope).map_err(wrong)? && !scope.dead,
            _ => {
                for pattern in &line.words {
                    self.include(pattern, scope, *active, &wrong)?;
                }
            }
        }
        Ok(())
    }

    /// Takes the words of a keyword that has a value.
    pub(super) fn value(
        &mut self,
        spec: &'static Spec,
        rest: &str,
        words: &[String],
        active: bool,
    ) -> Result<(), String> {
        match spec.shape {
            Shape::Own(Own::Forward) => {
                let forward = self.forward(spec, words)?;
                if active { self.values.forward(forward) } else { Ok(()) }
            }
            _ => self.values.take(spec, rest, words, active),
        }
    }

    /// `LocalForward listen to`, `RemoteForward listen [to]`, `DynamicForward listen`.
    fn forward(&self, spec: &Spec, words: &[String]) -> Result<Written, String> {
        let (way, word) = match (spec.name, words) {
            ("dynamicforward", [listen]) => (Way::Dynamic, listen.clone()),
            ("remoteforward", [listen]) => (Way::RemoteDynamic, listen.clone()),
            ("remoteforward", [listen, to]) => (Way::Remote, format!("{listen}:{to}")),
            ("localforward", [listen, to]) => (Way::Local, format!("{listen}:{to}")),
            ("localforward", [_]) => return Err("missing target argument".to_owned()),
            (_, []) => return Err("missing argument".to_owned()),
            _ => return Err(format!("keyword {} has extra arguments at the end of the line", spec.name)),
        };
        Written::parse(&word, way, self.environment)
    }

    fn is_ignored(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let ignored = self.values.one("ignoreunknown");
        ignored.is_some_and(|list| matches_list(list.as_bytes(), name.as_bytes(), Letters::Lower))
    }

    /// What the host is called as far as that is known.
    fn host_so_far(&self) -> Result<String, String> {
        match self.values.one("hostname") {
            Some(name) if self.is_final => Ok(name.to_owned()),
            Some(name) => {
                let tokens = Tokens::new([('h', self.host.clone())]);
                Expand { tokens: Some(&tokens), variables: None }.text(name)
            }
            None => Ok(self.host.clone()),
        }
    }

    /// The tokens of `Match exec` and Include.
    fn tokens(&self) -> Result<Tokens, String> {
        let host = self.host_so_far()?;
        let alias = self.values.one("hostkeyalias").unwrap_or(&host);
        let named = Named { host: &host, original: &self.original, alias };
        tokens(&self.values, self.environment, &self.local_user, named)
    }

    fn matched(&mut self, words: &[String], scope: Scope<'_>) -> Result<bool, String> {
        let values = &self.values;
        let session = match (values.one("sessiontype"), self.command.is_empty()) {
            (Some(kind @ ("subsystem" | "none")), _) => kind,
            (_, true) => "shell",
            (_, false) => "exec",
        };
        let host = self.host_so_far()?;
        let known = Known {
            host: &host,
            original: &self.original,
            user: values.one("user").unwrap_or(&self.local_user),
            local_user: &self.local_user,
            tag: values.one("tag").unwrap_or_default(),
            command: &self.command,
            session,
            is_final: self.is_final,
            may_run: self.may_run,
            environment: self.environment,
        };
        let expand = |text: &str| {
            let tokens = self.tokens()?;
            Expand { tokens: Some(&tokens), variables: None }.text(text)
        };
        // Where nothing is about the host no command is run either.
        let verdict = criteria::holds(words, &known, &expand, !scope.dead)?;
        self.wants_final |= verdict.wants_final;
        Ok(verdict.matched)
    }

    /// Reads the files that an Include names.
    fn include(
        &mut self,
        pattern: &str,
        scope: Scope<'_>,
        active: bool,
        wrong: &dyn Fn(String) -> ConfigError,
    ) -> Result<(), ConfigError> {
        if pattern.is_empty() {
            return Err(wrong("keyword include has an empty argument".to_owned()));
        }
        if scope.depth >= DEPTH {
            return Err(wrong(format!("files include each other more than {DEPTH} deep")));
        }
        let pattern = self.anchored(pattern, scope).map_err(wrong)?;
        let files = self
            .environment
            .matching(&pattern)
            .map_err(|error| wrong(format!("include {pattern}: {error}")))?;
        for path in files {
            self.files = self.files.saturating_add(1);
            if self.files > FILES {
                return Err(wrong(format!("more than {FILES} files are included")));
            }
            self.included(&path, scope, active)?;
        }
        Ok(())
    }

    fn included(&mut self, path: &Path, scope: Scope<'_>, active: bool) -> Result<(), ConfigError> {
        let text = match self.environment.read(path, true) {
            Ok(text) => text,
            // It was there a moment ago, or is a link to nothing.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(ConfigError::file(path, &error)),
        };
        let file = path.display().to_string();
        let depth = scope.depth.saturating_add(1);
        self.text(&text, Scope { file: &file, dead: !active, depth, ..scope })
    }

    /// The pattern of an Include from the root on.
    fn anchored(&self, pattern: &str, scope: Scope<'_>) -> Result<String, String> {
        let tokens = self.tokens()?;
        let expand = Expand { tokens: Some(&tokens), variables: Some(self.environment) };
        let pattern = expand.text(pattern)?;
        if Path::new(&pattern).has_root() {
            return Ok(pattern);
        }
        match (pattern.starts_with('~'), scope.users) {
            (true, false) => Err(format!("bad include path {pattern}: ~ is for users' files")),
            (true, true) => super::tokens::home(&pattern, self.environment),
            (false, true) => super::tokens::home(&format!("~/.ssh/{pattern}"), self.environment),
            (false, false) => Ok(format!("/etc/ssh/{pattern}")),
        }
    }
}

/// The names of a host.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named<'a> {
    pub(super) host: &'a str,
    pub(super) original: &'a str,
    /// Under which its keys are known.
    pub(super) alias: &'a str,
}

/// The tokens that most keywords have: %C %L %d %h %i %j %k %l %n %p %r %u.
pub(super) fn tokens(
    values: &Values,
    environment: &dyn Environment,
    local_user: &str,
    named: Named<'_>,
) -> Result<Tokens, String> {
    let machine = environment.host_name();
    let short = machine.split('.').next().unwrap_or_default().to_owned();
    let port = values.one("port").map_or_else(|| SSH_PORT.to_string(), str::to_owned);
    let user = values.one("user").unwrap_or(local_user).to_owned();
    let jump = values.some("proxyjump").map(jump::last_host).unwrap_or_default();
    let parts = [&machine, named.host, &port, &user, &jump].map(str::as_bytes);
    let digest = HashAlg::Sha1.digest(&parts).map_err(|error| format!("%C: {error}"))?;
    let hash = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Tokens::new([
        ('C', hash),
        ('L', short),
        ('d', environment.home().unwrap_or_default()),
        ('h', named.host.to_owned()),
        ('i', environment.uid().to_string()),
        ('j', jump),
        ('k', named.alias.to_owned()),
        ('l', machine),
        ('n', named.original.to_owned()),
        ('p', port),
        ('r', user),
        ('u', local_user.to_owned()),
    ]))
}
