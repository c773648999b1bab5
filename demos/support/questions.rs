//! What a user is asked while a connection is made, in ssh's words: for the host, and for those on the way.

use std::time::Duration;

use feramiko::{
    ConfigError, FingerprintHash, HostConfig, HostKeyAnswer, HostKeysChange, JumpHost, MissingHostKeyPolicy,
    PublicKey, SSHClient, SSHClientBuilder, SSHConfig, Secret, UnknownHostKey,
};

use super::output::{complain, show_banner};
use super::prompt::{Echo, ask};

/// Connecting has this time where ConnectTimeout does not say: sshd may need much of it to look names up.
const CONNECT: Duration = Duration::from_secs(120);

/// How often somebody is asked who says neither yes nor no.
const TRIES: usize = 16;

/// Asks the user about unknown hosts, as ssh does.
#[derive(Debug)]
struct AskPolicy(Shown);

impl MissingHostKeyPolicy for AskPolicy {
    fn missing_host_key(&self, unknown: &UnknownHostKey) -> HostKeyAnswer {
        let fingerprint = self.0.fingerprint(&unknown.key);
        let picture = self.0.picture(&unknown.key).map(|picture| picture + "\n").unwrap_or_default();
        let mut text = format!(
            "The authenticity of host '{}' can't be established.\n{} key fingerprint is {fingerprint}.\n{picture}\
             Are you sure you want to continue connecting (yes/no/[fingerprint])? ",
            unknown.host,
            unknown.key.key_type(),
        );
        for _ in 0..TRIES {
            let Ok(Some(answer)) = ask(&text, Echo::On) else { break };
            let answer = String::from_utf8_lossy(answer.expose()).trim().to_owned();
            if answer.eq_ignore_ascii_case("yes") || answer == fingerprint {
                return HostKeyAnswer::AcceptAndSave;
            }
            if answer.is_empty() || answer.eq_ignore_ascii_case("no") {
                break;
            }
            text = "Please type 'yes', 'no' or the fingerprint: ".to_owned();
        }
        HostKeyAnswer::Reject
    }
}

/// How keys of hosts are shown: FingerprintHash and VisualHostKey.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    hash: FingerprintHash,
    picture: bool,
}

impl Shown {
    pub(crate) fn as_said(config: &HostConfig) -> Self {
        let md5 = config.get("FingerprintHash").is_some_and(|hash| hash.eq_ignore_ascii_case("md5"));
        let hash = if md5 { FingerprintHash::Md5 } else { FingerprintHash::Sha256 };
        Self { hash, picture: config.is("VisualHostKey") }
    }

    pub(crate) fn fingerprint(self, key: &PublicKey) -> String {
        key.fingerprint_by(self.hash)
    }

    /// Without a line break at its end; none unless it is wanted.
    pub(crate) fn picture(self, key: &PublicKey) -> Option<String> {
        self.picture.then(|| key.randomart(self.hash).trim_end().to_owned())
    }
}

/// Asks without showing the answer.
pub(crate) fn hidden(question: &str) -> Option<Secret> {
    ask(question, Echo::Off).ok().flatten()
}

/// Asks for whatever the keys, or `host`, want to know.
fn questions(builder: SSHClientBuilder, host: &str) -> SSHClientBuilder {
    let shown = host.to_owned();
    builder
        .passphrase_callback(|path| hidden(&format!("Enter passphrase for key '{}': ", path.display())))
        .add_keys_to_agent_callback(|path, key| {
            yes(&format!("Add key {} ({}) to agent? (yes/no): ", path.display(), key.comment()))
        })
        .password_callback(move |user| hidden(&format!("{user}@{shown}'s password: ")))
        .interactive(|query| {
            let echo = |echo: bool| if echo { Echo::On } else { Echo::Off };
            let answer = |prompt: &feramiko::Prompt| ask(&prompt.text, echo(prompt.echo)).ok().flatten();
            let answers: Option<Vec<Secret>> = query.prompts.iter().map(answer).collect();
            answers.ok_or(feramiko::Error::Cancelled)
        })
}

/// Asks whether known_hosts may be changed.
fn may_update(change: &HostKeysChange) -> bool {
    for (what, keys) in [("Learned new", &change.new), ("Deprecating obsolete", &change.old)] {
        for key in keys {
            complain(format_args!("{what} hostkey: {} {}", key.key_type(), key.fingerprint()));
        }
    }
    yes("Accept updated hostkeys? (yes/no): ")
}

fn yes(question: &str) -> bool {
    ask(question, Echo::On).ok().flatten().is_some_and(|answer| answer.matches("yes"))
}

/// Has the user asked what the configuration leaves to be asked, for the host and for those that lead to it. `here`
/// is whether somebody can be asked.
pub(crate) fn asking(mut builder: SSHClientBuilder, config: &HostConfig, here: bool) -> SSHClientBuilder {
    if config.proxy_jump().is_some() {
        // Hosts on the way have the same files, and nothing of what the command line says of this one.
        let (files, here) = (config.config().clone(), here && !config.is("BatchMode"));
        builder = builder.jump_with(move |host| {
            let builder = SSHClient::builder().ssh_config(files.clone());
            match on_the_way(&files, host) {
                Ok(config) => asking_for(builder, &config, here),
                // Connecting finds the same, and says so.
                Err(_) => builder,
            }
        });
    }
    asking_for(builder, config, here)
}

/// What the files say of a host on the way.
fn on_the_way(files: &SSHConfig, jump: &JumpHost) -> Result<HostConfig, ConfigError> {
    let mut query = files.query(&jump.host);
    if let Some(user) = &jump.user {
        query = query.user(user);
    }
    jump.port.iter().fold(query, |query, port| query.port(*port)).lookup()
}

/// The same for one host.
fn asking_for(mut builder: SSHClientBuilder, config: &HostConfig, here: bool) -> SSHClientBuilder {
    builder = builder.banner_callback(show_banner);
    if config.time("ConnectTimeout").is_none() {
        builder = builder.connect_timeout(CONNECT);
    }
    let batch = config.is("BatchMode");
    if config.get("StrictHostKeyChecking").as_deref() == Some("ask") && here && !batch {
        builder = builder.missing_host_key(AskPolicy(Shown::as_said(config)));
    }
    if config.get("UpdateHostKeys").as_deref() == Some("ask") && !batch {
        builder = builder.update_host_keys_callback(may_update);
    }
    if here && !batch {
        builder = questions(builder, config.original_host());
    }
    builder
}
