//! What directories say of files, and how files are opened in them, on every system.

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
    /// A FIFO, a socket, a device: the mode tells which.
    Other,
}

/// Seconds since 1970 and nanoseconds beyond them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Time {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}

/// What is known of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) kind: Kind,
    /// The whole POSIX mode, with the bits of the kind.
    pub(crate) mode: u32,
    pub(crate) size: u64,
    /// The numbers of the user and the group; 0 where the system has none.
    pub(crate) owner: (u32, u32),
    pub(crate) accessed: Time,
    pub(crate) modified: Time,
    /// Hard links.
    pub(crate) links: u64,
    /// What tells it from every other file: its device and its number there; 0 where the system has none.
    pub(crate) file: (u64, u64),
}

/// How a file is opened.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FileOptions {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) append: bool,
    pub(crate) create: bool,
    pub(crate) truncate: bool,
    /// With `create`: it must not be there.
    pub(crate) exclusive: bool,
    /// The permissions of a file that is made, less the umask.
    pub(crate) mode: u32,
}

impl FileOptions {
    /// For reading.
    pub(crate) fn reading() -> Self {
        Self { read: true, ..Self::default() }
    }

    /// For writing to a new file, which must not be there.
    pub(crate) fn making(mode: u32) -> Self {
        Self { write: true, create: true, exclusive: true, mode, ..Self::default() }
    }
}
