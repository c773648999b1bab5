//! What a login is shown before its shell: /etc/motd and /etc/nologin, as OpenSSH's sshd shows them. Both
//! servers have an /etc of their own, a copy that they alone see.

use std::fs;
use std::process::Command;

use super::{User, given, said, ssh};
use crate::given::within;
use crate::peers::{Folder, Keys, Server, example, inside, keeper, output, program, require, start};

const MOTD: &str = "the message of this day";
const NOLOGIN: &str = "nobody gets in until noon";

/// Both servers with a copy of /etc that has a message of the day.
fn servers(host: &Keys, user: &User, keys: &Folder, lines: &str) -> Option<[(Folder, Server); 2]> {
    let theirs = require("sshd", program("sshd"))?;
    Some([theirs, example("sshd")].map(|sshd| {
        let etc = Folder::new();
        // Lock files of another test's user may go away meanwhile.
        output(Command::new("cp").args(["-a", "/etc/."]).arg(etc.path()), "");
        assert!(fs::read_to_string(etc.file("passwd")).unwrap().contains(&user.name));
        fs::write(etc.file("motd"), format!("{MOTD}\n")).unwrap();
        let server = start("sshd", |folder, port| {
            let config = folder.file("config");
            let text = format!(
                "HostKey {}\nListenAddress 127.0.0.1:{port}\nPidFile none\nAuthorizedKeysFile {}\nStrictModes no\n\
                 UsePAM no\nPrintLastLog no\nPermitRootLogin yes\n{lines}\n",
                host.private("ed25519").display(),
                keys.file("keys").display()
            );
            fs::write(&config, text).unwrap();
            let mut command = keeper(&inside(r#"mount --bind "$1" /etc && shift"#));
            command.arg(etc.path()).arg(&sshd).args(["-D", "-e", "-f"]).arg(config);
            (command, "istening on".to_owned())
        });
        (etc, server)
    }))
}

/// How a login ends, and what it shows of the two texts.
fn shown(ssh: &mut Command) -> (Option<i32>, bool, bool) {
    let output = output(ssh, "exit 3\n");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), said(&output));
    (output.status.code(), text.contains(MOTD), text.contains(NOLOGIN))
}

#[test]
fn a_shell_at_a_terminal_begins_with_the_message_of_the_day() {
    let _watch = within(100);
    let Some((host, own, user)) = given("motd") else { return };
    let keys = Folder::new();
    fs::write(keys.file("keys"), own.public("ed25519")).unwrap();
    for (lines, says) in [("", true), ("PrintMotd no", false)] {
        let Some(servers) = servers(&host, &user, &keys, lines) else { return };
        for (_, server) in &servers {
            let login = |options: &[&str]| shown(ssh(&own, server, &user.name).args(options));
            assert_eq!(login(&["-tt"]), (Some(3), says, false), "{}", server.log());
            assert_eq!(login(&["-T"]), (Some(3), false, false), "no terminal");
            assert_eq!(login(&["-tt", "exit 4"]), (Some(4), false, false), "no shell");
            user.write(".hushlogin", "");
            assert_eq!(login(&["-tt"]), (Some(3), false, false), "none is wanted");
            fs::remove_file(user.home.join(".hushlogin")).unwrap();
        }
    }
}

#[test]
fn nobody_but_root_gets_in_while_logins_are_forbidden() {
    let _watch = within(100);
    let Some((host, own, user)) = given("nologin") else { return };
    let keys = Folder::new();
    fs::write(keys.file("keys"), own.public("ed25519")).unwrap();
    let Some(servers) = servers(&host, &user, &keys, "Subsystem sftp internal-sftp") else { return };
    for (etc, server) in &servers {
        let login = |name: &str, options: &[&str]| shown(ssh(&own, server, name).args(options));
        assert_eq!(login(&user.name, &["exit 4"]), (Some(4), false, false));
        fs::write(etc.file("nologin"), format!("{NOLOGIN}\n")).unwrap();
        let forbidden = (Some(254), false, true);
        assert_eq!(login(&user.name, &["exit 4"]), forbidden, "{}", server.log());
        assert_eq!(login(&user.name, &["-tt", "exit 4"]), forbidden, "{}", server.log());
        assert_eq!(login(&user.name, &["-s", "sftp"]).0, forbidden.0, "{}", server.log());
        assert_eq!(login("root", &["exit 4"]), (Some(4), false, false), "{}", server.log());
        fs::remove_file(etc.file("nologin")).unwrap();
        assert_eq!(login(&user.name, &["exit 4"]), (Some(4), false, false));
    }
}
