//! Through other hosts.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use feramiko::{Error, HostKeys, RejectPolicy, SSHClient, SSHClientBuilder};

use super::{echo, given, knowing, of_user, openssh, own_key};
use crate::peers::{Keys, command, user};

/// What one jump host shows, and nobody else.
fn known(port: u16) -> HostKeys {
    let host = Keys::named("host").unwrap();
    let mut keys = HostKeys::new();
    let key = feramiko::PKey::from_file(host.private("ed25519"), None).unwrap();
    keys.add("127.0.0.1", port, key.public_key()).unwrap();
    keys
}

fn strict(port: u16, own: &Keys) -> SSHClientBuilder {
    SSHClient::builder()
        .no_agent()
        .no_default_keys()
        .host_keys(known(port))
        .missing_host_key(RejectPolicy)
        .username(&user())
        .key(own_key(own))
}

/// Three servers of OpenSSH, each with settings of its own, to a server of ours.
#[test]
fn three_hops_each_with_its_own_settings() {
    let _watch = given::within(180);
    let Some((one, _)) = openssh("") else { return };
    let (Some((two, _)), Some((three, _))) = (openssh(""), openssh("")) else { return };
    let (_server, address) = echo();
    let ports = [one.port(), two.port(), three.port()];
    let path = ports.map(|port| format!("127.0.0.1:{port}")).join(",");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (noted, keys) = (Arc::clone(&seen), Keys::named("user").unwrap());
    let settings = move |jump: &feramiko::JumpHost| {
        noted.lock().unwrap().push((jump.position, jump.port));
        strict(jump.port, &keys)
    };
    let client = knowing().proxy_jump(&path).jump_with(settings).connect(&address).unwrap();
    assert_eq!(*seen.lock().unwrap(), [(0, ports[0]), (1, ports[1]), (2, ports[2])]);
    let channel = client.open_session().unwrap();
    channel.exec_command("cat").unwrap();
    let data = vec![5; 5_000_000];
    assert!(given::echoed(&channel, &data).unwrap() == data);
    // Each has let somebody in, once.
    for server in [&one, &two, &three] {
        assert_eq!(server.log().matches("Accepted publickey").count(), 1, "{}", server.log());
    }

    // Its own check of its own key: what another one's user knows does not count.
    let keys = Keys::named("user").unwrap();
    let wrong = ports[0];
    let result = knowing()
        .jump_with(move |jump| strict(if jump.position == 1 { wrong } else { jump.port }, &keys))
        .proxy_jump(&path)
        .connect(&address);
    let Err(Error::Jump { host, source }) = result else { panic!("{result:?}") };
    assert_eq!(host, format!("127.0.0.1:{}", ports[1]));
    assert!(matches!(*source, Error::HostKey { .. }), "{source}");
}

#[test]
fn a_host_that_dies_is_named() {
    let _watch = given::within(180);
    let Some((one, own)) = openssh("") else { return };
    let Some((two, _)) = openssh("") else { return };
    let (_server, address) = echo();
    let path = format!("127.0.0.1:{},127.0.0.1:{}", one.port(), two.port());
    let settings = move |_: &feramiko::JumpHost| of_user(&own);
    let client = knowing().proxy_jump(&path).jump_with(settings).connect(&address).unwrap();
    let channel = client.open_session().unwrap();
    channel.exec_command("cat").unwrap();
    if !kill_session_of(one.port()) {
        return;
    }
    let error = channel.wait_exit(Some(Duration::from_secs(60))).unwrap_err().to_string();
    assert!(error.contains(&format!("jump host 127.0.0.1:{}", one.port())), "{error}");
}

/// Kills the process of sshd that serves the connection to that port, whose only one it is; false where
/// nobody can say which it is.
pub(super) fn kill_session_of(port: u16) -> bool {
    let Some(mut ss) = command("ss") else { return false };
    let listed = ss.args(["-Htnp", &format!("sport = :{port}")]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let (_, after) = listed.split_once("pid=").unwrap_or_else(|| panic!("nobody at {port}: {listed}"));
    let pid = after.split(|c: char| !c.is_ascii_digit()).next().unwrap();
    assert!(std::process::Command::new("kill").args(["-9", pid]).status().unwrap().success());
    true
}

#[test]
fn what_goes_wrong_is_told_with_the_host_it_went_wrong_at() {
    let _watch = given::within(120);
    let Some((one, own)) = openssh("") else { return };
    let Some((closed, _)) = openssh("AllowTcpForwarding no") else { return };
    let own = Arc::new(own);
    let through = |path: String, destination: &str| {
        let own = Arc::clone(&own);
        knowing().proxy_jump(&path).jump_with(move |_| of_user(&own)).connect(destination)
    };
    let open = format!("127.0.0.1:{}", one.port());
    // Nobody listens there.
    let refused = through(open.clone(), "127.0.0.1:1").unwrap_err();
    let Error::Jump { host, source } = &refused else { panic!("{refused:?}") };
    assert_eq!(*host, open);
    assert!(matches!(**source, Error::ChannelRefused { code: 2, .. }), "{refused}");
    // It forwards nothing.
    let refused = through(format!("127.0.0.1:{}", closed.port()), &open).unwrap_err();
    let Error::Jump { source, .. } = &refused else { panic!("{refused:?}") };
    assert!(matches!(**source, Error::ChannelRefused { code: 1, .. }), "{refused}");
    // The second one is not there.
    let refused = through(format!("{open},127.0.0.1:1"), &open).unwrap_err().to_string();
    assert!(refused.starts_with(&format!("jump host {open}: ")), "{refused}");
    // Nobody is let in.
    let path = open.clone();
    let refused = knowing().proxy_jump(&path).jump_with(|_| given::client().username("x")).connect(&open);
    let Err(Error::Jump { source, .. }) = &refused else { panic!("{refused:?}") };
    assert!(matches!(**source, Error::Auth { .. }), "{source}");
}

/// Settings that lead back to themselves: each host is reached through another one for ever.
#[test]
fn a_circle_of_hosts_ends() {
    let _watch = given::within(120);
    fn around(jump: &feramiko::JumpHost) -> SSHClientBuilder {
        given::client().proxy_jump(&format!("{}:{}", jump.host, jump.port)).jump_with(around)
    }
    let result = knowing().proxy_jump("127.0.0.1:1").jump_with(around).connect("host");
    let mut error = &result.unwrap_err();
    while let Error::Jump { source, .. } = error {
        error = source;
    }
    assert!(matches!(error, Error::Limit { which: "jump hosts", limit: 16 }), "{error}");
    let nowhere = knowing().jump_with(around).connect("host");
    assert!(matches!(nowhere, Err(Error::Misuse(_))), "{nowhere:?}");
    let long = knowing().proxy_jump(&["127.0.0.1:1"; 17].join(",")).connect("host");
    assert!(matches!(long, Err(Error::Limit { .. })), "{long:?}");
}

/// The deadline is that of the whole way.
#[test]
fn a_way_has_one_deadline() {
    let _watch = given::within(120);
    let Some((one, own)) = openssh("") else { return };
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let path = format!("127.0.0.1:{},{}", one.port(), silent.local_addr().unwrap());
    let started = Instant::now();
    let result = knowing()
        .deadline(Duration::from_secs(2))
        .proxy_jump(&path)
        .jump_with(move |_| of_user(&own).deadline(Duration::from_secs(3600)))
        .connect("host");
    let Err(Error::Jump { source, .. }) = &result else { panic!("{result:?}") };
    assert!(matches!(**source, Error::Timeout(_)), "{source}");
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_connection_that_stands_carries_others() {
    let _watch = given::within(120);
    let Some((one, own)) = openssh("") else { return };
    let (_server, address) = echo();
    let gate = of_user(&own).connect(&format!("127.0.0.1:{}", one.port())).unwrap();
    let first = knowing().jump(gate.clone()).connect(&address).unwrap();
    let second = knowing().jump(gate.clone()).connect(&address).unwrap();
    drop(first);
    // The gate's user goes; the connection through it stays.
    assert_eq!(gate.output("echo here").unwrap().stdout, b"here\n");
    drop(gate);
    let channel = second.open_session().unwrap();
    channel.exec_command("cat").unwrap();
    assert_eq!(given::echoed(&channel, b"still").unwrap(), b"still");
}
