//! What a user is asked while a connection is made, in ssh's words.

use feramiko::{HostKeyAnswer, MissingHostKeyPolicy, SSHClientBuilder, Secret, UnknownHostKey};

use super::prompt::{Echo, ask};

/// Asks the user about unknown hosts, as ssh does.
#[derive(Debug)]
pub(crate) struct AskPolicy;

impl MissingHostKeyPolicy for AskPolicy {
    fn missing_host_key(&self, unknown: &UnknownHostKey) -> HostKeyAnswer {
        let text = format!(
            "The authenticity of host '{}' can't be established.\n{} key fingerprint is {}.\nAre you sure you want \
             to continue connecting (yes/no)? ",
            unknown.host,
            unknown.key.key_type(),
            unknown.key.fingerprint()
        );
        match ask(&text, Echo::On) {
            Ok(Some(answer)) if answer.matches("yes") => HostKeyAnswer::AcceptAndSave,
            _ => HostKeyAnswer::Reject,
        }
    }
}

/// Asks without showing the answer.
pub(crate) fn hidden(question: &str) -> Option<Secret> {
    ask(question, Echo::Off).ok().flatten()
}

/// Asks for whatever the keys, or `host`, want to know.
pub(crate) fn questions(builder: SSHClientBuilder, host: &str) -> SSHClientBuilder {
    let shown = host.to_owned();
    builder
        .passphrase_callback(|path| hidden(&format!("Enter passphrase for key '{}': ", path.display())))
        .password_callback(move |user| hidden(&format!("{user}@{shown}'s password: ")))
        .interactive(|query| {
            let echo = |echo: bool| if echo { Echo::On } else { Echo::Off };
            let answer = |prompt: &feramiko::Prompt| ask(&prompt.text, echo(prompt.echo)).ok().flatten();
            let answers: Option<Vec<Secret>> = query.prompts.iter().map(answer).collect();
            answers.ok_or(feramiko::Error::Cancelled)
        })
}
