//! With keys that an agent holds.

use std::process::Stdio;

use super::*;
use crate::peers::Running;

/// OpenSSH's agent with these keys.
fn agent(both: &Both, socket: &Path, keys: &[&str]) -> Option<Running> {
    let (agent, add) = (require("ssh-agent", program("ssh-agent"))?, require("ssh-add", program("ssh-add"))?);
    let mut running =
        Running::start(Command::new(agent).args(["-D", "-a"]).arg(socket).stdout(Stdio::piped()));
    // It says where it listens once it does.
    let mut said = std::io::BufReader::new(running.0.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut said, &mut String::new()).unwrap();
    for key in keys {
        let ended = run_with(&add, both.ours.path(), &["-q", key], b"", socket);
        assert_eq!(ended.status, Some(0), "{ended:?}");
    }
    Some(running)
}

#[test]
fn keys_of_an_agent_sign() {
    let Some(both) = Both::new() else { return };
    both.write("message", b"a message\n");
    let folder = Folder::new();
    let socket = folder.file("agent");
    let Some(_running) = agent(&both, &socket, &["ca", "rsa"]) else { return };
    for folder in [&both.theirs, &both.ours] {
        fs::remove_file(folder.file("ca")).unwrap();
    }
    let programs = || [(&both.theirs, both.keygen.clone()), (&both.ours, example("ssh_keygen"))];
    for (words, status, file) in [
        ("-q -U -s ca.pub -I id ed25519.pub", 0, Some("ed25519-cert.pub")),
        ("-q -U -s rsa.pub -t rsa-sha2-256 -I id ed25519.pub", 0, Some("ed25519-cert.pub")),
        ("-q -U -s ecdsa256.pub -I id ed25519.pub", 255, None),
        ("-q -Y sign -n file -f ca.pub message", 0, Some("message.sig")),
        ("-q -Y sign -U -n file -f rsa message", 0, Some("message.sig")),
        ("-q -Y sign -U -n file -f ecdsa256 message", 255, None),
        ("-q -Y sign -n file -f ed25519 message", 0, Some("message.sig")),
    ] {
        let arguments: Vec<_> = words.split(' ').collect();
        let mut made = Vec::new();
        for (folder, program) in programs() {
            let ended = run_with(&program, folder.path(), &arguments, b"", &socket);
            assert_eq!((ended.status, ended.stdout.as_str()), (Some(status), ""), "{words}: {ended:?}");
            let Some(name) = file else { continue };
            let path = folder.file(name);
            made.push(match name {
                "message.sig" => fs::read_to_string(&path).unwrap(),
                _ => run(&both.keygen, folder.path(), &["-L", "-f", name], b"").stdout,
            });
            fs::remove_file(path).unwrap();
        }
        assert!(made.windows(2).all(|pair| pair[0] == pair[1] && !pair[0].is_empty()), "{words}: {made:?}");
    }
}
