//! Files that nobody should read, by the library and by the program.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use feramiko::{ConfigError, SSHConfig};

use crate::given::within;
use crate::peers::{Folder, example};

fn refused(path: &Path) -> String {
    let error = SSHConfig::from_file(path).expect_err("it is no file to be read");
    assert!(matches!(error, ConfigError::File { .. }), "{error}");
    error.to_string()
}

/// Shells name pipes with what a command prints, `<(vagrant ssh-config)`.
#[test]
fn a_pipe_is_read_to_its_end() {
    let _watch = within(30);
    let folder = Folder::new();
    let pipe = folder.file("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Nobody writes, and nobody is waited for.
    assert_eq!(SSHConfig::from_file(&pipe).unwrap().lookup("h").unwrap().port(), 22);
    let run = |line: &str| {
        let mut bash = Command::new("bash");
        let output = bash.arg("-c").arg(line).arg(example("ssh")).stdin(Stdio::null()).output();
        let output = output.unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    };
    let (code, told) = run(r#""$0" -G -F <(sleep 0.2; echo "Port 2200") h"#);
    assert!(code == Some(0) && told.contains("port 2200\n"), "{told}");
    let (code, told) = run(r#""$0" -f -F <(echo "Port 2200") h true"#);
    assert!(code == Some(255) && told.contains("cannot read again"), "{told}");
}

#[test]
fn what_is_no_small_file_is_refused() {
    let _watch = within(30);
    let folder = Folder::new();
    for device in ["/dev/zero", "/dev/tty", "/proc/self/mem"] {
        let told = refused(Path::new(device));
        assert!(told.contains(device), "{told}");
    }
    refused(folder.path());
    refused(&folder.file("missing"));
    let large = folder.file("large");
    fs::write(&large, "# x\n".repeat(256 * 1024)).unwrap();
    assert!(SSHConfig::from_file(&large).unwrap().lookup("h").is_ok());
    fs::write(&large, "# x\n".repeat(256 * 1024) + "#").unwrap();
    assert!(refused(&large).contains("larger than 1048576 bytes"));
    assert!(SSHConfig::from_file("/dev/null").unwrap().lookup("h").is_ok());
}

#[test]
fn included_files_are_held_to_the_same() {
    let _watch = within(30);
    let folder = Folder::new();
    let (main, part) = (folder.file("main"), folder.file("part"));
    let include = |what: &Path| {
        fs::write(&main, format!("Include {}\n", what.display())).unwrap();
        SSHConfig::from_file(&main).unwrap().lookup("h").map(|host| host.port())
    };
    fs::write(&part, "Port 7\n").unwrap();
    fs::set_permissions(&part, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(include(&part), Ok(7));
    assert_eq!(include(&folder.file("pa*")), Ok(7));
    assert_eq!(include(&folder.file("[a-p]ar?")), Ok(7));
    assert_eq!(include(&folder.file("x*")), Ok(22));
    fs::set_permissions(&part, fs::Permissions::from_mode(0o664)).unwrap();
    let told = include(&part).unwrap_err().to_string();
    assert!(told.contains("bad owner or permissions"), "{told}");
    assert!(include(Path::new("/dev/zero")).is_err());
    fs::create_dir(folder.file("many")).unwrap();
    (0..=1024).for_each(|at| fs::write(folder.file(&format!("many/{at}")), "").unwrap());
    assert!(include(&folder.file("many/*")).unwrap_err().to_string().contains("more than 1024 files"));
    // It includes itself, by its name and by a link.
    assert!(include(&main).unwrap_err().to_string().contains("16 deep"));
    symlink(&main, folder.file("link")).unwrap();
    assert!(include(&folder.file("link")).unwrap_err().to_string().contains("16 deep"));
    fs::remove_file(&part).unwrap();
    symlink("/no/such/file", &part).unwrap();
    assert_eq!(include(&part), Ok(22), "a link to nothing is no file");
}

/// Our `ssh` with a home of its own.
fn ssh(home: &Path, arguments: &[&str]) -> (bool, String) {
    let mut ssh = Command::new(example("ssh"));
    let output = ssh.env("HOME", home).args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn the_users_own_file_is_read_if_it_is_safe() {
    let _watch = within(30);
    let home = Folder::new();
    fs::create_dir(home.file(".ssh")).unwrap();
    let config = home.file(".ssh/config");
    fs::write(&config, "Port 2345\nInclude more\n").unwrap();
    fs::write(home.file(".ssh/more"), "User fromfile\n").unwrap();
    for (path, mode) in [(&config, 0o600), (&home.file(".ssh/more"), 0o600)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let (fine, text) = ssh(home.path(), &["-G", "h"]);
    assert!(fine && text.contains("\nport 2345\n") && text.contains("user fromfile\n"), "{text}");
    let (fine, text) = ssh(home.path(), &["-F", "none", "-G", "h"]);
    assert!(fine && text.contains("\nport 22\n"), "{text}");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o620)).unwrap();
    let (fine, text) = ssh(home.path(), &["-G", "h"]);
    assert!(!fine && text.contains("bad owner or permissions"), "{text}");
    // A file that the user names may be anybody's to write to.
    let (fine, text) = ssh(home.path(), &["-F", config.to_str().unwrap(), "-G", "h"]);
    assert!(fine && text.contains("\nport 2345\n"), "{text}");
}

#[test]
fn names_from_the_command_line_run_nothing() {
    let _watch = within(30);
    let folder = Folder::new();
    let (file, proof) = (folder.file("config"), folder.file("proof"));
    fs::write(&file, "Match exec \"true %h %n %r\"\n Port 5\n").unwrap();
    let touch = format!("touch {}", proof.display());
    let file = file.to_str().unwrap();
    for arguments in [
        vec!["-l", &format!("$({touch})"), "h"],
        vec![&*format!("`{touch}`@h")],
        vec![&*format!("h;{touch}")],
        vec![&*format!("a\n{touch}@h")],
        vec!["-o", &format!("User=\"x;{touch}\""), "h"],
        vec![&*format!("ssh://x%0a{}@h", touch.replace(' ', "%20"))],
        vec!["-oUser=-x", "h"],
    ] {
        let (fine, text) = ssh(folder.path(), &[&["-F", file, "-G"], &arguments[..]].concat());
        assert!(!fine && text.contains("invalid characters"), "{arguments:?}: {text}");
    }
    assert!(!proof.exists());
    let (fine, text) = ssh(folder.path(), &["-F", file, "-G", "me@h"]);
    assert!(fine && text.contains("\nport 5\n"), "{text}");
}
