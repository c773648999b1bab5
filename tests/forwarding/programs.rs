//! Other programs that forward through our server, and that our forwardings serve.

use std::path::Path;
use std::process::{Command, Stdio};

use super::ends::{connect, data, reaches, tcp_service, unix, unix_service};
use super::peers::{
    Folder, Keys, Running, command, example, free_port, our_sshd, output, python, require, user,
};
use super::{client, gate, given, local};
use feramiko::{Endpoint, ForwardRules, Permissions};

/// OpenSSH's client, that looks at nothing of the user's.
fn ssh(own: &Keys, port: u16) -> Option<Command> {
    let mut ssh = command("ssh")?;
    ssh.args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-i"]);
    ssh.arg(own.private("ed25519")).args(["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]);
    ssh.args(["-o", "ExitOnForwardFailure=yes", "-p", &port.to_string(), "-l", &user()]).arg("127.0.0.1");
    ssh.env_remove("SSH_AUTH_SOCK").stdin(Stdio::null()).stdout(Stdio::null());
    Some(ssh)
}

fn port_of(endpoint: &Endpoint) -> u16 {
    match endpoint {
        Endpoint::Tcp { port, .. } => *port,
        Endpoint::Unix(_) => panic!("{endpoint} has no port"),
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn openssh_forwards_every_way_through_our_program() {
    let _watch = given::within(120);
    let Some((host, own)) = Keys::named("host").zip(Keys::named("user")) else { return };
    let server = our_sshd(&host, &own);
    let Some(mut ssh) = ssh(&own, server.port()) else { return };
    let folder = Folder::new();
    let (tcp, socket) = (tcp_service("tcp"), unix_service("unix", folder.file("service")));
    let (to_tcp, to_unix) = (format!("127.0.0.1:{}", port_of(&tcp)), shown(&folder.file("service")));
    let mut places = Vec::new();
    ssh.arg("-N");
    for flag in ["-L", "-R"] {
        for (to, name) in [(&to_tcp, "tcp"), (&to_unix, "unix")] {
            let port = free_port();
            ssh.arg(flag).arg(format!("127.0.0.1:{port}:{to}"));
            places.push((local(port), name));
            let path = folder.file(&format!("{flag}{name}"));
            ssh.arg(flag).arg(format!("{}:{to}", shown(&path)));
            places.push((unix(path), name));
        }
    }
    let running = Running::start(&mut ssh);
    for (at, name) in &places {
        reaches(at, name);
    }
    drop((running, socket));
    // What the server listened on is gone with the connection.
    for (at, _) in places.iter().filter(|(at, _)| matches!(at, Endpoint::Tcp { .. })) {
        super::soon("nobody listens any more", || connect(at).is_err());
    }
    super::soon("the files are gone", || !folder.file("-Rtcp").exists() && !folder.file("-Runix").exists());
}

#[test]
fn openssh_connects_its_standard_streams() {
    let _watch = given::within(60);
    let Some((host, own)) = Keys::named("host").zip(Keys::named("user")) else { return };
    let server = our_sshd(&host, &own);
    let Some(mut ssh) = ssh(&own, server.port()) else { return };
    let service = tcp_service("tcp");
    let sent = data(1 << 20);
    ssh.arg("-W").arg(service.to_string());
    let said = output(&mut ssh, sent.clone());
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert!(said.stdout.starts_with(b"tcp") && said.stdout[3..] == sent[..], "{} bytes", said.stdout.len());
}

/// `curl` asks a service that answers as a web server would.
fn fetch(arguments: &[&str], port: u16) -> Option<String> {
    let mut curl = command("curl")?;
    curl.args(["-sS", "--max-time", "30"]).args(arguments).arg(format!("http://localhost:{port}/"));
    let said = output(&mut curl, "");
    assert!(said.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said.stderr));
    Some(String::from_utf8_lossy(&said.stdout).into_owned())
}

/// A web server with one page.
fn web() -> u16 {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        }
    });
    port
}

const SOCKS: [&str; 4] = ["--socks4", "--socks4a", "--socks5", "--socks5-hostname"];

#[test]
fn curl_goes_through_our_socks_here_and_there() {
    let _watch = given::within(60);
    let server = gate(ForwardRules::all(), Permissions::default());
    let client = client(&server);
    let here = client.forward_socks(local(0)).unwrap();
    let web = web();
    let there = client
        .forward_remote_socks(local(0), move |to| matches!(to, Endpoint::Tcp { port, .. } if *port == web))
        .unwrap();
    for proxy in [&here, &there] {
        for way in SOCKS {
            let Some(page) = fetch(&[way, &proxy.endpoint().to_string()], web) else { return };
            assert_eq!(page, "hello", "{way}");
        }
    }
    // Where it may not go, nor can go.
    let Some(mut curl) = command("curl") else { return };
    let to = format!("http://127.0.0.1:{}/", port_of(&tcp_service("tcp")));
    let said = output(curl.args(["-sS", "--socks5", &there.endpoint().to_string(), &to]), "");
    assert_eq!(said.status.code(), Some(97), "{}", String::from_utf8_lossy(&said.stderr));
}

#[test]
fn openssh_is_a_socks_proxy_through_our_program() {
    let _watch = given::within(60);
    let Some((host, own)) = Keys::named("host").zip(Keys::named("user")) else { return };
    let server = our_sshd(&host, &own);
    let Some(mut ssh) = ssh(&own, server.port()) else { return };
    let (here, there) = (free_port(), free_port());
    ssh.args(["-N", "-D", &format!("127.0.0.1:{here}"), "-R", &format!("127.0.0.1:{there}")]);
    let _running = Running::start(&mut ssh);
    let web = web();
    for port in [here, there] {
        super::soon("ssh listens", || connect(&local(port)).is_ok());
        assert_eq!(fetch(&["--socks5", &local(port).to_string()], web).as_deref(), Some("hello"));
    }
}

/// Runs a script of a Python library against our server; what it prints.
fn script(name: &str, text: &str, arguments: &[String]) -> Option<String> {
    let mut command = Command::new(require(name, python())?);
    command.arg("-B").arg("-c").arg(text).args(arguments);
    let said = output(&mut command, "");
    let errors = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.status.success(), "{name}: {errors}");
    Some(String::from_utf8_lossy(&said.stdout).into_owned())
}

/// AsyncSSH listens at both ends, on ports and on UNIX sockets, and talks through each.
const ASYNCSSH: &str = r#"
import asyncio, sys, asyncssh
port, key, user, tcp, path, folder = sys.argv[1:]

async def talk(opened):
    reader, writer = await opened
    sent = bytes(range(256)) * 2000
    writer.write(sent)
    writer.write_eof()
    back = await reader.read()
    assert back.endswith(sent), len(back)
    writer.close()
    return back[:-len(sent)].decode()

async def main():
    async with asyncssh.connect("127.0.0.1", int(port), username=user, client_keys=[key],
                                known_hosts=None, config=None, agent_path=None) as ssh:
        tcp_port = int(tcp)
        ways = [
            await ssh.forward_local_port("127.0.0.1", 0, "127.0.0.1", tcp_port),
            await ssh.forward_remote_port("127.0.0.1", 0, "127.0.0.1", tcp_port),
            await ssh.forward_local_port_to_path("127.0.0.1", 0, path),
            await ssh.forward_remote_port_to_path("127.0.0.1", 0, path),
        ]
        for way in ways:
            print(await talk(asyncio.open_connection("127.0.0.1", way.get_port())))
        paths = [
            (await ssh.forward_local_path(folder + "/a", path), "/a"),
            (await ssh.forward_remote_path(folder + "/b", path), "/b"),
            (await ssh.forward_local_path_to_port(folder + "/c", "127.0.0.1", tcp_port), "/c"),
            (await ssh.forward_remote_path_to_port(folder + "/d", "127.0.0.1", tcp_port), "/d"),
        ]
        for _, name in paths:
            print(await talk(asyncio.open_unix_connection(folder + name)))
        print(await talk(ssh.open_connection("127.0.0.1", tcp_port, encoding=None)))
        print(await talk(ssh.open_unix_connection(path, encoding=None)))
        for way in ways + [way for way, _ in paths]:
            way.close()
            await way.wait_closed()

asyncio.run(main())
"#;

#[test]
fn asyncssh_forwards_every_way_through_our_program() {
    let _watch = given::within(60);
    let Some((host, own)) = Keys::named("host").zip(Keys::named("user")) else { return };
    let server = our_sshd(&host, &own);
    let folder = Folder::new();
    let tcp = port_of(&tcp_service("tcp"));
    let _socket = unix_service("unix", folder.file("service"));
    let arguments = [
        server.port().to_string(),
        shown(&own.private("ed25519")),
        user(),
        tcp.to_string(),
        shown(&folder.file("service")),
        shown(folder.path()),
    ];
    let Some(said) = script("asyncssh", ASYNCSSH, &arguments) else { return };
    let expected = ["tcp", "tcp", "unix", "unix", "unix", "unix", "tcp", "tcp", "tcp", "unix"];
    assert_eq!(said.lines().collect::<Vec<_>>(), expected, "{}", server.log());
}

/// What paramiko's demos forward.py and rforward.py do.
const PARAMIKO: &str = r#"
import socket, sys, threading, paramiko
port, key, user, tcp = sys.argv[1:]
client = paramiko.SSHClient()
client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
client.connect("127.0.0.1", int(port), username=user, key_filename=key, allow_agent=False, look_for_keys=False)
transport = client.get_transport()

def read(source):
    whole = b""
    while piece := source.recv(65536):
        whole += piece
    return whole

channel = transport.open_channel("direct-tcpip", ("127.0.0.1", int(tcp)), ("127.0.0.1", 5))
channel.sendall(b"forward")
channel.shutdown_write()
print(read(channel).decode())

chosen = transport.request_port_forward("127.0.0.1", 0)
near = socket.create_connection(("127.0.0.1", chosen))
channel = transport.accept(20)
near.sendall(b"rforward")
near.shutdown(socket.SHUT_WR)
print(read(channel).decode())
channel.sendall(b"answer")
channel.close()
print(read(near).decode())
transport.cancel_port_forward("127.0.0.1", chosen)
try:
    socket.create_connection(("127.0.0.1", chosen))
    print("still there")
except OSError:
    print("gone")
client.close()
"#;

#[test]
fn paramiko_forwards_through_our_program() {
    let _watch = given::within(60);
    let Some((host, own)) = Keys::named("host").zip(Keys::named("user")) else { return };
    let server = our_sshd(&host, &own);
    let tcp = port_of(&tcp_service("tcp"));
    let arguments = [server.port().to_string(), shown(&own.private("ed25519")), user(), tcp.to_string()];
    let Some(said) = script("paramiko", PARAMIKO, &arguments) else { return };
    assert_eq!(said.lines().collect::<Vec<_>>(), ["tcpforward", "rforward", "answer", "gone"]);
}

/// paramiko's demos, ours: a port here and a port there.
#[test]
fn our_demos_forward() {
    let _watch = given::within(60);
    let Some((host, own)) = Keys::named("host").zip(Keys::named("user")) else { return };
    let server = our_sshd(&host, &own);
    let home = Folder::new();
    let service = tcp_service("tcp");
    for demo in ["forward", "rforward"] {
        let port = free_port();
        let mut command = Command::new(example(demo));
        command.args(["-p", &port.to_string(), "-r", &service.to_string(), "--no-key", "-K"]);
        command.arg(own.private("ed25519")).args(["--user", &user()]);
        command.arg(format!("127.0.0.1:{}", server.port()));
        command.env("HOME", home.path()).env_remove("SSH_AUTH_SOCK");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut running = Running::start(&mut command);
        reaches(&local(port), "tcp");
        assert!(running.0.try_wait().unwrap().is_none());
    }
}
