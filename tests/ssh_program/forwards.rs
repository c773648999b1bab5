//! `-L`, `-R`, `-D`, `-W`, `-J`, and their keywords.

use super::*;

/// `-N` with forwardings, running.
fn forwarding(host: &Host, arguments: &[&str]) -> Running {
    Running::start(host.ssh(&["-N"]).args(arguments).arg("host").stdin(Stdio::null()).stderr(Stdio::piped()))
}

#[test]
fn ports_and_sockets_are_forwarded() {
    let _watch = given::within(120);
    Host::both().iter().for_each(forwards_all);
}

fn forwards_all(host: &Host) {
    let (echo, local, remote, socks) = (echoing(), free_port(), free_port(), free_port());
    let (here, there) = (host.folder.file("here"), host.folder.file("there"));
    let running = forwarding(
        host,
        &[
            "-L",
            &format!("{local}:127.0.0.1:{echo}"),
            "-R",
            &format!("{remote}:127.0.0.1:{echo}"),
            "-L",
            &format!("{}:127.0.0.1:{echo}", here.display()),
            "-R",
            &format!("{}:127.0.0.1:{echo}", there.display()),
            "-D",
            &socks.to_string(),
        ],
    );
    assert!(echoes(connected(local)) && echoes(connected(remote)));
    for path in [&here, &there] {
        soon("the socket is there", || path.exists());
        assert!(echoes(std::os::unix::net::UnixStream::connect(path).unwrap()));
    }
    if let Some(mut curl) = peers::command("curl") {
        // What answers is the server's version line, which curl takes for HTTP/0.9.
        curl.args(["-s", "--http0.9", "-m", "2", "--socks5-hostname", &format!("127.0.0.1:{socks}")]);
        let page = peers::output(curl.arg(format!("http://localhost:{}/", host.server.port())), "");
        assert!(page.stdout.starts_with(b"SSH-2.0-"), "{}", said(&page));
    }
    // The end of the connection is seen at once, and nothing listens any more.
    drop(running);
    soon("nothing listens", || TcpStream::connect(("127.0.0.1", local)).is_err());
}

#[test]
fn a_port_that_the_server_chooses_is_told() {
    let _watch = given::within(120);
    let Some(host) = Host::start("") else { return };
    let echo = echoing();
    let output = host.runs(&["-R", &format!("0:127.0.0.1:{echo}"), "host", "true"], "");
    let text = said(&output);
    let port =
        text.strip_prefix("Allocated port ").and_then(|rest| rest.split_once(' ')).map(|(port, _)| port);
    assert!(port.is_some_and(|port| port.parse::<u16>().is_ok()), "{text}");
    assert!(text.contains(&format!(" for remote forward to 127.0.0.1:{echo}")), "{text}");
}

#[test]
fn clients_of_the_server_speak_socks_as_far_as_they_may() {
    let _watch = given::within(120);
    let Some(host) = Host::start("") else { return };
    let (echo, open, closed) = (echoing(), free_port(), free_port());
    let permit = format!("PermitRemoteOpen=127.0.0.1:{echo}");
    let _open = forwarding(&host, &["-R", &open.to_string(), "-o", &permit]);
    let _closed = forwarding(&host, &["-R", &closed.to_string(), "-o", "PermitRemoteOpen=none"]);
    for (port, granted) in [(open, true), (closed, false)] {
        let mut stream = connected(port);
        let [high, low] = echo.to_be_bytes();
        // SOCKS 4: connect to 127.0.0.1.
        stream.write_all(&[4, 1, high, low, 127, 0, 0, 1, 0]).unwrap();
        let mut reply = [0; 8];
        let answered = stream.read_exact(&mut reply).is_ok() && reply[1] == 90;
        assert_eq!(answered, granted, "{reply:?}");
        assert!(!granted || echoes(stream));
    }
}

#[test]
fn a_forwarding_that_fails() {
    let _watch = given::within(120);
    let Some(host) = Host::start("") else { return };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let forward = format!("127.0.0.1:{}:127.0.0.1:1", taken.local_addr().unwrap().port());
    for (letter, text) in
        [("-L", "Could not request local forwarding."), ("-R", "remote port forwarding failed")]
    {
        let output = host.runs(&[letter, &forward, "host", "exit 3"], "");
        assert!(output.status.code() == Some(3) && said(&output).contains(text), "{}", said(&output));
        let must = ["-oExitOnForwardFailure=yes", letter, &forward, "host", "exit 3"];
        let output = host.runs(&must, "");
        assert!(output.status.code() == Some(255) && said(&output).contains(text), "{}", said(&output));
        let cleared =
            ["-oExitOnForwardFailure=yes", "-oClearAllForwardings=yes", letter, &forward, "host", "exit 3"];
        assert_eq!(host.runs(&cleared, "").status.code(), Some(3));
    }
}

#[test]
fn a_connection_outlives_its_session() {
    let _watch = given::within(120);
    let Some(host) = Host::start("") else { return };
    let (echo, port) = (echoing(), free_port());
    let forward = format!("{port}:127.0.0.1:{echo}");
    let mut running = Running::start(host.ssh(&["-L", &forward, "host", "read x"]).stdin(Stdio::piped()));
    let mut stream = connected(port);
    assert!(echoes(&mut stream));
    running.0.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert_eq!(running.end(Instant::now() + Duration::from_millis(500)), None);
    assert!(echoes(&mut stream));
    drop(stream);
    assert_eq!(running.ended().code(), Some(0));
}

#[test]
fn standard_streams_lead_on() {
    let _watch = given::within(120);
    let Some(host) = Host::start("") else { return };
    let echo = echoing();
    let text = "x".repeat(300_000);
    let output = host.runs(&["-W", &format!("127.0.0.1:{echo}"), "host"], &text);
    assert_eq!(answer(&output), (Some(0), text), "{}", said(&output));
    let output = host.runs(&["-W", &format!("127.0.0.1:{}", free_port()), "host"], "");
    assert!(output.status.code() == Some(255) && said(&output).contains("stdio forwarding failed"));
    // As a proxy command of its own.
    let inner = format!("{} -F {} -W %h:%p hop", example("ssh").display(), host.config());
    let output = host.runs(&["-o", &format!("ProxyCommand={inner}"), "host", "echo through"], "");
    assert_eq!(answer(&output), (Some(0), "through\n".to_owned()), "{}", said(&output));
}

#[test]
fn three_hosts_lead_to_a_fourth() {
    let _watch = given::within(120);
    let Some(host) = Host::start("") else { return };
    let output = host.runs(&["-J", "hop1,hop2,hop3", "host", "cat; exit 4"], "far");
    assert_eq!(answer(&output), (Some(4), "far".to_owned()), "{}", said(&output));
    let wrong = host.runs(&["-J", "hop1,hop2", "-oConnectTimeout=10", "-p", "1", "host", "true"], "");
    assert_eq!(wrong.status.code(), Some(255));
    assert!(said(&wrong).contains("ssh: "), "{}", said(&wrong));
}

/// Every other host on the way is ours; so is the client, or OpenSSH's.
#[test]
fn hosts_on_the_way_may_be_of_either_kind() {
    let _watch = given::within(120);
    let hosts = Host::both();
    let [ours, theirs] = &hosts[..] else { return };
    for (outer, inner) in [(ours, theirs), (theirs, ours)] {
        let (first, second) = (outer.server.port(), inner.server.port());
        let jumps = format!("127.0.0.1:{first},127.0.0.1:{second},127.0.0.1:{first}");
        let port = second.to_string();
        for client in [example("ssh"), program("ssh").unwrap()] {
            let mut ssh = Command::new(client);
            // OpenSSH's client reads the keys of the hosts on the way from its configuration.
            ssh.args(["-F", &outer.for_any_host(), "-J", &jumps, "-p", &port, "127.0.0.1", "cat; exit 4"]);
            let output = peers::output(ssh.env_remove("SSH_AUTH_SOCK"), "far");
            assert_eq!(answer(&output), (Some(4), "far".to_owned()), "{ssh:?}: {}", said(&output));
        }
    }
}

#[test]
fn who_may_connect_and_what_is_in_the_way() {
    let _watch = given::within(120);
    let Some(host) = Host::start("") else { return };
    let (echo, own, all) = (echoing(), free_port(), free_port());
    let to = format!("127.0.0.1:{echo}");
    let path = host.folder.file("socket");
    // A socket that nobody listens on any more.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let here = format!("{}:{to}", path.display());
    let _own = forwarding(&host, &["-L", &format!("{own}:{to}"), "-oStreamLocalBindUnlink=yes", "-L", &here]);
    let _all = forwarding(&host, &["-g", "-L", &format!("{all}:{to}")]);
    assert!(echoes(connected(own)) && echoes(connected(all)));
    assert!(TcpStream::connect(("127.0.0.2", own)).is_err());
    assert!(TcpStream::connect(("127.0.0.2", all)).is_ok_and(echoes));
    soon("the socket is ours", || std::os::unix::net::UnixStream::connect(&path).is_ok_and(echoes));
    let output = host.runs(&["-oExitOnForwardFailure=yes", "-L", &here, "host", "true"], "");
    assert_eq!(output.status.code(), Some(255), "{}", said(&output));
}
