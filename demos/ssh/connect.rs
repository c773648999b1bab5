//! The connection: who is asked what, for the host and for those that lead to it.

use feramiko::{
    ConfigError, HostConfig, HostKeysChange, JumpHost, PKey, PublicKey, SSHClient, SSHClientBuilder,
    SSHConfig,
};

use crate::Outcome;
use crate::options::Options;
use crate::support::output::complain;
use crate::support::output::show_banner;
use crate::support::prompt::{Echo, ask};
use crate::support::questions::{AskPolicy, questions};

/// The keys of this host, which its users can seldom read: ssh has ssh-keysign sign with them.
const HOST_KEYS: [&str; 3] =
    ["/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_ecdsa_key", "/etc/ssh/ssh_host_rsa_key"];

/// This host vouches for its user, with each key that can be read.
fn hostbased(mut builder: SSHClientBuilder) -> Outcome<SSHClientBuilder> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let user = std::env::var("LOGNAME").or_else(|_| std::env::var("USER"))?;
    let mut failed = String::new();
    let mut count = 0;
    for path in HOST_KEYS {
        let mut key = match PKey::from_file(path, None) {
            Ok(key) => key,
            Err(error) => {
                failed = error.to_string();
                continue;
            }
        };
        if let Ok((certificate, _)) = PublicKey::from_file(format!("{path}-cert.pub")) {
            key = key.with_certificate(&certificate)?;
        }
        builder = builder.hostbased(key, &host, &user);
        count += 1;
    }
    if count == 0 {
        return Err(format!("HostbasedAuthentication: no key of this host can be read: {failed}").into());
    }
    Ok(builder)
}

/// Asks whether known_hosts may be changed.
fn may_update(change: &HostKeysChange) -> bool {
    for (what, keys) in [("Learned new", &change.new), ("Deprecating obsolete", &change.old)] {
        for key in keys {
            complain(format_args!("{what} hostkey: {} {}", key.key_type(), key.fingerprint()));
        }
    }
    let answer = ask("Accept updated hostkeys? (yes/no): ", Echo::On).ok().flatten();
    answer.is_some_and(|answer| answer.matches("yes"))
}

/// Shows the user what servers have to say, and has them asked what the configuration leaves to be asked. `here` is whether somebody is at the terminal.
fn asking(mut builder: SSHClientBuilder, config: &HostConfig, here: bool) -> SSHClientBuilder {
    builder = builder.banner_callback(show_banner);
    let batch = config.is("BatchMode");
    if config.get("StrictHostKeyChecking").as_deref() == Some("ask") && here && !batch {
        builder = builder.missing_host_key(AskPolicy);
    }
    if config.get("UpdateHostKeys").as_deref() == Some("ask") {
        builder = builder.update_host_keys_callback(may_update);
    }
    if !batch && (here || std::env::var_os("SSH_ASKPASS_REQUIRE").is_some()) {
        builder = questions(builder, config.original_host());
    }
    builder
}

/// What the files say of a host on the way.
fn jump(files: &SSHConfig, jump: &JumpHost) -> Result<HostConfig, ConfigError> {
    let mut query = files.query(&jump.host);
    if let Some(user) = &jump.user {
        query = query.user(user);
    }
    jump.port.iter().fold(query, |query, port| query.port(*port)).lookup()
}

/// Connects; `here` is whether somebody is at the terminal.
pub(crate) fn connect(config: &HostConfig, options: &Options, here: bool) -> Outcome<SSHClient> {
    let files = options.odd_identities.iter();
    let mut builder = files.fold(SSHClient::builder(), |builder, path| builder.key_file(path, None));
    if config.is("HostbasedAuthentication") {
        builder = hostbased(builder)?;
    }
    if config.proxy_jump().is_some() {
        // Hosts on the way have the same files, and nothing of what the command line says of this one.
        let (files, here) = (config.config().clone(), here && !config.is("BatchMode"));
        builder = builder.jump_with(move |host| {
            let builder = SSHClient::builder().ssh_config(files.clone());
            match jump(&files, host) {
                Ok(config) => asking(builder, &config, here),
                // Connecting finds the same, and says so.
                Err(_) => builder,
            }
        });
    }
    Ok(asking(builder, config, here).connect_to(config)?)
}
