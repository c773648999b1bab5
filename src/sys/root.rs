//! Paths below a directory that they cannot leave: its `..` is itself, and what a link says is looked up
//! below it too, as after chroot(2).
//!
//! On Linux the kernel walks (openat2); where it cannot, we do, component by component in directories held
//! open. The last component is left to the caller, with the directory it is in. Knows nothing of SFTP.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::dir::Dir;
use super::entry::Kind;

/// Links that one path may lead through: Linux's figure.
const LINKS: usize = 40;
/// The longest path, also when links are put into it: Linux's PATH_MAX.
const LENGTH: usize = 4096;
/// Directories that a walk of ours holds open at once: the deepest path, half of what a system lets a
/// program open at least.
const DEPTH: usize = 512;

/// A directory that nothing below it leads out of.
#[derive(Debug)]
pub(crate) struct Root {
    dir: Dir,
    /// Whether the kernel is known to do without openat2, or shall.
    walks: AtomicBool,
}

/// A place below a root: a directory and a name in it, which is `.` for the directory itself.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) dir: Dir,
    pub(crate) name: OsString,
}

/// Where a walk has come to.
struct Walk {
    /// The directories from the root down, which is not among them, with their names.
    below: Vec<(OsString, Dir)>,
    /// The name in the last of them; none for itself.
    last: Option<OsString>,
}

impl Root {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { dir: Dir::open(path)?, walks: AtomicBool::new(cfg!(not(target_os = "linux"))) })
    }

    /// Walks itself instead of asking the kernel.
    #[cfg(test)]
    pub(crate) fn walking(self) -> Self {
        self.walks.store(true, Ordering::Relaxed);
        self
    }

    /// The place of a path, which begins at the root. Links on the way are followed; a link at the end is
    /// the place itself.
    pub(crate) fn place(&self, path: &[u8]) -> io::Result<Place> {
        checked(path)?;
        if self.walks.load(Ordering::Relaxed) {
            return self.walked(path);
        }
        #[cfg(target_os = "linux")]
        match self.looked_up(path) {
            // No such call, or a sandbox that knows it not.
            Err(error) if matches!(error.raw_os_error(), Some(NOSYS | PERM)) => {
                self.walks.store(true, Ordering::Relaxed);
            }
            other => return other,
        }
        self.walked(path)
    }

    /// The place of a path, links at its end followed. It may be one where nothing is.
    pub(crate) fn place_following(&self, path: &[u8]) -> io::Result<Place> {
        let mut path = path.to_vec();
        for _ in 0..LINKS {
            let place = self.place(&path)?;
            match place.dir.read_link(&place.name) {
                Ok(target) => path = redirected(&path, target.as_bytes()),
                // No link, or nothing at all.
                Err(_) => return Ok(place),
            }
        }
        Err(too_many_links())
    }

    /// The path without links, `.` and `..`. What the last component says need not be there.
    pub(crate) fn canonical(&self, path: &[u8]) -> io::Result<Vec<u8>> {
        checked(path)?;
        let mut canonical = Vec::new();
        let walk = self.walk(path, true)?;
        for name in walk.below.iter().map(|(name, _)| name).chain(&walk.last) {
            canonical.push(b'/');
            canonical.extend_from_slice(name.as_bytes());
        }
        if canonical.is_empty() {
            canonical.push(b'/');
        }
        Ok(canonical)
    }

    #[cfg(target_os = "linux")]
    fn looked_up(&self, path: &[u8]) -> io::Result<Place> {
        use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
        use rustix::io::Errno;

        let (above, last) = split(path);
        let above = if above.is_empty() { b"." } else { above };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        // Somebody renamed something on the way: once more, but not for ever.
        for _ in 0..LINKS {
            match openat2(&self.dir, OsStr::from_bytes(above), flags, Mode::empty(), inside) {
                Err(Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
                Ok(held) => return Ok(Place { dir: Dir::holding(held).with_paths(), name: last.into() }),
            }
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    fn walked(&self, path: &[u8]) -> io::Result<Place> {
        let Walk { mut below, last } = self.walk(path, false)?;
        let dir = below.pop().map_or_else(|| self.dir.try_clone(), |(_, dir)| Ok(dir))?;
        Ok(Place { dir: dir.with_paths(), name: last.unwrap_or_else(|| ".".into()) })
    }

    /// Goes down a path, one component after another. Where it goes up again, it goes back to the directory
    /// it came from, not to whatever `..` means by now.
    fn walk(&self, path: &[u8], follow: bool) -> io::Result<Walk> {
        let mut walk = Walk { below: Vec::new(), last: None };
        let mut left = components(path);
        let mut links = 0_usize;
        while let Some(name) = left.pop() {
            match name.as_bytes() {
                b"" | b"." => continue,
                b".." => {
                    walk.below.pop();
                    continue;
                }
                _ => {}
            }
            let above = walk.below.last().map_or(&self.dir, |(_, dir)| dir);
            // Slashes at the end change nothing; a dot there asks for a directory.
            let last = left.iter().all(|name| name.is_empty());
            let there = match above.stat(&name) {
                Ok(there) => there.kind,
                Err(error) if last && error.kind() == io::ErrorKind::NotFound => Kind::Other,
                Err(error) => return Err(error),
            };
            if there == Kind::Symlink && (follow || !last) {
                links = links.saturating_add(1);
                let target = above.read_link(&name)?;
                if links > LINKS || target.len() > LENGTH {
                    return Err(too_many_links());
                }
                if target.as_bytes().starts_with(b"/") {
                    walk.below.clear();
                }
                left.extend(components(target.as_bytes()));
            } else if last {
                walk.last = Some(name);
            } else if walk.below.len() < DEPTH {
                let dir = above.open_dir(&name)?;
                walk.below.push((name, dir));
            } else {
                return Err(io::ErrorKind::InvalidFilename.into());
            }
        }
        Ok(walk)
    }
}

#[cfg(target_os = "linux")]
const NOSYS: i32 = rustix::io::Errno::NOSYS.raw_os_error();
#[cfg(target_os = "linux")]
const PERM: i32 = rustix::io::Errno::PERM.raw_os_error();

fn too_many_links() -> io::Error {
    // The kind that std has for it is not yet stable.
    rustix::io::Errno::LOOP.into()
}

fn checked(path: &[u8]) -> io::Result<()> {
    if path.is_empty() {
        Err(io::ErrorKind::NotFound.into())
    } else if path.len() > LENGTH || path.contains(&0) {
        Err(io::ErrorKind::InvalidFilename.into())
    } else {
        Ok(())
    }
}

/// The components, the first at the end.
fn components(path: &[u8]) -> Vec<OsString> {
    path.split(|byte| *byte == b'/').rev().map(|name| OsString::from_vec(name.to_vec())).collect()
}

/// A path as that of a directory and a name in it. What ends in `..` or `.` is a directory itself.
fn split(path: &[u8]) -> (&[u8], &OsStr) {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at.saturating_add(1));
    let path = path.get(..end).unwrap_or_default();
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    match name {
        b"" => (b"", OsStr::new(".")),
        b"." | b".." => (path, OsStr::new(".")),
        _ => (path.get(..path.len().saturating_sub(name.len())).unwrap_or_default(), OsStr::from_bytes(name)),
    }
}

/// The path that is meant where `path` is a link that says `target`.
fn redirected(path: &[u8], target: &[u8]) -> Vec<u8> {
    if target.starts_with(b"/") {
        return target.to_vec();
    }
    let (above, _) = split(path);
    [above, target].concat()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::sys::entry::FileOptions;
    use crate::sys::file::tests::Directory;

    /// A root with links of all kinds beside a secret, and the root as the kernel and as we walk it.
    fn roots() -> (Directory, [Root; 2]) {
        let directory = Directory::new();
        let at = |name: &str| directory.file(name);
        fs::create_dir_all(at("root/a/b")).unwrap();
        fs::create_dir_all(at("root/secret")).unwrap();
        fs::write(at("root/a/file"), "inside").unwrap();
        fs::write(at("root/secret/file"), "decoy").unwrap();
        fs::create_dir(at("secret")).unwrap();
        fs::write(at("secret/file"), "secret").unwrap();
        symlink("../../secret", at("root/up")).unwrap();
        symlink(at("secret"), at("root/absolute")).unwrap();
        symlink("/a", at("root/a/b/top")).unwrap();
        symlink("loop", at("root/loop")).unwrap();
        symlink("a/../a/b/top/file", at("root/chain")).unwrap();
        symlink("new", at("root/dangling")).unwrap();
        let root = || Root::open(&at("root")).unwrap();
        let both = [root(), root().walking()];
        (directory, both)
    }

    fn read(root: &Root, path: &str) -> io::Result<String> {
        let place = root.place_following(path.as_bytes())?;
        let file = place.dir.open_file(&place.name, &FileOptions::reading())?;
        io::read_to_string(file)
    }

    #[test]
    fn nothing_leads_out() {
        let (_directory, roots) = roots();
        for root in &roots {
            for inside in
                ["/a/file", "a/file", "//a//./b/../file", "/../../a/file", "chain", "a/b/top/b/../file"]
            {
                assert_eq!(read(root, inside).unwrap(), "inside", "{inside}");
            }
            // Where a link leads outside, the same path inside is meant.
            for decoy in ["up/file", "secret/file", "../secret/file", "a/../../secret/file"] {
                assert_eq!(read(root, decoy).unwrap(), "decoy", "{decoy}");
            }
            for missing in ["absolute/file", "none", "none/file", "a/file/x", ""] {
                let error = read(root, missing).unwrap_err().kind();
                assert!(matches!(error, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory), "{missing}");
            }
            assert!(read(root, "loop").is_err() && read(root, "loop/x").is_err());
            assert!(root.place(&b"x/".repeat(3000)).is_err() && root.place(b"a\0b").is_err());
        }
    }

    #[test]
    fn places_are_directories_and_names() {
        let (_directory, roots) = roots();
        for root in &roots {
            for (path, name) in [
                ("/", "."),
                (".", "."),
                ("..", "."),
                ("a/..", "."),
                ("a/b/", "b"),
                ("a/new", "new"),
                ("up", "up"),
                ("up/", "up"),
                ("up/.", "."),
                ("dangling", "dangling"),
            ] {
                assert_eq!(root.place(path.as_bytes()).unwrap().name, name, "{path}");
            }
            assert_eq!(root.place_following(b"dangling").unwrap().name, "new");
            // The root is nobody's entry.
            for path in ["/", "..", "a/..", "."] {
                let place = root.place(path.as_bytes()).unwrap();
                assert!(place.dir.remove_dir(&place.name).is_err(), "{path}");
                let to = root.place(b"elsewhere").unwrap();
                assert!(place.dir.rename(&place.name, &to.dir, &to.name).is_err(), "{path}");
            }
        }
    }

    #[test]
    fn paths_are_made_plain() {
        let (_directory, roots) = roots();
        for (path, plain) in [
            ("/", "/"),
            ("..", "/"),
            ("a/./b/..", "/a"),
            ("chain", "/a/file"),
            ("up", "/secret"),
            ("a/b/top/b", "/a/b"),
            ("a/new", "/a/new"),
            ("a/b/", "/a/b"),
            ("dangling", "/new"),
        ] {
            assert_eq!(roots[0].canonical(path.as_bytes()).unwrap(), plain.as_bytes(), "{path}");
        }
        for path in ["none/x", "none/.", "loop", "a/file/."] {
            assert!(roots[0].canonical(path.as_bytes()).is_err(), "{path}");
        }
    }
}
