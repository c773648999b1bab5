//! The commands: their names, options and arguments.

use crate::words::{split, without_pattern};

/// What a word of a command names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    Nothing,
    Remote,
    Local,
}

use Names::{Local, Nothing, Remote};

/// All commands, with what their first and second words name.
pub(crate) const COMMANDS: &[(&str, Names, Names)] = &[
    ("bye", Nothing, Nothing),
    ("cd", Remote, Nothing),
    ("chdir", Remote, Nothing),
    ("chgrp", Remote, Nothing),
    ("chmod", Remote, Nothing),
    ("chown", Remote, Nothing),
    ("copy", Remote, Local),
    ("cp", Remote, Local),
    ("df", Remote, Nothing),
    ("dir", Remote, Nothing),
    ("exit", Nothing, Nothing),
    ("get", Remote, Local),
    ("help", Nothing, Nothing),
    ("lcd", Local, Nothing),
    ("lchdir", Local, Nothing),
    ("lls", Local, Nothing),
    ("lmkdir", Local, Nothing),
    ("ln", Remote, Remote),
    ("lpwd", Local, Nothing),
    ("ls", Remote, Nothing),
    ("lumask", Nothing, Nothing),
    ("mkdir", Remote, Nothing),
    ("mget", Remote, Local),
    ("mput", Local, Remote),
    ("progress", Nothing, Nothing),
    ("put", Local, Remote),
    ("pwd", Remote, Nothing),
    ("quit", Nothing, Nothing),
    ("reget", Remote, Local),
    ("rename", Remote, Remote),
    ("reput", Local, Remote),
    ("rm", Remote, Nothing),
    ("rmdir", Remote, Nothing),
    ("symlink", Remote, Remote),
    ("version", Nothing, Nothing),
    ("!", Nothing, Nothing),
    ("?", Nothing, Nothing),
];

pub(crate) const HELP: &str = "\
Available commands:
bye                                Quit sftp
cd path                            Change remote directory to 'path'
chgrp [-h] grp path                Change group of file 'path' to 'grp'
chmod [-h] mode path               Change permissions of file 'path' to 'mode'
chown [-h] own path                Change owner of file 'path' to 'own'
copy oldpath newpath               Copy remote file
cp oldpath newpath                 Copy remote file
df [-hi] [path]                    Display statistics for current directory or
                                   filesystem containing 'path'
exit                               Quit sftp
get [-afpR] remote [local]         Download file
help                               Display this help text
lcd path                           Change local directory to 'path'
lls [ls-options [path]]            Display local directory listing
lmkdir path                        Create local directory
ln [-s] oldpath newpath            Link remote file (-s for symlink)
lpwd                               Print local working directory
ls [-1afhlnrSt] [path]             Display remote directory listing
lumask umask                       Set local umask to 'umask'
mkdir path                         Create remote directory
progress                           Toggle display of progress meter
put [-afpR] local [remote]         Upload file
pwd                                Display remote working directory
quit                               Quit sftp
reget [-fpR] remote [local]        Resume download file
rename oldpath newpath             Rename remote file
reput [-fpR] local [remote]        Resume upload file
rm path                            Delete remote file
rmdir path                         Remove remote directory
symlink oldpath newpath            Symlink remote file
version                            Show SFTP version
!command                           Execute 'command' in local shell
!                                  Escape to local shell
?                                  Synonym for help
";

/// What is copied, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Copying {
    /// A pattern.
    pub(crate) from: Vec<u8>,
    pub(crate) to: Option<Vec<u8>>,
    pub(crate) resume: bool,
    pub(crate) sync: bool,
    pub(crate) preserve: bool,
    pub(crate) recursive: bool,
}

/// By what a listing is sorted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Sort {
    #[default]
    Name,
    Time,
    Size,
    Not,
}

/// How a listing looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) long: bool,
    pub(crate) single: bool,
    pub(crate) numeric: bool,
    pub(crate) human: bool,
    pub(crate) all: bool,
    pub(crate) reverse: bool,
    pub(crate) sort: Sort,
}

/// What is changed of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Mode(u32),
    Owner(u32),
    Group(u32),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Blank,
    Quit,
    Help,
    Version,
    Progress,
    Pwd,
    LocalPwd,
    Chdir(Option<Vec<u8>>),
    LocalChdir(Option<Vec<u8>>),
    Get(Copying),
    Put(Copying),
    Copy(Vec<u8>, Vec<u8>),
    Rename { from: Vec<u8>, to: Vec<u8>, legacy: bool },
    Link { from: Vec<u8>, to: Vec<u8>, symbolic: bool },
    Remove(Vec<u8>),
    Mkdir(Vec<u8>),
    Rmdir(Vec<u8>),
    LocalMkdir(Vec<u8>),
    List(Option<Vec<u8>>, View),
    Space { path: Option<Vec<u8>>, human: bool, inodes: bool },
    LocalList(Vec<u8>),
    Shell(Vec<u8>),
    Umask(u32),
    Change { change: Change, path: Vec<u8>, of_link: bool },
}

/// A line that was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// The command, or what is wrong with it.
    pub(crate) command: Result<Command, String>,
    /// `-`: a failure does not end a batch.
    pub(crate) forgiven: bool,
    /// `@`: it is not shown.
    pub(crate) silent: bool,
}

pub(crate) fn read(line: &[u8]) -> Line {
    let rest = line.trim_ascii_start();
    let end = rest.iter().position(|byte| !matches!(byte, b'-' | b'@')).unwrap_or(rest.len());
    let (marks, rest) = rest.split_at(end);
    let rest = rest.trim_ascii_start();
    Line { command: command(rest), forgiven: marks.contains(&b'-'), silent: marks.contains(&b'@') }
}

/// The row of a command.
pub(crate) fn find(name: &[u8]) -> Option<&'static (&'static str, Names, Names)> {
    COMMANDS.iter().find(|(known, ..)| known.as_bytes().eq_ignore_ascii_case(name))
}

fn command(rest: &[u8]) -> Result<Command, String> {
    if matches!(rest.first(), None | Some(b'#')) {
        return Ok(Command::Blank);
    }
    let words = split(rest, false)?.words;
    if let Some(shell) = rest.strip_prefix(b"!") {
        return Ok(Command::Shell(shell.to_vec()));
    }
    let (name, ..) = words.first().and_then(|name| find(name)).ok_or("Invalid command.")?;
    let args = Arguments { name, flags: Vec::new(), words: words.into_iter().skip(1).collect() };
    match *name {
        "bye" | "exit" | "quit" => args.alone(Command::Quit),
        "help" | "?" => args.alone(Command::Help),
        "version" => args.alone(Command::Version),
        "progress" => args.alone(Command::Progress),
        "pwd" => args.alone(Command::Pwd),
        "lpwd" => args.alone(Command::LocalPwd),
        "cd" | "chdir" => Ok(Command::Chdir(args.read("")?.optional())),
        "lcd" | "lchdir" => Ok(Command::LocalChdir(args.read("")?.optional())),
        "get" | "mget" | "reget" => Ok(Command::Get(args.copying()?)),
        "put" | "mput" | "reput" => Ok(Command::Put(args.copying()?)),
        "rm" => Ok(Command::Remove(args.read("")?.path(0)?.to_vec())),
        "mkdir" => Ok(Command::Mkdir(without_pattern(args.read("")?.path(0)?))),
        "rmdir" => Ok(Command::Rmdir(without_pattern(args.read("")?.path(0)?))),
        "lmkdir" => Ok(Command::LocalMkdir(without_pattern(args.read("")?.path(0)?))),
        "ls" | "dir" => args.read("1Safhlnrt")?.listing(),
        "lls" => Ok(Command::LocalList(rest[name.len()..].trim_ascii_start().to_vec())),
        "df" => {
            let args = args.read("hi")?;
            let (human, inodes) = (args.has('h'), args.has('i'));
            Ok(Command::Space { path: args.optional(), human, inodes })
        }
        "lumask" => Ok(Command::Umask(args.read("h")?.number(8)?)),
        "chmod" | "chown" | "chgrp" => args.read("h")?.change(),
        _ => args.pair(),
    }
}

struct Arguments {
    name: &'static str,
    flags: Vec<char>,
    words: Vec<Vec<u8>>,
}

impl Arguments {
    /// Reads the options, which stand before all else.
    fn read(mut self, known: &str) -> Result<Self, String> {
        let mut taken = 0;
        for word in &self.words {
            match word.strip_prefix(b"-") {
                None | Some(b"") => break,
                Some(b"-") => {
                    taken += 1;
                    break;
                }
                Some(letters) => {
                    taken += 1;
                    for letter in letters.iter().map(|byte| char::from(*byte)) {
                        if !known.contains(letter) {
                            return Err(format!("{}: Invalid flag -{letter}", self.name));
                        }
                        self.flags.push(letter);
                    }
                }
            }
        }
        self.words.drain(..taken);
        Ok(self)
    }

    fn has(&self, flag: char) -> bool {
        self.flags.contains(&flag)
    }

    fn alone(self, command: Command) -> Result<Command, String> {
        self.read("").map(|_| command)
    }

    fn optional(&self) -> Option<Vec<u8>> {
        self.words.first().map(|path| without_pattern(path))
    }

    fn path(&self, at: usize) -> Result<&[u8], String> {
        let path = self.words.get(at).map(Vec::as_slice);
        path.ok_or_else(|| format!("You must specify a path after a {} command.", self.name))
    }

    fn copying(self) -> Result<Copying, String> {
        let args = self.read("afPpRr")?;
        let from =
            args.words.first().cloned().ok_or_else(|| {
                format!("You must specify at least one path after a {} command.", args.name)
            })?;
        Ok(Copying {
            from,
            to: args.words.get(1).map(|path| without_pattern(path)),
            resume: args.has('a') || args.name.starts_with("re"),
            sync: args.has('f'),
            preserve: args.has('p') || args.has('P'),
            recursive: args.has('r') || args.has('R'),
        })
    }

    /// `copy`, `rename`, `ln` and `symlink`.
    fn pair(self) -> Result<Command, String> {
        let known = match self.name {
            "ln" => "s",
            "rename" => "l",
            _ => "",
        };
        let args = self.read(known)?;
        let [from, to, ..] = args.words.as_slice() else {
            return Err(format!("You must specify two paths after a {} command.", args.name));
        };
        let (from, to) = (without_pattern(from), without_pattern(to));
        Ok(match args.name {
            "rename" => Command::Rename { from, to, legacy: args.has('l') },
            "ln" => Command::Link { from, to, symbolic: args.has('s') },
            "symlink" => Command::Link { from, to, symbolic: true },
            _ => Command::Copy(from, to),
        })
    }

    fn listing(self) -> Result<Command, String> {
        let mut view = View::default();
        for flag in &self.flags {
            match flag {
                '1' => view = View { single: true, long: false, numeric: false, human: false, ..view },
                'l' => (view.long, view.single) = (true, false),
                'n' => (view.long, view.numeric, view.single) = (true, true, false),
                'h' => view.human = true,
                'a' => view.all = true,
                'r' => view.reverse = true,
                'S' => view.sort = Sort::Size,
                't' => view.sort = Sort::Time,
                _ => view.sort = Sort::Not,
            }
        }
        Ok(Command::List(self.words.into_iter().next(), view))
    }

    fn number(&self, base: u32) -> Result<u32, String> {
        let number = self.words.first().and_then(|word| number(word, base));
        number.ok_or_else(|| format!("You must supply a numeric argument to the {} command.", self.name))
    }

    fn change(self) -> Result<Command, String> {
        let change = match self.name {
            "chmod" => Change::Mode(self.number(8)?),
            "chown" => Change::Owner(self.number(0)?),
            _ => Change::Group(self.number(0)?),
        };
        let path = self.path(1)?.to_vec();
        Ok(Command::Change { change, path, of_link: self.has('h') })
    }
}

/// A number as strtoll(3) reads it; base 0 goes by its first letters.
fn number(word: &[u8], base: u32) -> Option<u32> {
    let word = std::str::from_utf8(word).ok()?.trim_ascii_start();
    let word = word.strip_prefix('+').unwrap_or(word);
    let (base, digits) = match (base, word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"))) {
        (0, Some(hexadecimal)) => (16, hexadecimal),
        (0, None) if word.len() > 1 && word.starts_with('0') => (8, word),
        (0, None) => (10, word),
        (base, _) => (base, word),
    };
    if digits.starts_with(['+', '-']) { None } else { u32::from_str_radix(digits, base).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(line: &str) -> Command {
        read(line.as_bytes()).command.unwrap()
    }

    fn wrong(line: &str) -> String {
        read(line.as_bytes()).command.unwrap_err()
    }

    #[test]
    fn commands_and_their_options() {
        assert_eq!(ok("  "), Command::Blank);
        assert_eq!(ok("# x"), Command::Blank);
        assert_eq!(ok("BYE"), Command::Quit);
        assert_eq!(ok("!ls -l 'x y'"), Command::Shell(b"ls -l 'x y'".to_vec()));
        assert_eq!(ok("lls -l  x"), Command::LocalList(b"-l  x".to_vec()));
        let copying = Copying { from: b"a\\*".to_vec(), to: Some(b"b*".to_vec()), ..Copying::default() };
        assert_eq!(ok("get 'a*' 'b*'"), Command::Get(copying));
        let copying = Copying { from: b"-a".to_vec(), resume: true, preserve: true, ..Copying::default() };
        assert_eq!(ok("reput -P -- -a"), Command::Put(copying));
        assert_eq!(ok("cd"), Command::Chdir(None));
        assert_eq!(ok("ln -s a b c"), Command::Link { from: b"a".into(), to: b"b".into(), symbolic: true });
        let view = View { long: true, numeric: true, all: true, sort: Sort::Time, ..View::default() };
        assert_eq!(ok("ls -1lnat x"), Command::List(Some(b"x".to_vec()), view));
        let change = Command::Change { change: Change::Mode(0o755), path: b"x".into(), of_link: true };
        assert_eq!(ok("chmod -h 0755 x"), change);
        assert_eq!(ok("lumask 22"), Command::Umask(0o22));
    }

    #[test]
    fn what_is_wrong_is_told_in_openssh_s_words() {
        for (line, expected) in [
            ("jajaja", "Invalid command."),
            ("get", "You must specify at least one path after a get command."),
            ("get -x a", "get: Invalid flag -x"),
            ("ls -z", "ls: Invalid flag -z"),
            ("rename a", "You must specify two paths after a rename command."),
            ("mkdir", "You must specify a path after a mkdir command."),
            ("chmod x y", "You must supply a numeric argument to the chmod command."),
            ("chmod 8 y", "You must supply a numeric argument to the chmod command."),
            ("chmod 644", "You must specify a path after a chmod command."),
            ("pwd -x", "pwd: Invalid flag -x"),
            ("get 'a", "Unterminated quoted argument"),
        ] {
            assert_eq!(wrong(line), expected, "{line}");
        }
    }

    #[test]
    fn marks_before_a_command() {
        let line = read(b" -@ rm x");
        assert_eq!((line.forgiven, line.silent), (true, true));
        assert_eq!(line.command, Ok(Command::Remove(b"x".to_vec())));
    }

    #[test]
    fn numbers() {
        for (word, base, expected) in [
            ("0x10", 0, Some(16)),
            ("010", 0, Some(8)),
            ("10", 0, Some(10)),
            ("0", 0, Some(0)),
            ("4294967295", 0, Some(u32::MAX)),
            ("4294967296", 0, None),
            ("-1", 0, None),
            ("+7", 8, Some(7)),
            ("", 8, None),
        ] {
            assert_eq!(number(word.as_bytes(), base), expected, "{word}");
        }
    }
}
