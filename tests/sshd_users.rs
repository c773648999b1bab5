//! The program `sshd` serving users who are others than the one that runs it: whose rights they have, who is let
//! in, what is set and run for them. Needs root, to make users and to become them.

#![cfg(unix)]

mod given;
mod peers;

#[path = "sshd_users/welcome.rs"]
mod welcome;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use feramiko::{Endpoint, PKey, SSHClient};
use given::within;
use peers::{Folder, Keys, Server, command, example, keeper, output, program, require, start, user};

/// A user of the machine, made for a test and removed with this value.
struct User {
    name: String,
    home: PathBuf,
}

impl User {
    /// None where there is no root or no useradd.
    fn new(name: &str, own: &Keys) -> Option<Self> {
        let root = user() == "root";
        let useradd = require("useradd (as root)", program("useradd").filter(|_| root))?;
        let name = format!("fera{name}{}", std::process::id() % 100_000);
        let home = PathBuf::from(format!("/home/{name}"));
        // Locked accounts have a `!` for a password.
        let made = output(Command::new(useradd).args(["-m", "-p", "*", "-s", "/bin/bash", &name]), "");
        assert!(made.status.success(), "{}", said(&made));
        let this = Self { name, home };
        fs::set_permissions(&this.home, fs::Permissions::from_mode(0o755)).unwrap();
        this.write(".ssh/authorized_keys", &own.public("ed25519"));
        Some(this)
    }

    fn owner(&self) -> (u32, u32) {
        let metadata = fs::metadata(&self.home).unwrap();
        (metadata.uid(), metadata.gid())
    }

    /// A file of the user's.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.join(name);
        let (uid, gid) = self.owner();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        for path in path.ancestors().take_while(|path| *path != self.home) {
            chown(path, Some(uid), Some(gid)).unwrap();
        }
        path
    }
}

impl Drop for User {
    fn drop(&mut self) {
        output(Command::new("userdel").args(["-f", "-r", &self.name]), "");
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Our sshd with these lines.
fn serve(host: &Keys, lines: &str, arguments: &[&str]) -> Server {
    start("our sshd", |folder, port| {
        let config = folder.file("config");
        let key = host.private("ed25519");
        let text =
            format!("HostKey {}\nListenAddress 127.0.0.1:{port}\nPidFile none\n{lines}\n", key.display());
        fs::write(&config, text).unwrap();
        let mut command = keeper(r#""$@""#);
        // With groups that no user is to be left in.
        command.args(["setpriv", "--groups", "0,4"]);
        command
            .arg(example("sshd"))
            .args(["-D", "-o", "LogLevel=VERBOSE", "-f"])
            .arg(&config)
            .args(arguments);
        (command, "listening on".to_owned())
    })
}

/// OpenSSH's client as that user, with the key.
fn ssh(own: &Keys, server: &Server, user: &str) -> Command {
    let mut command = Command::new("ssh");
    command.args(["-F", "none", "-o", "BatchMode=yes"]).args(common(own));
    command.args(["-p", &server.port().to_string(), "-l", user, "127.0.0.1"]).env_remove("SSH_AUTH_SOCK");
    command.stdin(Stdio::null());
    command
}

fn common(own: &Keys) -> Vec<String> {
    let options =
        ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "IdentitiesOnly=yes"];
    let mut words: Vec<String> =
        options.iter().flat_map(|option| ["-o".to_owned(), (*option).to_owned()]).collect();
    words.extend(["-i".to_owned(), own.private("ed25519").display().to_string()]);
    words
}

/// What a command says and how it ends.
fn run(own: &Keys, server: &Server, user: &str, line: &str) -> (Option<i32>, String) {
    let output = output(ssh(own, server, user).arg(line), "");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn enters(own: &Keys, server: &Server, user: &str) -> bool {
    run(own, server, user, "true").0 == Some(0)
}

/// The peers, the keys, and a user.
fn given(name: &str) -> Option<(Keys, Keys, User)> {
    command("ssh")?;
    let (host, own) = (Keys::named("host")?, Keys::named("user")?);
    let user = User::new(name, &own)?;
    Some((host, own, user))
}

const SFTP: &str = "Subsystem sftp internal-sftp\n";

#[test]
fn another_user_has_his_rights_and_no_others() {
    let _watch = within(100);
    let Some((host, own, user)) = given("rights") else { return };
    let server =
        serve(&host, &format!("{SFTP}Subsystem words echo these words\nAcceptEnv A*\nSetEnv B=set\n"), &[]);
    let name = user.name.as_str();
    let (code, ids) =
        run(&own, &server, name, "id -u; id -g; id -G; pwd; cat /etc/shadow; ulimit -c >/dev/null; exit 3");
    let (uid, gid) = user.owner();
    assert_eq!((code, ids), (Some(3), format!("{uid}\n{gid}\n{gid}\n{}\n", user.home.display())));
    let mut command = ssh(&own, &server, name);
    let shown =
        output(command.args(["-o", "SendEnv=A1 X1"]).arg("env").env("A1", "one").env("X1", "two"), "");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let lines: Vec<_> = shown.lines().collect();
    let home = user.home.display();
    for line in [
        "A1=one",
        "B=set",
        &format!("HOME={home}"),
        &format!("USER={name}"),
        &format!("LOGNAME={name}"),
        "SHELL=/bin/bash",
        &format!("MAIL=/var/mail/{name}"),
    ] {
        assert!(lines.contains(&line), "{line}: {shown}");
    }
    assert!(
        !shown.contains("X1=") && !shown.contains("FERAMIKO") && shown.contains("SSH_CONNECTION=127.0.0.1 ")
    );
    // A terminal is the user's.
    let mut command = ssh(&own, &server, name);
    let terminal = output(command.arg("-tt").arg("stat -c '%U %a' $(tty)"), "");
    assert!(String::from_utf8_lossy(&terminal.stdout).starts_with(&format!("{name} 620")), "{terminal:?}");
    let mut command = ssh(&own, &server, name);
    assert_eq!(output(command.args(["-s", "words"]), "").stdout, b"these words\n");
    files(&own, &server, &user, &[("by-sftp", "-s"), ("by-scp", "-O")]);
    assert!(!enters(&own, &server, "nobody-of-that-name"));
}

/// SFTP, and copies by these protocols, as the user.
fn files(own: &Keys, server: &Server, user: &User, protocols: &[(&str, &str)]) {
    let folder = Folder::new();
    fs::write(folder.file("file"), "words").unwrap();
    for (name, protocol) in protocols {
        let mut scp = Command::new("scp");
        scp.args(["-q", "-F", "none", protocol, "-P", &server.port().to_string()]).args(common(own));
        scp.arg(folder.file("file")).arg(format!("{}@127.0.0.1:{name}", user.name));
        let copied = output(&mut scp, "");
        assert!(copied.status.success(), "{name}: {}", said(&copied));
        let metadata = fs::metadata(user.home.join(name)).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), user.owner(), "{name}");
    }
    let mut sftp = Command::new("sftp");
    sftp.args(["-F", "none", "-b", "-", "-P", &server.port().to_string()]).args(common(own));
    sftp.arg(format!("{}@127.0.0.1", user.name));
    let listed =
        output(&mut sftp, "pwd\n-get /etc/shadow /dev/null\n-put /etc/hostname /etc/feramiko-test\n");
    let shown = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(shown.contains(&user.home.display().to_string()), "{shown}");
    assert_eq!(said(&listed).matches("ermission denied").count(), 2, "{}", said(&listed));
    assert!(!Path::new("/etc/feramiko-test").exists());
}

#[test]
fn who_may_in() {
    let _watch = within(100);
    let Some((host, own, user)) = given("may") else { return };
    let name = user.name.as_str();
    user.write("None", &own.public("ed25519"));
    for (lines, may) in [
        (format!("AllowUsers {name}"), true),
        ("AllowUsers somebody".to_owned(), false),
        (format!("AllowUsers {name}@127.0.0.0/8"), true),
        (format!("AllowUsers {name}@192.0.2.0/24"), false),
        (format!("DenyUsers {name}"), false),
        (format!("AllowUsers {name}\nDenyUsers fera*"), false),
        (format!("AllowGroups {name}"), true),
        ("AllowGroups root".to_owned(), false),
        (format!("DenyGroups {name}"), false),
        ("PubkeyAuthentication no".to_owned(), false),
        // No file of that name either.
        (format!("Match User {name}\nAuthorizedKeysFile None"), false),
        ("AuthorizedKeysFile %h/.ssh/authorized_keys".to_owned(), true),
        ("AuthorizedKeysFile none\nAuthorizedKeysCommand /bin/cat %h/.ssh/authorized_keys\nAuthorizedKeysCommandUser %u".to_owned(), true),
        ("AuthorizedKeysFile none\nAuthorizedKeysCommand /bin/false\nAuthorizedKeysCommandUser nobody".to_owned(), false),
        (format!("RevokedKeys {}/.ssh/authorized_keys", user.home.display()), false),
        ("AuthenticationMethods publickey,password".to_owned(), false),
    ] {
        let server = serve(&host, &lines, &[]);
        assert_eq!(enters(&own, &server, name), may, "{lines}\n{}", server.log());
    }
    // What the system says of the account.
    let server = serve(&host, "", &[]);
    for (arguments, may) in [
        (&["-L"][..], false),
        (&["-U"], true),
        (&["-e", "2020-01-01"], false),
        (&["-e", ""], true),
        (&["-s", "/no/such/shell"], false),
        (&["-s", "/bin/sh"], true),
    ] {
        // Unlocking a password that was none leaves none; it is set anew.
        if arguments == ["-U"] {
            assert!(output(Command::new("usermod").args(["-p", "*", name]), "").status.success());
        } else {
            assert!(output(Command::new("usermod").args(arguments).arg(name), "").status.success());
        }
        assert_eq!(enters(&own, &server, name), may, "{arguments:?}\n{}", server.log());
    }
}

#[test]
fn files_that_others_could_have_written_do_not_count() {
    let _watch = within(100);
    let Some((host, own, user)) = given("strict") else { return };
    let (strict, loose) = (serve(&host, "", &[]), serve(&host, "StrictModes no", &[]));
    let keys = user.home.join(".ssh/authorized_keys");
    for path in [&keys, &user.home.join(".ssh"), &user.home] {
        let before = fs::metadata(path).unwrap().permissions();
        assert!(enters(&own, &strict, &user.name), "{}", strict.log());
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(!enters(&own, &strict, &user.name), "{}", path.display());
        assert!(enters(&own, &loose, &user.name), "{}", path.display());
        fs::set_permissions(path, before).unwrap();
    }
    chown(&keys, Some(54321), None).unwrap();
    assert!(!enters(&own, &strict, &user.name));
    // A link to what the user may not read shows nothing of it, and lets nobody in.
    fs::remove_file(&keys).unwrap();
    let secret = Folder::new();
    fs::set_permissions(secret.path(), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(secret.file("keys"), own.public("ed25519")).unwrap();
    std::os::unix::fs::symlink(secret.file("keys"), &keys).unwrap();
    assert!(!enters(&own, &loose, &user.name), "root's rights were used");
}

#[test]
fn several_methods_in_their_order() {
    let _watch = within(100);
    let Some((host, own, user)) = given("methods") else { return };
    let name = user.name.as_str();
    let password = format!("{name}:secret");
    let server = serve(&host, "AuthenticationMethods publickey,password", &["-u", &password]);
    let key = || PKey::from_file(own.private("ed25519"), None).unwrap();
    let address = format!("127.0.0.1:{}", server.port());
    let connect = |builder: feramiko::SSHClientBuilder| builder.username(name).connect(&address);
    let client = connect(given::client().key(key()).password("secret")).unwrap();
    assert_eq!(client.output("id -un").unwrap().stdout, format!("{name}\n").into_bytes());
    for (what, builder) in [
        ("the key alone", given::client().key(key())),
        ("the password alone", given::client().password("secret")),
        ("a wrong password", given::client().key(key()).password("wrong")),
    ] {
        assert!(connect(builder).is_err(), "{what}");
    }
    // One key is no two, and two are.
    let server = serve(&host, "AuthenticationMethods publickey,publickey", &[]);
    assert!(!enters(&own, &server, name), "the same key twice");
    let second = own.public("ecdsa256");
    user.write(".ssh/authorized_keys", &format!("{}\n{second}\n", own.public("ed25519")));
    let mut command = ssh(&own, &server, name);
    command.arg("-i").arg(own.private("ecdsa256")).arg("true");
    assert!(output(&mut command, "").status.success(), "{}", server.log());
}

#[test]
fn what_is_run_for_a_user() {
    let _watch = within(100);
    let Some((host, own, user)) = given("run") else { return };
    let name = user.name.as_str();
    user.write(".ssh/rc", "echo rc of $USER in $(pwd)\n");
    user.write(".ssh/environment", "# comment\nOWN=value\nOTHER=x\n");
    let lines = format!("{SFTP}PermitUserEnvironment OWN\nExposeAuthInfo yes\n");
    let server = serve(&host, &lines, &[]);
    let rc = format!("rc of {name} in {}\n", user.home.display());
    let (_, said) = run(
        &own,
        &server,
        name,
        "echo $OWN-$OTHER; cut -d' ' -f1,2 $SSH_USER_AUTH; stat -c %U:%a $SSH_USER_AUTH",
    );
    assert_eq!(said, format!("{rc}value-\npublickey ssh-ed25519\n{name}:600\n"));
    let left: Vec<_> = fs::read_dir(std::env::temp_dir())
        .unwrap()
        .flatten()
        .filter(|entry| {
            let of_user = entry.metadata().is_ok_and(|metadata| metadata.uid() == user.owner().0);
            of_user && entry.file_name().to_string_lossy().starts_with("sshauth.")
        })
        .collect();
    assert!(left.is_empty(), "{left:?}");
    // Subsystems have no rc of the user's: its words would be none of the protocol.
    files(&own, &server, &user, &[("by-sftp", "-s")]);
    // Nor has a key that forbids it.
    for (options, runs) in [("no-user-rc", false), ("restrict", false), ("restrict,user-rc", true)] {
        user.write(".ssh/authorized_keys", &format!("{options} {}", own.public("ed25519")));
        let said = run(&own, &server, name, "true").1;
        assert_eq!(said, if runs { rc.as_str() } else { "" }, "{options}");
    }
    user.write(".ssh/authorized_keys", &own.public("ed25519"));
    let server = serve(&host, "PermitUserRC no", &[]);
    assert_eq!(run(&own, &server, name, "echo [$OWN]"), (Some(0), "[]\n".to_owned()));
    let server = serve(
        &host,
        &format!("Match User {name}\nForceCommand echo forced [$SSH_ORIGINAL_COMMAND]\nPermitTTY no"),
        &[],
    );
    assert_eq!(run(&own, &server, name, "echo $0"), (Some(0), "forced [echo $0]\n".to_owned()));
    // As it does of OpenSSH's: the key's command counts for less than the server's.
    user.write(".ssh/authorized_keys", &format!("command=\"echo the key\" {}", own.public("ed25519")));
    assert_eq!(run(&own, &server, name, "x").1, "forced [x]\n");
    let server = serve(&host, "PermitUserRC no", &[]);
    assert_eq!(run(&own, &server, name, "x").1, "the key\n");
}

#[test]
fn a_root_of_its_own() {
    let _watch = within(100);
    let Some((host, own, user)) = given("root") else { return };
    // Not below a folder of everybody's.
    let root = PathBuf::from(format!("/srv/{}", user.name));
    fs::create_dir_all(root.join("up")).unwrap();
    let (uid, gid) = user.owner();
    chown(root.join("up"), Some(uid), Some(gid)).unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
    // The user's by a group that is not the first, and that the new root has no list of.
    assert!(output(Command::new("usermod").args(["-aG", "users", &user.name]), "").status.success());
    let shared = root.join("shared");
    fs::create_dir(&shared).unwrap();
    assert!(output(Command::new("chgrp").arg("users").arg(&shared), "").status.success());
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o770)).unwrap();
    let lines =
        format!("{SFTP}Match User fera*\nChrootDirectory /srv/%u\nForceCommand internal-sftp -d /up -u 077");
    let server = serve(&host, &lines, &[]);
    let batch = |lines: &str| {
        let mut sftp = Command::new("sftp");
        sftp.args(["-F", "none", "-b", "-", "-P", &server.port().to_string()]).args(common(&own));
        output(sftp.arg(format!("{}@127.0.0.1", user.name)), lines)
    };
    let listed = batch(
        "pwd\nput /etc/hostname file\nput /etc/hostname /shared/file\n-get ../../etc/passwd /dev/null\nls -1 /\n",
    );
    let shown = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(
        shown.contains("Remote working directory: /up") && shown.contains("/up\n"),
        "{shown}{}",
        said(&listed)
    );
    assert!(said(&listed).contains("not found"), "{}", said(&listed));
    let metadata = fs::metadata(root.join("up/file")).unwrap();
    assert_eq!((metadata.uid(), metadata.mode() & 0o077), (uid, 0));
    // Whoever asks for a command gets SFTP.
    assert_ne!(run(&own, &server, &user.name, "id").1, format!("uid={uid}"));
    // A root that the user could have made is none.
    for spoil in [true, false] {
        if spoil {
            chown(&root, Some(uid), None).unwrap();
        } else {
            chown(&root, Some(0), None).unwrap();
            fs::set_permissions(&root, fs::Permissions::from_mode(0o775)).unwrap();
        }
        assert!(!batch("pwd\n").status.success());
    }
    fs::remove_dir_all(&root).unwrap();
}

#[test]
fn root_itself() {
    let _watch = within(60);
    let Some((host, own, user)) = given("self") else { return };
    let keys = user.write("keys", &own.public("ed25519"));
    let forced = user.write("forced", &format!("command=\"echo forced\" {}", own.public("ed25519")));
    for (keys, value, may) in [
        (&keys, "yes", true),
        (&keys, "prohibit-password", true),
        (&keys, "no", false),
        (&keys, "forced-commands-only", false),
        (&forced, "forced-commands-only", true),
    ] {
        let lines = format!("StrictModes no\nPermitRootLogin {value}\nAuthorizedKeysFile {}", keys.display());
        let server = serve(&host, &lines, &[]);
        assert_eq!(enters(&own, &server, "root"), may, "{value}");
    }
    // By a certificate: its authority is the host's key here.
    let folder = Folder::new();
    for (options, may) in [(&[][..], false), (&["-O", "force-command=echo forced"], true)] {
        fs::write(folder.file("key.pub"), own.public("ed25519")).unwrap();
        let mut sign = Command::new("ssh-keygen");
        sign.args(["-q", "-I", "id", "-n", "root"]).args(options);
        sign.arg("-s").arg(host.private("ed25519")).arg(folder.file("key.pub"));
        let signed = output(&mut sign, "");
        assert!(signed.status.success(), "{}", said(&signed));
        fs::write(folder.file("authority"), host.public("ed25519")).unwrap();
        let authority = folder.file("authority");
        let lines =
            format!("PermitRootLogin forced-commands-only\nTrustedUserCAKeys {}", authority.display());
        let server = serve(&host, &lines, &[]);
        let mut command = ssh(&own, &server, "root");
        let certificate = format!("CertificateFile={}", folder.file("key-cert.pub").display());
        let entered = output(command.args(["-o", &certificate, "true"]), "").status.success();
        assert_eq!(entered, may, "{options:?}\n{}", server.log());
    }
    // The password is right each time.
    for (value, may) in [("yes", true), ("prohibit-password", false)] {
        let server = serve(&host, &format!("PermitRootLogin {value}"), &["-u", "root:secret"]);
        let client = given::client().username("root").password("secret");
        assert_eq!(client.connect(&format!("127.0.0.1:{}", server.port())).is_ok(), may, "{value}");
    }
}

/// Whether a client gets to a UNIX socket through its connection.
fn reaches(client: &SSHClient, socket: &Path) -> bool {
    client.open_direct_streamlocal(socket.as_os_str().as_encoded_bytes()).is_ok()
}

#[test]
fn sockets_are_opened_and_made_with_the_users_rights() {
    let _watch = within(60);
    let Some((host, own, user)) = given("unix") else { return };
    let (uid, _) = user.owner();
    let folder = Folder::new();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (roots, users) = (folder.file("root"), user.home.join("own"));
    let service = [&roots, &users].map(|path| UnixListener::bind(path).unwrap());
    for path in [&roots, &users] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    chown(&users, Some(uid), None).unwrap();
    let server = serve(&host, "StreamLocalBindUnlink yes\nStreamLocalBindMask 0117", &[]);
    let connect = |server: &Server| {
        let key = PKey::from_file(own.private("ed25519"), None).unwrap();
        given::client()
            .username(&user.name)
            .key(key)
            .connect(&format!("127.0.0.1:{}", server.port()))
            .unwrap()
    };
    let client = connect(&server);
    assert!(!reaches(&client, &roots) && reaches(&client, &users), "{}", server.log());
    // Nothing is made, nor a socket removed, where the user may not do so.
    let listen = |path: &Path| {
        let at = Endpoint::unix(path.as_os_str().as_encoded_bytes());
        client.forward_remote(at, Endpoint::tcp("127.0.0.1", 1))
    };
    assert!(listen(&roots).is_err() && listen(&folder.file("new")).is_err());
    assert!(roots.exists());
    let forward = listen(&users).unwrap();
    let made = fs::metadata(&users).unwrap();
    assert_eq!((made.uid(), made.mode() & 0o777), (uid, 0o660));
    drop(forward);
    // Another's socket that stands there in the end stays.
    let place = user.write("place/file", "").with_file_name("root");
    let forward = listen(&place).unwrap();
    fs::rename(user.home.join("place"), user.home.join("moved")).unwrap();
    std::os::unix::fs::symlink(folder.path(), user.home.join("place")).unwrap();
    forward.close().unwrap();
    assert!(roots.exists() && !reaches(&client, &place));
    // When it is answered that one has ended, its place is free.
    for _ in 0..5 {
        let forward = listen(&users).unwrap();
        forward.close().unwrap();
        assert!(!users.exists());
    }
    // With a root of its own the user would get to sockets outside of it.
    let (again, open) = (UnixListener::bind(&users).unwrap(), fs::Permissions::from_mode(0o666));
    fs::set_permissions(&users, open).unwrap();
    assert!(reaches(&client, &users));
    assert!(!reaches(&connect(&serve(&host, "ChrootDirectory /", &[])), &users));
    drop((service, again));
}

/// A session's socket lies in a folder of the user's, who may put something else there: what is removed with the
/// session is removed with the user's rights.
#[test]
fn what_a_session_leaves_is_removed_with_the_users_rights() {
    let _watch = within(60);
    let Some((host, own, user)) = given("gone") else { return };
    let server = serve(&host, "", &[]);
    let others = Folder::new();
    fs::set_permissions(others.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let agent = others.file("agent");
    let none = UnixListener::bind(&agent).unwrap();
    // Who asks it is told nothing, at once.
    std::thread::spawn(move || none.incoming().for_each(drop));
    let run = |line: &str| {
        let mut command = ssh(&own, &server, &user.name);
        command.args(["-A", line]).env("SSH_AUTH_SOCK", &agent);
        String::from_utf8(output(&mut command, "").stdout).unwrap().trim().to_owned()
    };
    let socket = run("stat -c '%U %a' $SSH_AUTH_SOCK $(dirname $SSH_AUTH_SOCK); echo $SSH_AUTH_SOCK");
    let (rights, socket) = socket.rsplit_once('\n').unwrap();
    assert_eq!(rights, format!("{0} 600\n{0} 700", user.name));
    let socket = PathBuf::from(socket);
    assert!(!socket.parent().unwrap().exists());
    let same = others.file(socket.file_name().unwrap().to_str().unwrap());
    fs::write(&same, "another's").unwrap();
    let link = run(&format!(
        "d=$(dirname $SSH_AUTH_SOCK); mv $d $d.away && ln -s {} $d && echo $d",
        others.path().display()
    ));
    let away = PathBuf::from(format!("{link}.away"));
    assert!(away.join(same.file_name().unwrap()).exists(), "{link}");
    fs::remove_dir_all(away).unwrap();
    assert!(same.exists(), "removed though it is not the user's");
    assert!(!Path::new(&link).is_symlink());
}
