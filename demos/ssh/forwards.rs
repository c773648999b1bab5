//! Forwardings, as the configuration says: LocalForward, DynamicForward and RemoteForward.

use feramiko::{Endpoint, Forward, ForwardRule, HostConfig, Result, SSHClient};

/// Starts all of them; they end with what is returned. A failure ends the connection where
/// ExitOnForwardFailure says so.
pub(crate) fn start(client: &SSHClient, config: &HostConfig) -> Result<Vec<Forward>> {
    let mut started = Vec::new();
    let rules = config.local_forwards().into_iter().chain(config.dynamic_forwards());
    let here = rules.map(|rule| (local(client, config, &rule), rule));
    let there = config.remote_forwards().into_iter().map(|rule| (remote(client, &rule), rule));
    for (forward, rule) in here.chain(there) {
        match forward {
            Ok(forward) => started.push(forward),
            Err(error) if config.is("ExitOnForwardFailure") => return Err(error),
            Err(error) => log::warn!(target: "ssh", "{} is not forwarded: {error}", rule.listen),
        }
    }
    Ok(started)
}

fn local(client: &SSHClient, config: &HostConfig, rule: &ForwardRule) -> Result<Forward> {
    let listen = match &rule.listen {
        Endpoint::Tcp { port, .. } if !rule.bind_given && config.is("GatewayPorts") => {
            Endpoint::tcp("", *port)
        }
        listen => listen.clone(),
    };
    match &rule.to {
        Some(to) => client.forward_local(listen, to.clone()),
        None => client.forward_socks(listen),
    }
}

fn remote(client: &SSHClient, rule: &ForwardRule) -> Result<Forward> {
    let wanted = rule.to.clone();
    let to = wanted.ok_or_else(|| feramiko::Error::Unsupported("RemoteForward without an end".to_owned()))?;
    let forward = client.forward_remote(rule.listen.clone(), to)?;
    if matches!(rule.listen, Endpoint::Tcp { port: 0, .. }) {
        log::warn!(target: "ssh", "Allocated {} for remote forward", forward.endpoint());
    }
    Ok(forward)
}
