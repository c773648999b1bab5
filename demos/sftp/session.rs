//! What commands do: all that lasts from one to the next.

use std::env;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::Command as Process;

use feramiko::{Error, SFTPAttributes, SFTPClient};
use rustix::fs::Mode;

use crate::commands::{Change, Command, HELP, Line, View};
use crate::glob::{Remote, glob_or_itself};
use crate::interrupt::interrupted;
use crate::listing::{self, Owners};
use crate::messages::{Done, Fault, complain, fault, print, refused, say, system};
use crate::paths::{absolute, local};
use crate::transfer::{self, Manner};
use crate::words::as_pattern;

/// What comes after a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    GoOn,
    Quit,
    /// An error ends the batch.
    Stop,
}

pub(crate) struct Session {
    /// Given up by an interrupt.
    pub(crate) client: SFTPClient,
    /// Where the user is on the server.
    pub(crate) directory: Vec<u8>,
    /// Where the user was at first.
    home: Vec<u8>,
    manner: Manner,
    owners: Owners,
}

/// What the server said, as an error in the form that most of OpenSSH's have.
fn check<T>(outcome: feramiko::Result<T>, parts: &[&[u8]]) -> Done<T> {
    outcome.or_else(|error| {
        let why = refused(&error)?;
        Err(fault(&[&parts.concat(), b": ", why.as_bytes()]))
    })
}

impl Session {
    pub(crate) fn start(client: SFTPClient, manner: Manner) -> Done<Self> {
        let client = client.cancel_when(interrupted);
        let home = client.normalize(".").map_err(|error| Fault::Fatal(format!("Need cwd: {error}")))?;
        let home = home.into_bytes();
        Ok(Self { client, directory: home.clone(), home, manner, owners: Owners::default() })
    }

    /// Runs a line; `strict` stops at an error that the line does not forgive.
    pub(crate) fn run(&mut self, line: Line, strict: bool) -> Result<Next, String> {
        let stops = strict && !line.forgiven;
        let outcome = match line.command {
            Ok(Command::Quit) => return Ok(Next::Quit),
            Ok(command) => self.execute(command, stops),
            Err(wrong) => Err(fault(&[wrong.as_bytes()])),
        };
        match outcome {
            Ok(()) => Ok(Next::GoOn),
            // What was told of one file may have been the end of all.
            Err(Fault::Told) => match self.client.normalize(".") {
                Ok(_) | Err(Error::Sftp(_) | Error::Cancelled) => {
                    Ok(if stops { Next::Stop } else { Next::GoOn })
                }
                Err(gone) => Err(gone.to_string()),
            },
            Err(Fault::Fatal(why)) => Err(why),
        }
    }

    fn execute(&mut self, command: Command, stops: bool) -> Done {
        match command {
            Command::Blank | Command::Quit => {}
            Command::Help => print(HELP.as_bytes()),
            Command::Version => print(b"SFTP protocol version 3\n"),
            Command::Progress => {
                self.manner.progress = !self.manner.progress;
                let now: &[u8] = if self.manner.progress { b"enabled" } else { b"disabled" };
                say(&[b"Progress meter ", now]);
            }
            Command::Pwd => say(&[b"Remote working directory: ", &self.directory]),
            Command::LocalPwd => match env::current_dir() {
                Ok(here) => say(&[b"Local working directory: ", here.as_os_str().as_bytes()]),
                Err(error) => return Err(fault(&[b"Couldn't get local cwd: ", system(&error).as_bytes()])),
            },
            Command::Chdir(path) => return self.change_directory(path),
            Command::LocalChdir(path) => return local_change_directory(path),
            Command::LocalMkdir(path) => {
                return fs::create_dir(local(&path)).map_err(|error| {
                    let why = system(&error);
                    fault(&[b"Couldn't create local directory \"", &path, b"\": ", why.as_bytes()])
                });
            }
            Command::Get(asked) => return transfer::get(&self.client, &asked, &self.directory, self.manner),
            Command::Put(asked) => return transfer::put(&self.client, &asked, &self.directory, self.manner),
            Command::List(path, view) => return self.list(path, view),
            Command::Space { path, human, inodes } => {
                let path = absolute(&path.unwrap_or_default(), &self.directory);
                return listing::space(&self.client, &path, human, inodes);
            }
            Command::LocalList(rest) if rest.is_empty() => shell(b"ls"),
            Command::LocalList(rest) => shell(&[b"ls ", &rest[..]].concat()),
            Command::Shell(command) => shell(&command),
            Command::Umask(mask) => {
                rustix::process::umask(Mode::from_raw_mode(mask & 0o777));
                print(format!("Local umask: {mask:03o}\n").as_bytes());
            }
            Command::Remove(path) => return self.remove(&path, stops),
            Command::Change { change, path, of_link } => return self.change(change, &path, of_link, stops),
            other => return self.names(other),
        }
        Ok(())
    }

    /// Commands that change names on the server.
    fn names(&self, command: Command) -> Done {
        let here = |path: &[u8]| absolute(path, &self.directory);
        match command {
            Command::Mkdir(path) => {
                let path = here(&path);
                check(self.client.mkdir(&path, 0o777), &[b"remote mkdir \"", &path, b"\""])
            }
            Command::Rmdir(path) => {
                let path = here(&path);
                check(self.client.rmdir(&path), &[b"remote rmdir \"", &path, b"\""])
            }
            Command::Copy(from, to) => self.copy(&here(&from), &here(&to)),
            Command::Rename { from, to, legacy } => {
                let (from, to) = (here(&from), here(&to));
                let posix = !legacy && self.client.has_extension("posix-rename@openssh.com");
                let done =
                    if posix { self.client.posix_rename(&from, &to) } else { self.client.rename(&from, &to) };
                check(done, &[b"remote rename \"", &from, b"\" to \"", &to, b"\""])
            }
            Command::Link { from, to, symbolic: true } => {
                let to = here(&to);
                check(
                    self.client.symlink(&from, &to),
                    &[b"remote symlink file \"", &from, b"\" to \"", &to, b"\""],
                )
            }
            Command::Link { from, to, symbolic: false } => {
                let (from, to) = (here(&from), here(&to));
                self.require("hardlink@openssh.com")?;
                check(self.client.hard_link(&from, &to), &[b"remote link \"", &from, b"\" to \"", &to, b"\""])
            }
            _ => Ok(()),
        }
    }

    fn require(&self, extension: &str) -> Done {
        if self.client.has_extension(extension) {
            return Ok(());
        }
        Err(fault(&[b"Server does not support ", extension.as_bytes(), b" extension"]))
    }

    fn copy(&self, from: &[u8], to: &[u8]) -> Done {
        self.require("copy-data")?;
        let known = check(self.client.stat(from), &[b"stat remote"])?;
        if known.mode.is_some() && !known.is_file() {
            return Err(fault(&[b"Cannot copy non-regular file: ", from]));
        }
        let mode = known.mode.map_or(0o666, |mode| mode & 0o777);
        let source = check(self.client.open(from, "r"), &[b"remote open(\"", from, b"\")"])?;
        let attributes = SFTPAttributes::new().with_mode(mode);
        let flags = feramiko::OpenFlags::WRITE | feramiko::OpenFlags::CREATE | feramiko::OpenFlags::TRUNCATE;
        let target = self.client.open_with(to, flags, &attributes);
        let target = check(target, &[b"remote open(\"", to, b"\")"])?;
        let copied = source.copy_to(0, 0, &target, 0).and_then(|()| target.close());
        check(copied, &[b"Couldn't copy file \"", from, b"\" to \"", to, b"\""])
    }

    fn change_directory(&mut self, path: Option<Vec<u8>>) -> Done {
        let path = path.filter(|path| !path.is_empty()).unwrap_or_else(|| self.home.clone());
        let path = absolute(&path, &self.directory);
        let found = match self.client.normalize(&path) {
            Ok(found) => found.into_bytes(),
            Err(Error::Sftp(error)) if !error.text.as_bytes().is_empty() => {
                return Err(fault(&[b"realpath ", &path, b": ", error.text.as_bytes()]));
            }
            other => check(other, &[b"realpath ", &path])?.into_bytes(),
        };
        let known = check(self.client.stat(&found), &[b"stat remote"])?;
        if known.mode.is_none() {
            return Err(fault(&[b"Can't change directory: Can't check target"]));
        }
        if !known.is_dir() {
            return Err(fault(&[b"Can't change directory: \"", &found, b"\" is not a directory"]));
        }
        self.directory = found;
        Ok(())
    }

    fn list(&mut self, path: Option<Vec<u8>>, view: View) -> Done {
        let here = self.directory.as_slice();
        match path {
            // As OpenSSH, which does not mind what becomes of this one.
            None => match listing::list_directory(&self.client, &mut self.owners, here, Some(here), view) {
                Err(Fault::Told) => Ok(()),
                done => done,
            },
            Some(path) => {
                let below = (!path.starts_with(b"/")).then_some(here);
                let pattern = absolute(&path, &as_pattern(here));
                listing::list(&self.client, &mut self.owners, &pattern, below, view)
            }
        }
    }

    /// The files that a pattern names, or itself.
    fn matches(&self, pattern: &[u8]) -> impl Iterator<Item = Vec<u8>> + use<> {
        let pattern = absolute(pattern, &as_pattern(&self.directory));
        let found = glob_or_itself(&Remote(&self.client), &pattern, false);
        found.into_iter().map(|it| it.path).take_while(|_| !interrupted())
    }

    fn remove(&self, pattern: &[u8], stops: bool) -> Done {
        let mut outcome = Ok(());
        for path in self.matches(pattern) {
            if !self.manner.quiet {
                say(&[b"Removing ", &path]);
            }
            outcome = told(check(self.client.remove(&path), &[b"remote delete ", &path]))?;
            if outcome.is_err() && stops {
                break;
            }
        }
        outcome
    }

    fn change(&self, change: Change, pattern: &[u8], of_link: bool, stops: bool) -> Done {
        let mut outcome = Ok(());
        for path in self.matches(pattern) {
            outcome = told(self.change_one(change, &path, of_link))?;
            if outcome.is_err() && stops {
                break;
            }
        }
        outcome
    }

    fn change_one(&self, change: Change, path: &[u8], of_link: bool) -> Done {
        let owner = match change {
            Change::Mode(_) => (0, 0),
            Change::Owner(_) | Change::Group(_) => {
                let found = if of_link { self.client.lstat(path) } else { self.client.stat(path) };
                let found = check(found, &[b"stat remote"])?;
                found
                    .owner
                    .ok_or_else(|| fault(&[b"Can't get current ownership of remote file \"", path, b"\""]))?
            }
        };
        let new = SFTPAttributes::new();
        let (what, new): (&[u8], _) = match change {
            Change::Mode(mode) => (b"mode", new.with_mode(mode)),
            Change::Owner(id) => (b"owner", new.with_owner(id, owner.1)),
            Change::Group(id) => (b"group", new.with_owner(owner.0, id)),
        };
        if !self.manner.quiet {
            say(&[b"Changing ", what, b" on ", path]);
        }
        if of_link {
            self.require("lsetstat@openssh.com")?;
            return check(self.client.lsetstat(path, &new), &[b"remote lsetstat \"", path, b"\""]);
        }
        check(self.client.setstat(path, &new), &[b"remote setstat \"", path, b"\""])
    }
}

/// What was told may be followed by more; what ends all may not.
fn told(outcome: Done) -> Done<Done> {
    match outcome {
        Err(fatal @ Fault::Fatal(_)) => Err(fatal),
        outcome => Ok(outcome),
    }
}

fn local_change_directory(path: Option<Vec<u8>>) -> Done {
    let path = path.filter(|path| !path.is_empty()).unwrap_or_else(|| b"~".to_vec());
    let home = || env::home_dir().unwrap_or_default();
    let target = match path.strip_prefix(b"~") {
        Some(b"") => home(),
        Some(rest) if rest.starts_with(b"/") => home().join(local(&rest[1..])),
        _ => local(&path).to_owned(),
    };
    env::set_current_dir(&target).map_err(|error| {
        let (name, why) = (target.as_os_str().as_bytes(), system(&error));
        fault(&[b"Couldn't change local directory to \"", name, b"\": ", why.as_bytes()])
    })
}

/// Runs a command in the user's shell, or the shell itself.
fn shell(command: &[u8]) {
    let shell = crate::support::home::shell();
    let mut process = Process::new(&shell);
    if !command.is_empty() {
        process.arg("-c").arg(local(command));
    }
    match process.status() {
        Ok(status) if status.success() => {}
        Ok(status) => match status.code() {
            Some(code) => complain(&[b"Shell exited with status ", code.to_string().as_bytes()]),
            None => complain(&[b"Shell exited abnormally"]),
        },
        Err(error) => {
            let why = system(&error);
            complain(&[b"Couldn't execute \"", shell.as_bytes(), b"\": ", why.as_bytes()]);
        }
    }
}
