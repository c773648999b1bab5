//! The entries of a directory with their lines of `ls -l`, and the names of users and groups in them.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use super::attributes;
use crate::sftp::packet::long::Long;
use crate::sftp::packet::{RemoteName, SFTPEntry, SFTPTime};
use crate::sftp::server::refusal::SFTPResult;
use crate::sys::dir::Entries;
use crate::sys::entry::Stat;
use crate::sys::user;

/// Half a year in seconds, as `ls` has it: half of 365.2425 days.
const HALF_YEAR: i64 = 31_556_952 / 2;
/// Names that are kept; more are looked up again.
const NAMES: usize = 4096;

/// Names by numbers, as the system has told them. Numbers without a name stand for themselves.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Guards the names; taken for one look-up.
    users: Mutex<HashMap<u32, Arc<str>>>,
    groups: Mutex<HashMap<u32, Arc<str>>>,
}

impl Names {
    fn user(&self, number: u32) -> Arc<str> {
        Self::name(&self.users, number, user::user_name)
    }

    fn group(&self, number: u32) -> Arc<str> {
        Self::name(&self.groups, number, user::group_name)
    }

    fn name(
        known: &Mutex<HashMap<u32, Arc<str>>>,
        number: u32,
        ask: impl FnOnce(u32) -> Option<String>,
    ) -> Arc<str> {
        if let Some(name) = known.lock().get(&number) {
            return Arc::clone(name);
        }
        let name: Arc<str> = ask(number).unwrap_or_else(|| number.to_string()).into();
        let mut known = known.lock();
        if known.len() >= NAMES {
            known.clear();
        }
        known.insert(number, Arc::clone(&name));
        name
    }
}

/// The entries, `.` and `..` first, each looked at when it is asked for.
pub(super) struct Listing {
    /// The last first.
    dots: Vec<(&'static str, Stat)>,
    entries: Entries,
    names: Arc<Names>,
    now: i64,
}

impl Listing {
    pub(super) fn new(here: Stat, above: Stat, entries: Entries, names: Arc<Names>) -> Self {
        let now = SFTPTime::from(SystemTime::now()).seconds;
        Self { dots: vec![("..", above), (".", here)], entries, names, now }
    }

    fn entry(&self, name: &[u8], stat: &Stat) -> SFTPEntry {
        let attributes = attributes(stat);
        let (user, group) = (self.names.user(stat.owner.0), self.names.group(stat.owner.1));
        let recent = self.now.saturating_sub(HALF_YEAR)..=self.now;
        let long = Long { links: Some(stat.links), user: &user, group: &group, recent: Some(recent) };
        let mut line = long.show(&attributes).into_bytes();
        line.push(b' ');
        line.extend_from_slice(name);
        SFTPEntry::new(name, attributes).with_longname(RemoteName::from(line))
    }
}

impl Iterator for Listing {
    type Item = SFTPResult<SFTPEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some((name, stat)) = self.dots.pop() {
            return Some(Ok(self.entry(name.as_bytes(), &stat)));
        }
        loop {
            let name = match self.entries.next()? {
                Ok((name, _)) => name,
                Err(error) => return Some(Err(error.into())),
            };
            // What is gone by now was not there.
            if let Ok(stat) = self.entries.stat(&name) {
                return Some(Ok(self.entry(name.as_bytes(), &stat)));
            }
        }
    }
}
