//! `SSHClient` on the connection that OpenSSH's master holds.

use std::io::{Read, Write};
use std::net::Shutdown;

use feramiko::{Error, ExitStatus, SSHClient};

use super::*;

#[test]
fn a_client_works_over_the_connection_of_openssh() {
    let _watch = given::within(120);
    let Some(host) = Host::start() else { return };
    let Some(_master) = host.openssh_master() else { return };
    let client = SSHClient::over_master(host.path()).unwrap();
    let output = client.output("echo out; echo err >&2; exit 3").unwrap();
    assert_eq!((&*output.stdout, &*output.stderr), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!(output.status, ExitStatus::Code(3));

    // More than any window, both ways.
    let data: Vec<u8> = (0..6_000_000_u32).map(|number| number.to_le_bytes()[number as usize % 3]).collect();
    let channel = client.open_session().unwrap();
    channel.exec_command("cat").unwrap();
    assert!(given::echoed(&channel, &data).unwrap() == data);

    let sftp = client.open_sftp().unwrap();
    let there = host.folder.file("there").display().to_string();
    let mut file = sftp.open(&there, "w").unwrap();
    file.write_all(&data).unwrap();
    file.close().unwrap();
    let mut back = Vec::new();
    sftp.open(&there, "r").unwrap().read_to_end(&mut back).unwrap();
    assert!(back == data);

    // The server is not known, and still a link leads where it is to.
    let link = host.folder.file("link");
    sftp.symlink("there", link.display().to_string()).unwrap();
    assert_eq!(std::fs::read_link(&link).unwrap(), Path::new("there"));

    // Somewhere behind the server.
    let Endpoint::Tcp { host: address, port } = echoing() else { return };
    let mut rest = Vec::new();
    for (text, number) in [(address.as_str(), port), ("127.0.0.1", 1)] {
        rest.extend((text.len() as u32).to_be_bytes());
        rest.extend(text.as_bytes());
        rest.extend(u32::from(number).to_be_bytes());
    }
    let mut tunnel = client.transport().open_channel("direct-tcpip", &rest, None).unwrap();
    tunnel.write_all(b"hello").unwrap();
    tunnel.shutdown(Shutdown::Write);
    let mut back = Vec::new();
    tunnel.read_to_end(&mut back).unwrap();
    assert_eq!(back, b"hello");
}

#[test]
fn clients_of_one_connection_do_not_meet() {
    let _watch = given::within(120);
    let Some(host) = Host::start() else { return };
    let Some(_master) = host.openssh_master() else { return };
    let clients: Vec<_> = (0..4).map(|_| SSHClient::over_master(host.path()).unwrap()).collect();
    thread::scope(|scope| {
        for number in 0..20 {
            let client = &clients[number % clients.len()];
            scope.spawn(move || {
                let output = client.output(format!("echo {number}; exit {number}")).unwrap();
                assert_eq!(output.stdout_text().unwrap().trim(), number.to_string());
                assert_eq!(output.status.code(), Some(number as u32));
            });
        }
    });
    // One that goes takes nothing along: no goodbye of ours reaches the server.
    clients[0].close();
    drop(clients);
    let (status, ..) = run(host.mux(), &MuxCommand::new("true"), &null());
    assert!(status.success());
}

#[test]
fn what_a_master_does_not_pass_on_is_refused_here() {
    let _watch = given::within(120);
    let Some(host) = Host::start() else { return };
    let Some(mut master) = host.openssh_master() else { return };
    let client = SSHClient::over_master(host.path()).unwrap();
    let transport = client.transport();
    let unsupported = |result: Result<(), Error>| {
        assert!(matches!(&result, Err(Error::Unsupported(what)) if what.contains("master")), "{result:?}");
    };
    unsupported(transport.renegotiate_keys());
    unsupported(transport.send_ignore(b"nothing"));
    unsupported(transport.global_request("keepalive@openssh.com", b"", None).map(drop));
    assert!(transport.host_key().is_none() && transport.negotiated().is_none());
    // Still there: OpenSSH's master would have hung up.
    assert!(client.output("true").unwrap().status.success());

    let mut command = client.exec_command("cat").unwrap();
    host.mux().exit().unwrap();
    master.ended();
    assert!(command.wait().is_err());
    assert!(!transport.is_active());
}
