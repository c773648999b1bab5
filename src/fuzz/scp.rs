//! Copies by SCP: what a side says that was asked for files, and what a client asks of our server.

use std::fs;
use std::io::{self, Cursor, Read, Write};
use std::path::{Path, PathBuf};

use crate::scp::{SCPClient, SCPServer};

/// A side that says what it says, whatever it hears.
struct Script(Cursor<Vec<u8>>);

impl Read for Script {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Script {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A directory that files may come into, in one that none may.
struct Places(PathBuf);

impl Places {
    fn new(name: &str) -> io::Result<Self> {
        let thread = format!("{:?}", std::thread::current().id());
        let digits: String = thread.chars().filter(char::is_ascii_digit).collect();
        let path = std::env::temp_dir().join(format!("feramiko-{name}-{}-{digits}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("in"))?;
        fs::write(path.join("in/there"), "there")?;
        Ok(Self(path))
    }

    fn inside(&self) -> PathBuf {
        self.0.join("in")
    }

    /// Nothing came but what lies in the one directory.
    fn check(&self) {
        let names: Vec<_> = names(&self.0);
        assert!(names == ["in"], "{names:?}");
    }
}

fn names(path: &Path) -> Vec<std::ffi::OsString> {
    fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect()
}

impl Drop for Places {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whatever a server sends for a file that was asked for: it stays where it was to go, under the names that
/// were asked for. The first byte says what was asked.
pub fn scp_client(data: &[u8]) {
    let Some((asked, says)) = data.split_first() else { return };
    let Ok(places) = Places::new("scp-client") else { return };
    let says = says.to_vec();
    let client = SCPClient::over(move |_| Ok(Script(Cursor::new(says.clone()))));
    let bit = |number: u8| asked & (1 << number) != 0;
    let client = client.recursive(bit(0)).preserve(bit(1)).expand(bit(2)).max_entries(1000);
    let inside = places.inside();
    // What comes of it is the server's affair.
    let _ = match asked >> 6 {
        0 => client.get(if bit(2) { "dir/[a-f]*" } else { "dir/file" }, &inside),
        1 => client.get("file", inside.join("named")),
        2 => client.getfo("file", &mut io::sink()),
        _ => client.put(&inside, "target"),
    };
    places.check();
    for name in names(&inside) {
        let name = name.to_string_lossy().into_owned();
        let asked_for =
            if bit(2) { name.starts_with(|first| ('a'..='f').contains(&first)) } else { name == "file" };
        assert!(asked_for || name == "there" || name == "named", "{name}");
    }
}

/// Whatever a client asks and sends: nothing leaves the root. The command ends with its line.
pub fn scp_server(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (command, says) = data.split_at(end);
    let Ok(places) = Places::new("scp-server") else { return };
    let stream = Script(Cursor::new(says.get(1..).unwrap_or_default().to_vec()));
    let _ = SCPServer::new(places.inside()).serve(command, stream);
    places.check();
}
