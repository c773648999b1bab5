//! Who makes certificates and lists of revoked keys: OpenSSH's `ssh-keygen`, and ours with the same arguments.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use feramiko::{KeyKind, PKey, PublicKey};

use crate::peers::{Folder, example, output, program, require, user};

/// Keys in files of a folder, for programs to work on.
pub(crate) struct Workshop {
    programs: [(&'static str, PathBuf); 2],
    folder: Folder,
}

impl Workshop {
    /// None without an `ssh-keygen`.
    pub(crate) fn new() -> Option<Self> {
        let theirs = require("ssh-keygen", program("ssh-keygen"))?;
        Some(Self {
            programs: [("by ssh-keygen", theirs), ("by ours", example("ssh_keygen"))],
            folder: Folder::new(),
        })
    }

    /// The names of those who make things.
    pub(crate) fn makers(&self) -> [(usize, &'static str); 2] {
        [(0, self.programs[0].0), (1, self.programs[1].0)]
    }

    /// A new key, in the file of that name.
    pub(crate) fn key(&self, name: &str, kind: KeyKind) -> PKey {
        let key = PKey::generate(kind).unwrap();
        key.write_private_key_file(self.folder.file(name), None).unwrap();
        self.write(&format!("{name}.pub"), &key.public_key().to_line());
        key
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.file(name), format!("{text}\n")).unwrap();
    }

    /// A file that was made.
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.file(name)).unwrap()
    }

    /// Runs one of the programs in the folder; `USER` in its arguments is the user of these tests.
    pub(crate) fn run(&self, maker: usize, arguments: &[&str]) {
        let mut command = Command::new(&self.programs[maker].1);
        command.current_dir(self.folder.path()).env("TZ", "UTC");
        command.args(arguments.iter().map(|argument| argument.replace("USER", &user())));
        let ended = output(&mut command, "");
        assert!(ended.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ended.stderr));
    }

    /// The certificate that an authority's key makes of the key `id`.
    pub(crate) fn certificate(&self, maker: usize, authority: &str, arguments: &[&str]) -> PublicKey {
        let mut all = vec!["-q", "-s", authority];
        if !arguments.contains(&"-I") {
            all.extend(["-I", "an id"]);
        }
        all.extend(arguments);
        all.push("id.pub");
        self.run(maker, &all);
        let line = String::from_utf8(self.read("id-cert.pub")).unwrap();
        PublicKey::from_line(line.trim()).unwrap().0
    }
}
