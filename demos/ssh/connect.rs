//! The connection: what the program brings to it besides its configuration.

use feramiko::{HostConfig, PKey, PublicKey, SSHClient, SSHClientBuilder};

use crate::Outcome;
use crate::options::Options;
use crate::support::output::complain;
use crate::support::questions::{Shown, asking};

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

/// Connects; `here` is whether somebody can be asked.
pub(crate) fn connect(config: &HostConfig, options: &Options, here: bool) -> Outcome<SSHClient> {
    let files = options.odd_identities.iter();
    let mut builder = files.fold(SSHClient::builder(), |builder, path| builder.key_file(path, None));
    if config.is("HostbasedAuthentication") {
        builder = hostbased(builder)?;
    }
    let client = asking(builder, config, here).connect_to(config)?;
    let shown = Shown::as_said(config);
    if let Some(key) = client.transport().host_key()
        && let Some(picture) = shown.picture(key)
    {
        complain(format_args!("Host key fingerprint is {}\n{picture}", shown.fingerprint(key)));
    }
    Ok(client)
}
