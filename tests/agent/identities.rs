//! `ssh -i` and `IdentitiesOnly`: which keys of the agent are offered, on OpenSSH's server, which takes
//! six tries.

use std::path::Path;

use super::peers::{Folder, Keys, example, sshd, user};
use super::*;

/// The keys that stand in the way: with them all the server hears no other.
const OTHERS: usize = 7;

/// Our `ssh` with an agent and a home of its own.
fn ssh(socket: &Path, home: &Folder, port: u16, options: &[&str], status: i32) -> String {
    let mut command = with_agent(example("ssh"), socket);
    command.env("HOME", home.path()).args(["-F", "none", "-o", "BatchMode=yes"]).args(options);
    command.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=none"]);
    command.args(["-p", &port.to_string()]).arg(format!("{}@127.0.0.1", user())).arg("echo yes");
    run(&mut command, status)
}

#[test]
fn files_say_which_keys_of_the_agent_are_used() {
    let (Some(keys), Some(host)) = (user_keys(), Keys::named("host")) else { return };
    let folder = Folder::new();
    let socket = folder.file("agent");
    let (Some(_agent), Some(server)) = (ssh_agent(&socket, "/bin/false"), sshd(&host, &keys, "")) else {
        return;
    };
    let agent = Agent::connect(&socket).unwrap();
    for _ in 0..OTHERS {
        let other = PKey::generate(feramiko::KeyKind::Ed25519).unwrap();
        agent.add(&other, &AddOptions::new()).unwrap();
    }
    ssh_add(&socket, &["-q", &path(&keys, "ed25519")], 0);
    fs::write(folder.file("only.pub"), keys.public("ed25519")).unwrap();
    let (public, base) = (folder.file("only.pub"), folder.file("only"));
    let (public, base) = (public.to_str().unwrap(), base.to_str().unwrap());
    let only = "-oIdentitiesOnly=yes";
    let tried = |options: &[&str], status| ssh(&socket, &folder, server.port(), options, status);

    assert!(tried(&[], 255).contains("Too many authentication failures"));
    for options in [
        &["-i", public][..],
        &[only, "-i", public],
        // The private half is with the agent alone.
        &[only, "-o", &format!("IdentityFile={base}")],
        // A file that the agent does not have is read.
        &[only, "-i", &path(&keys, "rsa")],
    ] {
        assert_eq!(tried(options, 0), "yes\n", "{options:?}");
    }
    assert!(tried(&["-i", base], 255).contains("not accessible"));

    // No file is named: the usual ones name the keys, and no other is offered.
    let said = tried(&[only], 255);
    assert!(said.contains("none: refused"), "{said}");
    fs::create_dir(folder.file(".ssh")).unwrap();
    fs::copy(public, folder.file(".ssh/id_ed25519.pub")).unwrap();
    assert_eq!(tried(&[only], 0), "yes\n");
    assert_eq!(tried(&[], 0), "yes\n", "what the usual files name comes first");
}

#[test]
fn a_certificate_beside_a_file_is_signed_for_by_the_agent() {
    let (Some(keys), Some(host)) = (user_keys(), Keys::named("host")) else { return };
    let folder = Folder::new();
    let socket = folder.file("agent");
    fs::write(folder.file("ca.pub"), host.public("ed25519")).unwrap();
    let trusts = format!(
        "TrustedUserCAKeys {}\nAuthorizedKeysFile none\nMaxAuthTries 2",
        folder.file("ca.pub").display()
    );
    let (Some(_agent), Some(server)) = (ssh_agent(&socket, "/bin/false"), sshd(&host, &keys, &trusts)) else {
        return;
    };
    let key = PKey::from_file(keys.private("ed25519"), None).unwrap();
    let authority = PKey::from_file(host.private("ed25519"), None).unwrap();
    let builder = feramiko::CertificateBuilder::user(key.public_key()).principal(user());
    let certificate = builder.sign(&authority).unwrap();
    fs::write(folder.file("id.pub"), keys.public("ed25519")).unwrap();
    fs::write(folder.file("id-cert.pub"), certificate.to_line()).unwrap();
    let identity = format!("-oIdentityFile={}", folder.file("id").display());
    let tried = |status| ssh(&socket, &folder, server.port(), &["-oIdentitiesOnly=yes", &identity], status);

    Agent::connect(&socket).unwrap().add(&key, &AddOptions::new()).unwrap();
    assert_eq!(tried(0), "yes\n");
    // The agent may have it with its certificate alone.
    ssh_add(&socket, &["-q", "-D"], 0);
    let certified = key.with_certificate(&certificate).unwrap();
    Agent::connect(&socket).unwrap().add(&certified, &AddOptions::new()).unwrap();
    assert_eq!(tried(0), "yes\n");
    ssh_add(&socket, &["-q", "-D"], 0);
    tried(255);
}
