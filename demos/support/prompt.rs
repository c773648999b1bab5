//! Questions to the user: on the terminal, or through the program that SSH_ASKPASS names, by the
//! rules of ssh(1).

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};

use feramiko::Secret;

use super::terminal::{Mode, controlling};

/// As OpenSSH: nobody types a longer answer.
const LONGEST_ANSWER: usize = 1024;
/// Where Debian has the program that asks; SSH_ASKPASS names another.
const DEFAULT_ASKPASS: &str = "/usr/bin/ssh-askpass";

/// Whether the answer is shown while it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Echo {
    On,
    Off,
}

/// Where a question goes.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    Terminal,
    Program,
    Nowhere,
}

/// Chooses as ssh(1) says: SSH_ASKPASS_REQUIRE first, then the terminal, then the program if
/// there is a display for it.
fn way(require: Option<&OsStr>, display: bool, terminal: bool) -> Way {
    let require = require.map(OsStr::to_ascii_lowercase);
    let is = |word: &str| require.as_deref() == Some(OsStr::new(word));
    let program = match () {
        () if is("force") => return Way::Program,
        () if is("never") => false,
        () if is("prefer") && display => return Way::Program,
        () => display,
    };
    match (terminal, program) {
        (true, _) => Way::Terminal,
        (false, true) => Way::Program,
        (false, false) => Way::Nowhere,
    }
}

/// Whether somebody can be asked, wherever the standard streams lead.
pub(crate) fn somebody_there() -> bool {
    let require = env::var_os("SSH_ASKPASS_REQUIRE");
    way(require.as_deref(), display(), controlling().is_ok()) != Way::Nowhere
}

/// Asks the user; `None` when nobody can be asked or the answer is refused.
pub(crate) fn ask(question: &str, echo: Echo) -> io::Result<Option<Secret>> {
    let terminal = controlling();
    match (way(env::var_os("SSH_ASKPASS_REQUIRE").as_deref(), display(), terminal.is_ok()), terminal) {
        (Way::Terminal, Ok(terminal)) => ask_on(&terminal, question, echo).map(Some),
        (Way::Program, _) => ask_by(&askpass(), question, None),
        _ => Ok(None),
    }
}

/// Asks the user for a yes, only ever through the program: whoever wants to know has no terminal. Where
/// nobody can be asked it is a no.
pub(crate) fn permission(question: &str) -> bool {
    let require = env::var_os("SSH_ASKPASS_REQUIRE");
    // Without a terminal what is left is the program or nobody.
    if way(require.as_deref(), display(), false) != Way::Program {
        return false;
    }
    // The hint makes those that know it show two buttons instead of a field.
    let answer = ask_by(&askpass(), question, Some("confirm"));
    let yes = |answer: Secret| answer.expose().is_empty() || answer.expose().eq_ignore_ascii_case(b"yes");
    answer.ok().flatten().is_some_and(yes)
}

fn display() -> bool {
    ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| env::var_os(name).is_some())
}

fn askpass() -> OsString {
    env::var_os("SSH_ASKPASS").unwrap_or_else(|| DEFAULT_ASKPASS.into())
}

/// Asks on a terminal. The question may have words of a peer in it.
fn ask_on(mut terminal: &std::fs::File, question: &str, echo: Echo) -> io::Result<Secret> {
    let mode = match echo {
        Echo::Off => Some(Mode::without_echo(terminal)?),
        Echo::On => None,
    };
    terminal.write_all(shown(question).as_bytes())?;
    let answer = first_line(&mut terminal)?;
    if mode.is_some() {
        // The user's own line end was not shown either.
        terminal.write_all(b"\n")?;
    }
    Ok(answer)
}

/// Asks through a program that gets the question as its argument and prints the answer.
fn ask_by(program: &OsStr, question: &str, hint: Option<&str>) -> io::Result<Option<Secret>> {
    let mut child = Command::new(program)
        .arg(shown(question))
        .envs(hint.map(|hint| ("SSH_ASKPASS_PROMPT", hint)))
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", program.display())))?;
    let answer = child.stdout.take().map(|mut output| first_line(&mut output));
    // A failing status means that the user has cancelled.
    if child.wait()?.success() { answer.transpose() } else { Ok(None) }
}

/// Reads up to the end of a line, byte by byte: what follows is somebody else's.
fn first_line(source: &mut impl Read) -> io::Result<Secret> {
    let mut answer = zeroize::Zeroizing::new(Vec::with_capacity(LONGEST_ANSWER));
    let mut byte = [0];
    while answer.len() < LONGEST_ANSWER && source.read(&mut byte)? == 1 && !matches!(byte[0], b'\n' | b'\r') {
        answer.push(byte[0]);
    }
    Ok(Secret::from(&**answer))
}

/// A question with nothing in it that moves the cursor.
fn shown(question: &str) -> String {
    let plain = |letter: char| !letter.is_control() || matches!(letter, '\n' | '\t');
    question.chars().map(|letter| if plain(letter) { letter } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_is_chosen_as_ssh_chooses() {
        for (require, display, terminal, expected) in [
            (None, false, true, Way::Terminal),
            (None, true, true, Way::Terminal),
            (None, true, false, Way::Program),
            (None, false, false, Way::Nowhere),
            (Some("force"), false, true, Way::Program),
            (Some("FORCE"), false, false, Way::Program),
            (Some("prefer"), true, true, Way::Program),
            (Some("prefer"), false, true, Way::Terminal),
            (Some("never"), true, true, Way::Terminal),
            (Some("never"), true, false, Way::Nowhere),
            (Some("odd"), false, true, Way::Terminal),
        ] {
            assert_eq!(way(require.map(OsStr::new), display, terminal), expected, "{require:?}");
        }
    }

    #[test]
    fn an_answer_ends_with_its_line() {
        let mut source = &b"one\ntwo\r\nthree"[..];
        assert!(first_line(&mut source).unwrap().matches("one"));
        assert!(first_line(&mut source).unwrap().matches("two"));
        assert!(first_line(&mut source).unwrap().matches(""));
        assert!(first_line(&mut source).unwrap().matches("three"));
        assert_eq!(first_line(&mut &[b'x'; 5000][..]).unwrap().expose().len(), LONGEST_ANSWER);
    }

    #[test]
    fn a_program_answers_or_refuses() {
        // echo prints the question back.
        assert!(
            ask_by(OsStr::new("/bin/echo"), "Password\x07: ", None).unwrap().unwrap().matches("Password?: ")
        );
        assert!(ask_by(OsStr::new("/bin/false"), "x", None).unwrap().is_none());
        assert!(
            ask_by(OsStr::new("/no/such/askpass"), "x", None).unwrap_err().to_string().contains("askpass")
        );
    }
}
