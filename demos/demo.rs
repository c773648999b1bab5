//! The long form, step by step over a `Transport`, paramiko's `demo`: host key shown and checked,
//! keys of the agent, a key file, a password; then one command. `demo user@host[:port] [command]`.

mod support;

use std::io::Read;
use std::net::TcpStream;
use std::process::ExitCode;

use feramiko::{Agent, HostKeyStatus, HostKeys, PKey, Transport, TransportOptions};
use support::given::operands;
use support::home::expand;
use support::output::{complain, end, say, say_bytes};
use support::prompt::{Echo, ask};

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = operands()?.into_iter();
    let destination = args.next().ok_or("usage: demo user@host[:port] [command]")?;
    let (user, address) = destination.split_once('@').ok_or("name the user: user@host")?;
    let (host, port) = address.split_once(':').unwrap_or((address, "22"));
    let port: u16 = port.parse()?;
    let command = args.next().unwrap_or_else(|| "uname -a".to_owned());

    let known = HostKeys::load(expand("~/.ssh/known_hosts")).unwrap_or_default();
    let transport =
        Transport::start_client(TcpStream::connect((host, port))?, TransportOptions::default(), |key| {
            complain(format_args!("host key {} {}", key.key_type(), key.fingerprint()));
            match known.check(host, port, key) {
                HostKeyStatus::Known => complain("  it is the one in known_hosts"),
                HostKeyStatus::Unknown => complain("  nothing is known about this host"),
                status => {
                    return Err(feramiko::Error::HostKey {
                        host: host.to_owned(),
                        key: Box::new(key.clone()),
                        text: format!("{status:?}"),
                    });
                }
            }
            Ok(())
        })?;
    say(format_args!("agreed on {:?}", transport.negotiated().ok_or("nothing was agreed on")?))?;

    let held = Agent::from_env().and_then(|agent| agent.keys()).unwrap_or_default();
    let mut keys: Vec<_> = held.into_iter().map(PKey::from).collect();
    keys.extend(PKey::from_file(expand("~/.ssh/id_ed25519"), None).ok());
    for key in keys {
        if !transport.is_authenticated() {
            match transport.auth_publickey(user, &key) {
                Ok(remaining) => {
                    say(format_args!("{}: accepted; still needed: {remaining:?}", key.comment()))?
                }
                Err(error) => say(error)?,
            }
        }
    }
    if !transport.is_authenticated() {
        let password = ask(&format!("Password for {user}: "), Echo::Off)?.ok_or("no password")?;
        transport.auth_password(user, password)?;
    }
    let channel = transport.open_session()?;
    channel.exec_command(command)?;
    let mut output = Vec::new();
    (&channel).read_to_end(&mut output)?;
    say_bytes(&output)?;
    say(channel.wait_exit(None)?)?;
    transport.close();
    Ok(())
}

fn main() -> ExitCode {
    end("demo", run())
}
