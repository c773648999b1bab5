//! The programs' lines in the system's log, as syslog(3) would send them. Each has a /dev of its own, where the test
//! listens; only root can make one.

#![cfg(unix)]

mod given;
mod peers;

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use feramiko::PublicKey;
use peers::{Folder, Keys, example, free_port, inside, output, program, require, sshd, user};
use rustix::process::{Pid, Signal, kill_process};

/// Who listens, and where.
struct Log {
    socket: UnixDatagram,
    folder: Folder,
}

impl Log {
    /// None where there is no root.
    fn new() -> Option<Self> {
        require("mounts (as root)", program("unshare").filter(|_| user() == "root"))?;
        let folder = Folder::new();
        fs::create_dir(folder.file("dev")).unwrap();
        let socket = UnixDatagram::bind(folder.file("log")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Some(Self { socket, folder })
    }

    /// The program, whose /dev/log is this.
    fn command(&self, name: &str) -> Command {
        let mounts = r#"dev="$1" && mount -t tmpfs none "$dev" && touch "$dev/log" "$dev/null" "$dev/tty" &&
            mount --bind /dev/null "$dev/null" && mount --bind "$2" "$dev/log" && mount --rbind "$dev" /dev && shift 2"#;
        let mut command = Command::new("sh");
        command.args(["-c", &inside(mounts), "sh"]).arg(self.folder.file("dev")).arg(self.folder.file("log"));
        command.arg(example(name)).env_remove("SSH_AUTH_SOCK");
        command
    }

    /// Waits for a line with these words.
    fn line(&self, words: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut all = String::new();
        let mut line = [0; 8192];
        while Instant::now() < deadline {
            let count = self.socket.recv(&mut line).unwrap_or_else(|error| panic!("{words}: {error}: {all}"));
            let line = String::from_utf8_lossy(&line[..count]).into_owned();
            if line.contains(words) {
                return line;
            }
            all += &(line + "\n");
        }
        panic!("{words} did not come: {all}");
    }
}

/// A line's number before the name, and what follows the name and the process.
fn parts(line: &str, name: &str) -> (u8, String) {
    let (number, rest) = line.strip_prefix('<').and_then(|line| line.split_once('>')).unwrap();
    let rest = rest.strip_prefix(name).and_then(|rest| rest.strip_prefix('[')).unwrap();
    let (process, text) = rest.split_once("]: ").unwrap();
    assert!(process.parse::<u32>().is_ok(), "{line}");
    (number.parse().unwrap(), text.to_owned())
}

#[test]
fn a_server_in_the_background() {
    let _watch = given::within(100);
    let (Some(log), Some(host), Some(own)) = (Log::new(), Keys::named("host"), Keys::named("user")) else {
        return;
    };
    let Some(ssh) = require("ssh", program("ssh")) else { return };
    let (folder, port) = (Folder::new(), free_port());
    fs::write(folder.file("keys"), own.public("ed25519")).unwrap();
    let config = folder.file("config");
    let lines = format!(
        "HostKey {}\nListenAddress 127.0.0.1:{port}\nPidFile {}\nAuthorizedKeysFile {}\nStrictModes no\n\
         PermitRootLogin yes\n",
        host.private("ed25519").display(),
        folder.file("pid").display(),
        folder.file("keys").display()
    );
    for (more, notice) in [("", 4 * 8 + 6), ("SyslogFacility LOCAL5\n", 21 * 8 + 6)] {
        fs::write(&config, lines.clone() + more).unwrap();
        let started = output(log.command("sshd").arg("-f").arg(&config), "");
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        let mut client = Command::new(&ssh);
        client.args(["-F", "none", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no", "-o"]);
        client.args(["UserKnownHostsFile=/dev/null", "-i"]).arg(own.private("ed25519"));
        client.args(["-p", &port.to_string(), &format!("{}@127.0.0.1", user()), "true"]);
        assert!(output(&mut client, "").status.success());
        let (number, text) = parts(&log.line("Accepted "), "sshd");
        assert_eq!(number, notice, "{text}");
        // What programs look for that watch logs.
        let words: Vec<_> = text.split(' ').collect();
        let user = user();
        let [_, _, _, _, _, from, _, port, ..] = words[..] else { panic!("{text}") };
        assert!(from == "127.0.0.1" && port.parse::<u16>().is_ok(), "{text}");
        let key = PublicKey::from_line(&own.public("ed25519")).unwrap().0.fingerprint();
        let wanted = format!("Accepted publickey for {user} from 127.0.0.1 port {port} ssh2: ED25519 {key}");
        assert_eq!(text, wanted);
        let pid = fs::read_to_string(folder.file("pid")).unwrap().trim().parse().unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while folder.file("pid").exists() {
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn programs_that_are_told_to() {
    let _watch = given::within(100);
    let (Some(log), Some(host), Some(own)) = (Log::new(), Keys::named("host"), Keys::named("user")) else {
        return;
    };
    let Some(server) = sshd(&host, &own, "") else { return };
    let mut ssh = log.command("ssh");
    ssh.args(["-F", "none", "-y", "-o", "SyslogFacility=LOCAL1", "-o", "StrictHostKeyChecking=yes", "-o"]);
    ssh.args(["UserKnownHostsFile=/nonexistent", "-p", &server.port().to_string(), "127.0.0.1", "true"]);
    let ended = output(&mut ssh, "");
    assert_eq!((ended.status.code(), ended.stderr.len()), (Some(255), 0), "nothing but the log is told");
    let (number, text) = parts(&log.line("]: ssh: "), "ssh");
    assert_eq!(number, 17 * 8 + 3, "{text}");

    // INIT of version 3, and the end.
    let hello = [0, 0, 0, 5, 1, 0, 0, 0, 3];
    let ended = output(log.command("sftp_server").args(["-f", "LOCAL3", "-l", "DEBUG"]), hello);
    assert!(ended.status.success() && ended.stderr.is_empty(), "{}", String::from_utf8_lossy(&ended.stderr));
    let (number, text) = parts(&log.line("the client speaks version 3"), "sftp_server");
    assert_eq!(number, 19 * 8 + 7, "{text}");
    let nowhere = output(Command::new(example("sftp_server")).args(["-f", "KERN"]), "");
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("-f KERN: no such facility"));
}
