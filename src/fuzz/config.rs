//! Configurations that anybody may have written, in a world that answers what the input says.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Input;
use crate::config::{Environment, ForwardRule, SSHConfig};

/// A world without much in it.
#[derive(Debug)]
struct World {
    /// What every file holds.
    file: Vec<u8>,
    /// Whether commands succeed, and names have addresses.
    yes: bool,
}

impl Environment for World {
    fn variable(&self, name: &str) -> Option<String> {
        self.yes.then(|| name.to_lowercase())
    }
    fn home(&self) -> Option<String> {
        Some("/home/me".to_owned())
    }
    fn home_of(&self, user: &str) -> Option<String> {
        self.yes.then(|| format!("/home/{user}"))
    }
    fn user(&self) -> Option<String> {
        Some("me".to_owned())
    }
    fn uid(&self) -> u32 {
        1000
    }
    fn host_name(&self) -> String {
        "desk.example.org".to_owned()
    }
    fn addresses(&self) -> io::Result<Vec<IpAddr>> {
        Ok(vec![Ipv4Addr::LOCALHOST.into()])
    }
    fn resolve(&self, name: &str) -> Option<Option<String>> {
        self.yes.then(|| Some(format!("alias.{name}")))
    }
    fn succeeds(&self, _: &str) -> io::Result<bool> {
        Ok(self.yes)
    }
    fn read(&self, _: &Path, _: bool) -> io::Result<Vec<u8>> {
        Ok(self.file.clone())
    }
    fn matching(&self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        Ok(vec![PathBuf::from(pattern)])
    }
}

/// Whatever the lines are, they are read or refused. What was read can be shown, is the same when it is read
/// again, and no name in it that was given could be a command.
pub fn ssh_config(data: &[u8]) {
    let mut input = Input(data);
    let flags = input.byte();
    let host = String::from_utf8_lossy(input.piece(64)).into_owned();
    let file = input.piece(512).to_vec();
    let word = String::from_utf8_lossy(&file).into_owned();
    for rule in [ForwardRule::local(&word), ForwardRule::remote(&word), ForwardRule::dynamic(&word)] {
        assert!(rule.is_err() || !word.is_empty());
    }
    let world = Arc::new(World { file, yes: flags & 1 == 1 });
    let config = SSHConfig::within(input.0, flags & 2 == 2, world);
    let query = config.query(&host);
    let query = if flags & 4 == 4 { query.user(&word) } else { query };
    let Ok(found) = query.clone().lookup() else { return };
    let shell = |name: &str| name.contains(['`', ';', '|', '\n', '\0', '(']) || name.starts_with('-');
    assert!(!shell(found.original_host()));
    assert!(flags & 4 == 0 || !shell(found.user()));
    let lines = found.lines();
    assert!(lines.iter().all(|line| !line.contains('\n')) || flags & 1 == 1);
    assert!(query.lookup().is_ok_and(|again| again.lines() == lines));
    let _ =
        (found.identity_files(), found.certificate_files(), found.proxy_command(), found.local_command(None));
    let _ = (found.local_forwards(), found.remote_forwards(), found.dynamic_forwards(), found.environment());
}
