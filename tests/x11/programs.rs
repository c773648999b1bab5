//! `xdpyinfo` on Xvfb, through our and OpenSSH's programs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::given;
use super::peers::{Folder, Keys, Running, Server, example, keeper, output, program, require, sshd, start};

/// The X server.
struct Xvfb {
    folder: Folder,
    number: u32,
    server: Running,
}

impl Xvfb {
    fn start() -> Option<Self> {
        let mut command = Command::new(require("Xvfb", program("Xvfb"))?);
        require("xauth", program("xauth"))?;
        require("xdpyinfo", program("xdpyinfo"))?;
        let folder = Folder::new();
        let cookie = "00112233445566778899aabbccddeeff";
        // The server takes every cookie of its file, whatever display it is for.
        xauth(&folder.file("server"), ":0", cookie);
        command.args(["-displayfd", "1", "-nolisten", "tcp", "-noreset", "-screen", "0", "64x64x8"]);
        command.args(["+extension", "SECURITY", "-auth"]).arg(folder.file("server"));
        let mut server =
            Running::start(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()));
        let mut line = String::new();
        BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let number = line.trim().parse().unwrap();
        xauth(&folder.file("user"), &format!(":{number}"), cookie);
        Some(Self { folder, number, server })
    }

    /// A program of a user who sits at it.
    fn user(&self, name: PathBuf) -> Command {
        let mut command = Command::new(name);
        command.env("DISPLAY", format!(":{}", self.number)).env("XAUTHORITY", self.folder.file("user"));
        command.env_remove("SSH_AUTH_SOCK");
        command
    }
}

impl Drop for Xvfb {
    fn drop(&mut self) {
        // Killed at once it would leave its socket behind.
        let pid = i32::try_from(self.server.0.id()).ok().and_then(Pid::from_raw);
        let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        self.server.end(Instant::now() + Duration::from_secs(10));
    }
}

fn xauth(file: &std::path::Path, display: &str, cookie: &str) {
    let mut command = Command::new("xauth");
    command.args(["-q", "-f"]).arg(file).args(["add", display, ".", cookie]);
    assert!(output(&mut command, "").status.success());
}

/// Our server, with options.
fn our_sshd(host: &Keys, own: &Keys, options: &[&str]) -> Server {
    start("our sshd", |folder, port| {
        fs::write(folder.file("authorized_keys"), own.public("ed25519")).unwrap();
        let mut command = keeper(r#""$@""#);
        command.arg(example("sshd")).args(["-p", &port.to_string(), "--listen", "127.0.0.1", "-h"]);
        command.arg(host.private("ed25519")).arg("-a").arg(folder.file("authorized_keys"));
        command.args(options.iter().map(|option| format!("-o{option}")));
        (command, "listening on".to_owned())
    })
}

/// Runs a command through a client; what it printed, and what the client said.
fn ssh(x: &Xvfb, client: PathBuf, server: &Server, own: &Keys, options: &[&str], line: &str) -> [String; 2] {
    let mut command = x.user(client);
    command.args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=accept-new", "-i"]);
    command.arg(own.private("ed25519")).args(["-p", &server.port().to_string()]).args(options);
    command.arg("-o").arg(format!("UserKnownHostsFile={}", x.folder.file("known").display()));
    let said = output(command.args(["127.0.0.1", line]), "");
    [said.stdout, said.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn keys() -> Option<(Keys, Keys)> {
    Some((Keys::named("host")?, Keys::named("user")?))
}

#[test]
fn xdpyinfo_with_openssh_at_either_end() {
    let _watch = given::within(120);
    let (Some(x), Some((host, own))) = (Xvfb::start(), keys()) else { return };
    let Some(theirs) = program("ssh") else { return };
    // sshd has xauth write, but not into this user's file.
    let more = format!("X11Forwarding yes\nSetEnv XAUTHORITY={}", x.folder.file("sshd").display());
    let servers = [(our_sshd(&host, &own, &["X11Forwarding=yes"]), true)];
    let servers = servers.into_iter().chain(sshd(&host, &own, &more).map(|server| (server, false)));
    for (server, ours) in servers {
        let clients = [(example("ssh"), true), (theirs.clone(), false)];
        for (client, our_client) in clients.into_iter().filter(|(_, our_client)| ours || *our_client) {
            for (letter, trusted) in [("-Y", true), ("-X", false)] {
                let options = [letter, "-o", "ForwardX11Trusted=no"];
                let options = if trusted { &options[..1] } else { &options[..] };
                let [printed, said] = ssh(&x, client.clone(), &server, &own, options, "xdpyinfo");
                let what =
                    format!("our server {ours}, our client {our_client}, {letter}: {said}\n{}", server.log());
                assert!(printed.starts_with("name of display:    localhost:"), "{what}");
                // The SECURITY extension hides from untrusted programs what sees or sends others' keys.
                assert_eq!(printed.contains("XTEST"), trusted, "{what}{printed}");
            }
        }
    }
}

#[test]
fn options() {
    let _watch = given::within(120);
    let (Some(x), Some((host, own))) = (Xvfb::start(), keys()) else { return };
    let line = "echo $DISPLAY; test -z \"$DISPLAY\" || xdpyinfo | grep -c vendor";
    let client = || example("ssh");
    let server = our_sshd(&host, &own, &["X11Forwarding=yes", "X11DisplayOffset=200", "X11UseLocalhost=no"]);
    let name = String::from_utf8(output(Command::new("uname").arg("-n"), "").stdout).unwrap();
    for (options, forwarded) in [
        (&["-Y"][..], true),
        (&["-oForwardX11=yes", "-oForwardX11Trusted=yes", "-oForwardX11=no"], true),
        (&["-oForwardX11Trusted=yes", "-oForwardX11Timeout=1s", "-X"], true),
        (&["-oXAuthLocation=/usr/bin/xauth", "-oForwardX11Timeout=0", "-X"], true),
        (&["-Y", "-x"], false),
        (&[], false),
        (&["-oForwardX11=no", "-oForwardX11Trusted=yes"], false),
    ] {
        let [printed, said] = ssh(&x, client(), &server, &own, options, line);
        if forwarded {
            assert!(printed.starts_with(&format!("{}:20", name.trim())), "{options:?}: {printed}{said}");
            assert!(printed.contains(".0\n2\n"), "{options:?}: {printed}{said}");
        } else {
            assert_eq!(printed, "\n", "{options:?}: {said}");
        }
    }
    // A session is worth having without.
    let server = our_sshd(&host, &own, &[]);
    let [printed, said] = ssh(&x, client(), &server, &own, &["-Y"], line);
    assert_eq!(printed, "\n");
    assert!(said.contains("X11 is not forwarded"), "{said}");
    let [printed, said] = ssh(&x, client(), &server, &own, &["-X", "-oXAuthLocation=/nonexistent"], line);
    assert_eq!(printed, "\n");
    assert!(said.contains("/nonexistent generate"), "{said}");
}

/// Programs on the same display at once, one of which draws until it is ended with its session.
#[test]
fn programs_at_once_end_with_their_session() {
    let _watch = given::within(120);
    let (Some(x), Some((host, own))) = (Xvfb::start(), keys()) else { return };
    let Some(_) = require("xeyes", program("xeyes")) else { return };
    let server = our_sshd(&host, &own, &["X11Forwarding=yes"]);
    let line = "xeyes & echo $!; until xwininfo -name xeyes >/dev/null 2>&1; do sleep 0.05; done; \
                xlsclients; kill $!; wait $!; echo ended";
    let [printed, said] = ssh(&x, example("ssh"), &server, &own, &["-Y"], line);
    assert!(printed.contains("xeyes\n") && printed.ends_with("ended\n"), "{printed}{said}");
    // Cut off with the session, though it runs on.
    let line = "nohup xeyes >/dev/null 2>&1 & echo $!; until xwininfo -name xeyes >/dev/null 2>&1; do \
                sleep 0.05; done";
    let [printed, said] = ssh(&x, example("ssh"), &server, &own, &["-Y"], line);
    let pid = printed.trim();
    assert!(!pid.is_empty(), "{said}");
    super::soon("xeyes is gone", || !fs::exists(format!("/proc/{pid}/exe")).unwrap_or(false));
}
