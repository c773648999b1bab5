//! What is said to the user, in OpenSSH's words and with its escapes: names come from a server and are any
//! bytes.

use std::env;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use feramiko::{Error, SFTPStatus};

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The user has been told.
    Told,
    /// Nothing more can be done: the program ends with this.
    Fatal(String),
}

pub(crate) type Done<T = ()> = Result<T, Fault>;

static QUIET: AtomicBool = AtomicBool::new(false);

/// `-q`: no remarks, errors only.
pub(crate) fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// A line on standard output.
pub(crate) fn say(parts: &[&[u8]]) {
    print(&shown(&parts.concat()));
    print(b"\n");
}

/// Something on standard output, as it is.
pub(crate) fn print(bytes: &[u8]) {
    if io::stdout().write_all(bytes).is_err() {
        // Nobody reads it any more.
        std::process::exit(1);
    }
}

/// A line on standard error.
pub(crate) fn complain(parts: &[&[u8]]) {
    let mut line = safe(&parts.concat());
    line.extend_from_slice(b"\r\n");
    // Where it cannot be told, nobody can be told that either.
    let _ = io::stderr().write_all(&line);
}

/// A line on standard error that is no error.
pub(crate) fn remark(parts: &[&[u8]]) {
    if !QUIET.load(Ordering::Relaxed) {
        complain(parts);
    }
}

/// Complains; the fault that says so.
pub(crate) fn fault(parts: &[&[u8]]) -> Fault {
    complain(parts);
    Fault::Told
}

/// What an error of the library means for a command: the words for a server's refusal, else the fault: the
/// end of all, but for what the user has given up.
pub(crate) fn refused(error: &Error) -> Result<&'static str, Fault> {
    match error {
        Error::Sftp(refusal) => Ok(words(refusal.status)),
        Error::Unsupported(_) => Ok(words(SFTPStatus::OP_UNSUPPORTED)),
        Error::Closed(None) => Err(Fault::Fatal("Connection closed".to_owned())),
        // The user knows.
        Error::Cancelled => Err(Fault::Told),
        other => Err(Fault::Fatal(other.to_string())),
    }
}

/// OpenSSH's words for a status.
fn words(status: SFTPStatus) -> &'static str {
    match status {
        SFTPStatus::OK => "No error",
        SFTPStatus::EOF => "End of file",
        SFTPStatus::NO_SUCH_FILE => "No such file or directory",
        SFTPStatus::PERMISSION_DENIED => "Permission denied",
        SFTPStatus::FAILURE => "Failure",
        SFTPStatus::BAD_MESSAGE => "Bad message",
        SFTPStatus::NO_CONNECTION => "No connection",
        SFTPStatus::CONNECTION_LOST => "Connection lost",
        SFTPStatus::OP_UNSUPPORTED => "Operation unsupported",
        _ => "Unknown status",
    }
}

/// The system's words without the number that Rust puts behind them.
pub(crate) fn system(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(end) if error.raw_os_error().is_some() => text[..end].to_owned(),
        _ => text,
    }
}

/// Whether the terminal shows UTF-8.
fn utf8() -> bool {
    static UTF8: OnceLock<bool> = OnceLock::new();
    *UTF8.get_or_init(|| {
        let set = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(env::var_os);
        let locale = set.into_iter().find(|value| !value.is_empty()).unwrap_or_default();
        let locale = locale.to_string_lossy().to_ascii_lowercase();
        locale.ends_with("utf-8") || locale.ends_with("utf8")
    })
}

/// Bytes so that they do a terminal no harm: what it cannot show, in octal.
pub(crate) fn shown(bytes: &[u8]) -> Vec<u8> {
    shown_as(bytes, utf8())
}

fn shown_as(bytes: &[u8], utf8: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            let plain = !letter.is_control() && (utf8 || letter.is_ascii());
            let mut buffer = [0; 4];
            let encoded = letter.encode_utf8(&mut buffer).as_bytes();
            if plain || matches!(letter, '\n' | '\r' | '\t') {
                out.extend_from_slice(encoded);
            } else {
                encoded.iter().for_each(|byte| octal(*byte, &mut out));
            }
        }
        chunk.invalid().iter().for_each(|byte| octal(*byte, &mut out));
    }
    out
}

fn octal(byte: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("\\{byte:03o}").as_bytes());
}

/// The same for errors, where a backslash is doubled and nothing but ASCII is shown.
fn safe(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b' '..=b'~' | b'\n' | b'\t' | b'\r' | 7 | 8 => out.push(*byte),
            byte => octal(*byte, &mut out),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_a_terminal_no_harm() {
        assert_eq!(shown_as(b"a\xc3\xa4\x1b\xff\\\t", true), b"a\xc3\xa4\\033\\377\\\t");
        assert_eq!(shown_as("aä".as_bytes(), false), b"a\\303\\244");
        assert_eq!(safe("aä\x1b\\ b\n".as_bytes()), b"a\\303\\244\\033\\\\ b\n");
    }

    #[test]
    fn the_system_s_words() {
        assert_eq!(system(&io::Error::from_raw_os_error(2)), "No such file or directory");
        assert_eq!(system(&io::Error::other("odd")), "odd");
    }
}
