//! The system's list of passwords, shadow(5): which accounts are locked or have expired. Passwords are not
//! looked at.

use std::io;
use std::path::Path;

use zeroize::Zeroizing;

use super::file::read_regular;

/// Where Linux keeps it. Only root may read it.
const SHADOW: &str = "/etc/shadow";
/// No list is larger: a hundred thousand accounts.
const FILE: u64 = 16 * 1024 * 1024;
/// In front of the password of a locked account, as usermod(8) and OpenSSH have it on Linux.
const LOCKED: u8 = b'!';
/// Fields that count: the password is the second, the day of expiry the eighth.
const PASSWORD: usize = 1;
const EXPIRES: usize = 7;

/// Why nobody may log in to an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    Locked,
    Expired,
    /// The list is there, and cannot be read.
    Unknown,
}

/// Whether the account is closed on that day, counted from 1970. An account of which the list says nothing is
/// open, and so are all where there is no list, or none that we may read: whoever may not read it serves nobody
/// but himself.
pub(crate) fn closed(name: &str, today: u64) -> Option<Closed> {
    closed_at(Path::new(SHADOW), name, today)
}

fn closed_at(path: &Path, name: &str, today: u64) -> Option<Closed> {
    match read_regular(path, FILE).map(Zeroizing::new) {
        Ok(list) => closed_in(&list, name, today),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
            None
        }
        Err(error) => {
            log::error!(target: "feramiko::server", "{}: {error}", path.display());
            Some(Closed::Unknown)
        }
    }
}

fn closed_in(list: &[u8], name: &str, today: u64) -> Option<Closed> {
    let line = list
        .split(|byte| *byte == b'\n')
        .find(|line| line.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&b':')))?;
    let fields: Vec<_> = line.split(|byte| *byte == b':').collect();
    if fields.get(PASSWORD)?.first() == Some(&LOCKED) {
        return Some(Closed::Locked);
    }
    let expires = std::str::from_utf8(fields.get(EXPIRES)?).ok()?.parse::<u64>().ok()?;
    (today > expires).then_some(Closed::Expired)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_cannot_be_read_lets_nobody_in() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(closed_at(folder.path(), "me", 1), Some(Closed::Unknown));
        assert_eq!(closed_at(&folder.path().join("none"), "me", 1), None);
        let list = folder.path().join("list");
        std::fs::write(&list, "me:!:1").unwrap();
        assert_eq!(closed_at(&list, "me", 1), Some(Closed::Locked));
    }

    #[test]
    fn locked_and_expired_accounts() {
        let list = b"open:*:19000:0:99999:7:::\nlocked:!:19000::::::\nalso:!$y$x:19000:0:99999:7:::\n\
                     past:*:19000:0:99999:7::100:\nshort:*\nodd:*:::::::x:\nlast:*:1:2:3:4:5:7:";
        let closed = |name: &str, today| closed_in(list, name, today);
        assert_eq!((closed("open", 20000), closed("nobody", 1)), (None, None));
        assert_eq!((closed("locked", 1), closed("also", 1)), (Some(Closed::Locked), Some(Closed::Locked)));
        assert_eq!((closed("past", 100), closed("past", 101)), (None, Some(Closed::Expired)));
        assert_eq!((closed("short", 1), closed("odd", 1), closed("ope", 1)), (None, None, None));
        assert_eq!(closed("last", 8), Some(Closed::Expired));
        for cut in 0..list.len() {
            closed_in(&list[..cut], "last", 8);
        }
    }
}
