//! Every key exchange, cipher, MAC and compression of ours alone, with every peer, whether it has it or not, in both
//! roles. Our side is restricted to the one row, theirs to nothing: data goes both ways, or they know no such row.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use feramiko::{Algorithms, Error, KexError, Limits, Negotiated, PKey, Peer, SSHServer};
use serde_json::json;

use crate::peers::{Folder, Keys, Python, Server, dropbear, output, program, require, sshd, user};
use crate::table::{self, first_line};
use crate::{Open, connect, given};

/// Some packets.
const DATA: usize = 150_000;
/// What is compressed depends on what came before.
const COMPRESSED: usize = 1 << 20;
/// Dbclient looks whether a channel is left before it writes what came, and closes the last one behind that: then it
/// waits for another packet, for hours. Whoever has no channel is let go.
const UNUSED: Duration = Duration::from_secs(10);

/// A family of rows: how our side is restricted to one, what both then agreed on, and what tells OpenSSH's names.
struct Family {
    rows: fn(&Algorithms) -> &[&'static str],
    set: fn(&mut Algorithms, &str) -> Result<(), KexError>,
    agreed: fn(&Negotiated) -> [Option<&str>; 2],
    /// The field of what the Python clients say.
    told: &'static str,
    /// What `ssh -Q` calls it, and the keyword. Compressions have no list.
    asked: Option<(&'static str, &'static str)>,
}

const FAMILIES: [Family; 4] = [
    Family {
        rows: Algorithms::kex,
        set: Algorithms::set_kex,
        agreed: |agreed| [Some(agreed.kex.as_str()); 2],
        told: "kex",
        asked: Some(("kex", "KexAlgorithms")),
    },
    Family {
        rows: Algorithms::ciphers,
        set: Algorithms::set_ciphers,
        agreed: |agreed| [Some(&agreed.cipher_to_server), Some(&agreed.cipher_to_client)],
        told: "cipher",
        asked: Some(("cipher", "Ciphers")),
    },
    Family {
        rows: Algorithms::macs,
        // Some ciphers have no MAC beside them.
        set: |algorithms, name| {
            algorithms.set_ciphers("aes128-ctr")?;
            algorithms.set_macs(name)
        },
        agreed: |agreed| [agreed.mac_to_server.as_deref(), agreed.mac_to_client.as_deref()],
        told: "mac",
        asked: Some(("mac", "MACs")),
    },
    Family {
        rows: Algorithms::compressions,
        set: Algorithms::set_compressions,
        agreed: |agreed| [Some(&agreed.compression_to_server), Some(&agreed.compression_to_client)],
        told: "compression",
        asked: None,
    },
];

impl Family {
    fn alone(&self, mut algorithms: Algorithms, row: &str) -> Algorithms {
        (self.set)(&mut algorithms, row).unwrap();
        algorithms
    }

    fn bytes(&self) -> usize {
        if self.asked.is_none() { COMPRESSED } else { DATA }
    }
}

/// Every row, with its family.
fn every() -> Vec<(&'static Family, &'static str)> {
    let all = Algorithms::client_defaults().legacy();
    FAMILIES.iter().flat_map(|family| (family.rows)(&all).iter().map(move |row| (family, *row))).collect()
}

/// What cannot be compressed, and then what can.
fn data(bytes: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let random = std::iter::repeat_with(|| {
        // Marsaglia's xorshift.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    });
    random.take(bytes / 2).chain(std::iter::repeat(7)).take(bytes).collect()
}

/// What came of a row: a peer has it, or, by its own word, has it not. Anything else is a failure.
type Outcome = Result<bool, String>;

fn refused(error: &Error, row: &str) -> Outcome {
    match error {
        Error::NoCommon { ours, theirs, .. } => {
            let lacks = ours == &[row] && !theirs.is_empty() && !theirs.iter().any(|name| name == row);
            if lacks { Ok(false) } else { Err(format!("{ours:?} {theirs:?}")) }
        }
        error => Err(error.to_string()),
    }
}

/// Holds what came of all rows against the table.
fn hold(column: (&str, &str), outcomes: Vec<(&'static str, String, Outcome)>) {
    let ident = outcomes.iter().find(|(.., outcome)| *outcome == Ok(true)).map(|(_, ident, _)| ident.clone());
    let mut wrong = Vec::new();
    let mut found = Vec::new();
    for (row, _, outcome) in outcomes {
        match outcome {
            Ok(true) => found.push((row, Ok(()))),
            Ok(false) => found.push((row, Err("refused".to_owned()))),
            Err(said) => wrong.push(format!("{row}: {said}")),
        }
    }
    assert!(wrong.is_empty(), "{column:?}:\n{}", wrong.join("\n"));
    table::hold(column, &ident.expect("it has something"), 0, &found);
}

/// Our client alone with each row on a server of others.
fn on_server(peer: &str, server: Option<Server>, key: &PKey) {
    let Some(server) = server else { return };
    let one = |(family, row): (&Family, &'static str)| {
        let algorithms = family.alone(Algorithms::client_defaults(), row);
        match connect(&server, key, algorithms, Limits::default()) {
            Err(error) => (row, String::new(), refused(&error, row)),
            Ok(client) => {
                let ident = client.transport().peer_version().to_owned();
                let agreed = client.transport().negotiated().expect("it is a connection of its own");
                let names = (family.agreed)(agreed);
                let data = data(family.bytes());
                let echo = client.open_session().and_then(|channel| {
                    channel.exec_command("cat")?;
                    given::echoed(&channel, &data)
                });
                let outcome = match echo {
                    Err(error) => Err(error.to_string()),
                    Ok(echo) if echo != data => Err(format!("{} bytes came back", echo.len())),
                    Ok(_) if names != [Some(row); 2] => Err(format!("{names:?} was agreed on")),
                    Ok(_) => Ok(true),
                };
                (row, ident, outcome)
            }
        }
    };
    hold((peer, "server"), every().into_iter().map(one).collect());
}

fn keys() -> Option<(Keys, Keys, PKey)> {
    let (host, own) = (Keys::named("host")?, Keys::named("user")?);
    let key = PKey::from_file(own.private("ed25519"), None).unwrap();
    Some((host, own, key))
}

/// The lines, or the options, by which OpenSSH offers all that it has.
pub(crate) fn all_of_openssh() -> Option<Vec<String>> {
    let ssh = require("ssh", program("ssh"))?;
    let asked = FAMILIES.iter().filter_map(|family| family.asked);
    let option = asked.map(|(query, keyword)| {
        let names = output(Command::new(&ssh).args(["-Q", query]), "").stdout;
        let names = String::from_utf8(names).unwrap();
        format!("{keyword}={}", names.split_whitespace().collect::<Vec<_>>().join(","))
    });
    Some(option.chain(["Compression=yes".to_owned()]).collect())
}

#[test]
fn our_client_alone_on_openssh() {
    let _watch = given::within(600);
    let (Some((host, own, key)), Some(options)) = (keys(), all_of_openssh()) else { return };
    on_server("OpenSSH", sshd(&host, &own, &options.join("\n")), &key);
}

fn on_python(python: Python) {
    let Some((host, own, key)) = keys() else { return };
    let spec = json!({
        "user": user(), "host_keys": host.all_private(), "authorized_keys": own.all_public(), "every": true,
    });
    on_server(python.name(), python.server(&spec), &key);
}

#[test]
fn our_client_alone_on_asyncssh() {
    let _watch = given::within(600);
    on_python(Python::AsyncSsh);
}

#[test]
fn our_client_alone_on_paramiko() {
    let _watch = given::within(600);
    on_python(Python::Paramiko);
}

#[test]
fn our_client_alone_on_dropbear() {
    let _watch = given::within(600);
    let Some((host, own, key)) = keys() else { return };
    on_server("dropbear", dropbear(&host, &own), &key);
}

/// A server of ours for one connection with one row; in the end it says who came, and how it went.
struct Once {
    port: u16,
    /// Its port is nobody else's as long as somebody may connect to it.
    listener: Arc<TcpListener>,
    serving: JoinHandle<(String, Result<(), Error>)>,
}

impl Once {
    fn new(host: &PKey, own: &Keys, algorithms: Algorithms) -> Self {
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
        let port = listener.local_addr().unwrap().port();
        let server = SSHServer::builder().host_key(host.clone()).algorithms(algorithms);
        let server = server.unused_timeout(UNUSED).build().unwrap();
        let open = Open::to(own);
        let there = Arc::clone(&listener);
        let serving = thread::spawn(move || {
            let (stream, from) = there.accept().unwrap();
            let ident = first_line(&stream);
            (ident, server.serve_stream(stream, &Peer::named(&from.to_string()), open))
        });
        Self { port, listener, serving }
    }

    /// What came of the row, where the client has said what it makes of it.
    fn outcome(self, row: &'static str, client: Result<(), String>) -> (&'static str, String, Outcome) {
        // A client that never came is let off here.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        let (ident, served) = self.serving.join().unwrap();
        drop(self.listener);
        let outcome = match (client, served) {
            (Ok(()), _) => Ok(true),
            (Err(said), Ok(())) => Err(said),
            // PuTTY ends before its own list has left it.
            (Err(said), Err(_)) if putty_refuses(&said, row) => Ok(false),
            (Err(said), Err(error)) => refused(&error, row).map_err(|error| format!("{error}; {said}")),
        };
        (row, ident, outcome)
    }
}

/// A client of others alone with each row on our server: run with a port, the host key and what it sends, it gives
/// what came back.
fn with_client(peer: &str, run: impl Fn(u16, &PKey, &[u8]) -> std::process::Output) {
    let Some((_, own, _)) = keys() else { return };
    let host = given::host_key();
    let one = |(family, row): (&Family, &'static str)| {
        let server = Once::new(&host, &own, family.alone(Algorithms::server_defaults(), row));
        let data = data(family.bytes());
        let answer = run(server.port, &host, &data);
        let said = String::from_utf8_lossy(&answer.stderr);
        let came = answer.stdout.len();
        let client =
            if answer.stdout == data { Ok(()) } else { Err(format!("{came} bytes came back; {said}")) };
        server.outcome(row, client)
    };
    hold((peer, "client"), every().into_iter().map(one).collect());
}

#[test]
fn openssh_alone_on_our_server() {
    let _watch = given::within(600);
    let (Some((_, own, _)), Some(options)) = (keys(), all_of_openssh()) else { return };
    let options: Vec<_> = options.iter().map(|option| format!("-o{option}")).collect();
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    with_client("OpenSSH", |port, _, data| {
        crate::openssh(port, &own, &options, "cat", data).expect("it was asked for its names")
    });
}

#[test]
fn dbclient_alone_on_our_server() {
    let _watch = given::within(600);
    let Some(dbclient) = require("dbclient", program("dbclient")) else { return };
    let home = Folder::new();
    with_client("dropbear", |port, _, data| {
        let mut client = Command::new(&dbclient);
        client.env("HOME", home.path()).env("DROPBEAR_PASSWORD", "foo");
        client.args(["-y", "-y", "-T", "-p", &port.to_string(), "me@127.0.0.1", "cat"]);
        output(&mut client, data)
    });
}

/// Whether PuTTY says that it knows nothing of what it was offered, the row and words that are no rows.
fn putty_refuses(said: &str, row: &str) -> bool {
    let offered = said.split('"').nth(1).and_then(|offered| offered.split(',').next());
    said.contains("does not correspond to any supported algorithm") && offered == Some(row)
}

/// PuTTY takes from a saved session what it offers; what stands behind WARN it would ask about.
const PUTTYS: &str = "\
Cipher=aes,aesgcm,chacha20,3des,blowfish,arcfour,des,WARN
KEX=ntru-curve25519,ecdh,dh-gex-sha1,dh-group18-sha512,dh-group17-sha512,dh-group16-sha512,dh-group15-sha512,\
dh-group14-sha1,dh-group1-sha1,rsa,WARN
Compression=1
";

#[test]
fn plink_alone_on_our_server() {
    let _watch = given::within(600);
    let Some(plink) = require("plink", program("plink")) else { return };
    let home = Folder::new();
    fs::create_dir_all(home.file(".putty/sessions")).unwrap();
    fs::write(home.file(".putty/sessions/every"), PUTTYS).unwrap();
    with_client("PuTTY", |port, host, data| {
        let mut client = Command::new(&plink);
        client
            .env("HOME", home.path())
            .args(["-load", "every", "-batch", "-ssh", "-l", "me", "-pw", "foo", "-P"]);
        client.arg(port.to_string()).arg("-hostkey").arg(host.public_key().fingerprint());
        output(client.args(["127.0.0.1", "cat"]), data)
    });
}

/// A Python client with each row on our server. It says by itself what was agreed on.
fn with_python(python: Python) {
    let Some((_, own, _)) = keys() else { return };
    let host = given::host_key();
    let servers: Vec<_> = every()
        .into_iter()
        .map(|(family, row)| {
            (Once::new(&host, &own, family.alone(Algorithms::server_defaults(), row)), family, row)
        })
        .collect();
    let spec = |(server, family, _): &(Once, &Family, _)| {
        json!({
            "host": "127.0.0.1", "port": server.port, "user": "me", "key": own.private("ed25519"),
            "every": true, "action": "echo", "bytes": family.bytes(),
        })
    };
    let Some(answers) = python.clients(&servers.iter().map(spec).collect()) else { return };
    let outcomes = servers.into_iter().zip(answers).map(|((server, family, row), answer)| {
        let right = answer["ok"] == true && answer[family.told] == row;
        server.outcome(row, if right { Ok(()) } else { Err(answer.to_string()) })
    });
    hold((python.name(), "client"), outcomes.collect());
}

#[test]
fn asyncssh_alone_on_our_server() {
    let _watch = given::within(600);
    with_python(Python::AsyncSsh);
}

#[test]
fn paramiko_alone_on_our_server() {
    let _watch = given::within(600);
    with_python(Python::Paramiko);
}

#[test]
fn the_table_is_whole() {
    table::is_whole();
}
