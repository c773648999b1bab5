//! The keywords of sshd_config(5), as a table: what their values look like, what holds without them, where they
//! may stand, and what is built of them. The order is that of `sshd -T`.

use Built::{Idle, No, Yes};
use Scope::{Anywhere, Global};
use Shape::{
    Algorithms, Choice, Commands, Deprecated, Each, EachWord, Flag, List, Number, Octal, Rest, Time, Word,
};

use feramiko::TrafficClasses;

use crate::support::given::{choice, interval_of, number, rekey, time, yes};
use crate::tokens::expand;

/// What a value looks like.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// `yes` or `no`.
    Flag,
    /// One of these words; behind `=` stands how it is shown, if not as it is.
    Choice(&'static [&'static str]),
    Number {
        least: u32,
    },
    /// Permissions.
    Octal,
    /// A time in seconds; whether it may be `none`.
    Time {
        none: bool,
    },
    /// One word, checked as it is said here.
    Word(fn(&str) -> Result<(), String>),
    /// The rest of the line as it is.
    Rest,
    /// A program with its arguments: the rest of the line, which begins with `/` or is `none`.
    Commands,
    /// Words of one line.
    List(fn(&[String]) -> Result<(), String>),
    /// One word a line; all lines count.
    Each,
    /// Words; those of all lines count.
    EachWord,
    /// A list of algorithms.
    Algorithms,
    /// Meant something once; whatever stands there is let pass, and said in the log.
    Deprecated,
}

/// Where a keyword may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Before the first Match; for some, as LogLevel, only here.
    Global,
    /// Behind a Match too.
    Anywhere,
}

/// What is built of a keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Built {
    Yes,
    /// Nothing; who relies on it loses no security. It is said in the log.
    Idle,
    /// Nothing, and not to know it would weaken security, or keep the server from what it is for.
    No,
}

#[derive(Debug)]
pub(crate) struct Keyword {
    /// In lower case.
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    /// What holds without the keyword; words with blanks between them.
    pub(crate) default: &'static str,
    pub(crate) scope: Scope,
    pub(crate) built: Built,
}

const fn row(name: &'static str, shape: Shape, default: &'static str, scope: Scope, built: Built) -> Keyword {
    Keyword { name, shape, default, scope, built }
}

fn any(_: &str) -> Result<(), String> {
    Ok(())
}

/// A number of sixteen bits.
fn short(word: &str) -> Result<(), String> {
    number::<u16>(word).map(drop)
}

fn words(_: &[String]) -> Result<(), String> {
    Ok(())
}

fn classes(words: &[String]) -> Result<(), String> {
    words.join(" ").parse::<TrafficClasses>().map(drop).map_err(|error| error.to_string())
}

const ROOT: &[&str] =
    &["without-password", "prohibit-password=without-password", "forced-commands-only", "yes", "no"];
const FORWARDING: &[&str] = &["yes", "all=yes", "no", "remote", "local"];
const FACILITIES: &[&str] = &[
    "AUTH", "AUTHPRIV", "DAEMON", "USER", "LOCAL0", "LOCAL1", "LOCAL2", "LOCAL3", "LOCAL4", "LOCAL5",
    "LOCAL6", "LOCAL7",
];
const LEVELS: &[&str] =
    &["QUIET", "FATAL", "ERROR", "INFO", "VERBOSE", "DEBUG", "DEBUG1=DEBUG", "DEBUG2", "DEBUG3"];

/// How the word of a choice is shown.
pub(crate) fn chosen(word: &str, known: &[&'static str]) -> Result<&'static str, String> {
    let known: Vec<_> = known.iter().map(|known| known.split_once('=').unwrap_or((known, known))).collect();
    choice(word, &known)
}

/// Debian's exchanges of keys by GSSAPI.
const GSS: &str = "gss-group14-sha256-,gss-group16-sha512-,gss-nistp256-sha256-,gss-curve25519-sha256-,\
                   gss-group14-sha1-,gss-gex-sha1-";

/// In the order in which they are shown.
pub(crate) static KEYWORDS: &[Keyword] = &[
    row("port", Word(short), "22", Global, Yes),
    row("addressfamily", Choice(&["any", "inet", "inet6"]), "any", Global, Yes),
    row("listenaddress", EachWord, "", Global, Yes),
    row("usepam", Flag, "no", Global, No),
    row("logingracetime", Time { none: false }, "120", Global, Yes),
    row("x11displayoffset", Word(short), "10", Anywhere, Yes),
    row("maxauthtries", Number { least: 1 }, "6", Anywhere, Yes),
    row("maxsessions", Number { least: 0 }, "10", Anywhere, Yes),
    row("clientaliveinterval", Time { none: false }, "0", Anywhere, Yes),
    row("clientalivecountmax", Number { least: 0 }, "3", Anywhere, Yes),
    row("requiredrsasize", Number { least: 0 }, "2048", Global, Yes),
    row("streamlocalbindmask", Octal, "0177", Anywhere, Yes),
    row("unusedconnectiontimeout", Time { none: true }, "none", Anywhere, Yes),
    row("permitrootlogin", Choice(ROOT), "without-password", Anywhere, Yes),
    row("ignorerhosts", Choice(&["yes", "no", "shosts-only"]), "yes", Anywhere, Yes),
    row("ignoreuserknownhosts", Flag, "no", Global, Yes),
    row("hostbasedauthentication", Flag, "no", Anywhere, Yes),
    row("hostbasedusesnamefrompacketonly", Flag, "no", Anywhere, Yes),
    row("pubkeyauthentication", Flag, "yes", Anywhere, Yes),
    row("kerberosauthentication", Flag, "no", Anywhere, No),
    row("kerberosorlocalpasswd", Flag, "yes", Global, Idle),
    row("kerberosticketcleanup", Flag, "yes", Global, Idle),
    row("gssapiauthentication", Flag, "no", Anywhere, Idle),
    row("gssapicleanupcredentials", Flag, "yes", Global, Idle),
    row("gssapikeyexchange", Flag, "no", Global, Idle),
    row("gssapistrictacceptorcheck", Flag, "yes", Global, Idle),
    row("gssapistorecredentialsonrekey", Flag, "no", Global, Idle),
    row("gssapikexalgorithms", Word(any), GSS, Global, Idle),
    row("passwordauthentication", Flag, "yes", Anywhere, Yes),
    row("kbdinteractiveauthentication", Flag, "yes", Anywhere, Yes),
    row("printmotd", Flag, "yes", Global, Yes),
    row("printlastlog", Flag, "yes", Global, Idle),
    row("x11forwarding", Flag, "no", Anywhere, Yes),
    row("x11uselocalhost", Flag, "yes", Anywhere, Yes),
    row("permittty", Flag, "yes", Anywhere, Yes),
    row("permituserrc", Flag, "yes", Anywhere, Yes),
    row("strictmodes", Flag, "yes", Global, Yes),
    row("tcpkeepalive", Flag, "yes", Global, Yes),
    row("permitemptypasswords", Flag, "no", Anywhere, Idle),
    row("compression", Choice(&["yes", "delayed=yes", "no"]), "no", Global, Yes),
    row("gatewayports", Choice(&["yes", "no", "clientspecified"]), "no", Anywhere, Yes),
    row("usedns", Flag, "no", Global, No),
    row("allowtcpforwarding", Choice(FORWARDING), "yes", Anywhere, Yes),
    row("allowagentforwarding", Flag, "yes", Anywhere, Yes),
    row("disableforwarding", Flag, "no", Anywhere, Yes),
    row("allowstreamlocalforwarding", Choice(FORWARDING), "yes", Anywhere, Yes),
    row("streamlocalbindunlink", Flag, "no", Anywhere, Yes),
    row("fingerprinthash", Choice(&["sha256=SHA256", "md5=MD5"]), "SHA256", Global, Idle),
    row("exposeauthinfo", Flag, "no", Anywhere, Yes),
    row("refuseconnection", Flag, "no", Anywhere, No),
    row("pidfile", Word(any), "/run/sshd.pid", Global, Yes),
    row("modulifile", Word(any), "/etc/ssh/moduli", Global, Yes),
    row("xauthlocation", Word(any), "/usr/bin/xauth", Global, Idle),
    row("ciphers", Algorithms, "", Global, Yes),
    row("macs", Algorithms, "", Global, Yes),
    row("banner", Word(any), "none", Anywhere, Yes),
    row("forcecommand", Rest, "none", Anywhere, Yes),
    row("chrootdirectory", Word(file), "none", Anywhere, Yes),
    row("trustedusercakeys", Word(any), "none", Anywhere, Yes),
    row("revokedkeys", Word(any), "none", Anywhere, Yes),
    // What signs with a token: a server only verifies.
    row("securitykeyprovider", Word(any), "internal", Global, Idle),
    row("authorizedprincipalsfile", Word(file), "none", Anywhere, Yes),
    row("versionaddendum", Rest, "none", Global, Yes),
    row("authorizedkeyscommand", Commands, "none", Anywhere, Yes),
    row("authorizedkeyscommanduser", Word(any), "none", Anywhere, Yes),
    row("authorizedprincipalscommand", Commands, "none", Anywhere, Yes),
    row("authorizedprincipalscommanduser", Word(any), "none", Anywhere, Yes),
    row("hostkeyagent", Word(any), "none", Global, Yes),
    row("kexalgorithms", Algorithms, "", Global, Yes),
    row("casignaturealgorithms", Algorithms, "", Anywhere, Yes),
    row("hostbasedacceptedalgorithms", Algorithms, "", Anywhere, Yes),
    row("hostkeyalgorithms", Algorithms, "", Global, Yes),
    row("pubkeyacceptedalgorithms", Algorithms, "", Anywhere, Yes),
    row("loglevel", Choice(LEVELS), "INFO", Global, Yes),
    row("syslogfacility", Choice(FACILITIES), "AUTH", Global, Yes),
    row("authorizedkeysfile", List(files), ".ssh/authorized_keys .ssh/authorized_keys2", Anywhere, Yes),
    row("hostkey", Each, "", Global, Yes),
    row("hostcertificate", Each, "", Global, Yes),
    row("allowusers", EachWord, "", Anywhere, Yes),
    row("denyusers", EachWord, "", Anywhere, Yes),
    row("allowgroups", EachWord, "", Anywhere, Yes),
    row("denygroups", EachWord, "", Anywhere, Yes),
    row("acceptenv", EachWord, "", Anywhere, Yes),
    row("setenv", List(variables), "", Anywhere, Yes),
    row("authenticationmethods", List(methods), "any", Anywhere, Yes),
    row("channeltimeout", List(timeouts), "none", Anywhere, Yes),
    row("logverbose", EachWord, "", Anywhere, Idle),
    row("subsystem", List(subsystem), "", Global, Yes),
    row("maxstartups", Word(startups), "10:30:100", Global, Yes),
    row("persourcemaxstartups", Word(sources), "none", Global, Yes),
    row("persourcenetblocksize", Word(any), "32:128", Global, No),
    row("permittunnel", Choice(&["no", "yes", "ethernet", "point-to-point"]), "no", Anywhere, Idle),
    row("ipqos", List(classes), "ef none", Anywhere, Yes),
    row("rekeylimit", List(|words| rekey(words).map(drop)), "default none", Anywhere, Yes),
    row("permitopen", List(targets), "any", Anywhere, Yes),
    row("permitlisten", List(targets), "any", Anywhere, Yes),
    row("permituserenvironment", Word(any), "no", Global, Yes),
    row("pubkeyauthoptions", List(key_options), "none", Anywhere, Yes),
    row("rdomain", Word(any), "none", Anywhere, No),
    row("persourcepenalties", List(words), "no", Global, No),
    row("persourcepenaltyexemptlist", Word(any), "none", Global, Idle),
    row("globalknownhostsfile", Word(any), "/etc/ssh/ssh_known_hosts", Global, Yes),
    row("shostsequivfile", Word(any), "", Global, Yes),
    // Debian's; ours names no distribution.
    row("debianbanner", Flag, "yes", Global, Idle),
    // Programs of OpenSSH's own that ours has no use for.
    row("sshdsessionpath", Word(any), "/usr/lib/openssh/sshd-session", Global, Idle),
    row("sshdauthpath", Word(any), "/usr/lib/openssh/sshd-auth", Global, Idle),
    row("serverkeybits", Deprecated, "", Global, Idle),
    row("keyregenerationinterval", Deprecated, "", Global, Idle),
    row("rhostsrsaauthentication", Deprecated, "", Anywhere, Idle),
    row("rsaauthentication", Deprecated, "", Anywhere, Idle),
    row("useprivilegeseparation", Deprecated, "", Global, Idle),
    row("protocol", Deprecated, "", Global, Idle),
    row("uselogin", Deprecated, "", Global, Idle),
];

/// Other names of keywords.
const ALIASES: &[(&str, &str)] = &[
    ("challengeresponseauthentication", "kbdinteractiveauthentication"),
    ("skeyauthentication", "kbdinteractiveauthentication"),
    ("dsaauthentication", "pubkeyauthentication"),
    ("hostdsakey", "hostkey"),
    ("keepalive", "tcpkeepalive"),
    ("pubkeyacceptedkeytypes", "pubkeyacceptedalgorithms"),
    ("hostbasedacceptedkeytypes", "hostbasedacceptedalgorithms"),
];

/// Those that are ours: sshd(8) has no word for them and does not show them.
pub(crate) const OWN: &[&str] = &["globalknownhostsfile", "shostsequivfile"];

/// Those of later versions or of one system, which are not shown either.
pub(crate) const HIDDEN: &[&str] = &["debianbanner", "sshdsessionpath", "sshdauthpath"];

impl Keyword {
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        let name = name.to_ascii_lowercase();
        let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name.as_str(), |(_, name)| name);
        KEYWORDS.iter().find(|keyword| keyword.name == name)
    }

    /// Whether the lines with this keyword add up; otherwise the first counts.
    pub(crate) fn adds_up(&self) -> bool {
        matches!(self.shape, Each | EachWord) || ["port", "subsystem"].contains(&self.name)
    }

    /// What is wrong with a value.
    pub(crate) fn check(&self, words: &[String]) -> Result<(), String> {
        match self.shape {
            List(check) => check(words),
            EachWord | Deprecated => Ok(()),
            shape => match words {
                [word] if matches!(shape, Algorithms) => crate::settings::check_algorithms(self.name, word),
                [word] => shape.check(word),
                _ => Err("takes one value".to_owned()),
            },
        }
    }
}

impl Shape {
    fn check(self, word: &str) -> Result<(), String> {
        match self {
            Flag => yes(word).map(drop),
            Choice(known) => chosen(word, known).map(drop),
            Number { least } => {
                let given = number::<u32>(word)?;
                if given < least { Err(format!("less than {least}")) } else { Ok(()) }
            }
            Octal => u32::from_str_radix(word, 8).map(drop).map_err(|_| "no permissions".to_owned()),
            Time { none: true } => interval_of(word).map(drop),
            Time { none: false } => time(word).map(drop),
            Word(check) => check(word),
            Commands if !word.starts_with('/') && word != "none" => Err("must begin with /".to_owned()),
            _ => Ok(()),
        }
    }
}

/// The name of a user's file, with its tokens.
fn file(word: &str) -> Result<(), String> {
    let tokens = ['h', 'u', 'U'].map(|name| (name, String::new()));
    expand(word, &tokens).map(drop)
}

fn files(words: &[String]) -> Result<(), String> {
    words.iter().try_for_each(|word| file(word))
}

/// `any` or `none`, or hosts with ports.
fn targets(words: &[String]) -> Result<(), String> {
    if words == ["any"] || words == ["none"] {
        return Ok(());
    }
    words.iter().try_for_each(|word| {
        let port =
            word.rsplit_once(':').map(|(_, port)| port).ok_or_else(|| format!("{word}: takes host:port"))?;
        if port == "*" { Ok(()) } else { number::<u16>(port).map(drop) }
    })
}

fn variables(words: &[String]) -> Result<(), String> {
    let wrong = |word: &&String| word.split_once('=').is_none_or(|(name, _)| name.is_empty());
    words.iter().find(wrong).map_or(Ok(()), |word| Err(format!("{word}: takes NAME=value")))
}

fn methods(words: &[String]) -> Result<(), String> {
    // There are none of its own here.
    let known = feramiko::AuthenticationMethods::parse(&words.join(" "))
        .filter(|_| !words.iter().any(|word| word.contains('@')));
    known.map(drop).ok_or_else(|| "a method is not known, or any does not stand alone".to_owned())
}

fn timeouts(words: &[String]) -> Result<(), String> {
    if words == ["none"] {
        return Ok(());
    }
    words.iter().try_for_each(|word| timeout(word).map(drop))
}

/// `type=interval`.
pub(crate) fn timeout(word: &str) -> Result<(&str, Option<std::time::Duration>), String> {
    let (kind, value) = word.split_once('=').ok_or_else(|| format!("{word}: takes type=interval"))?;
    Ok((kind, interval_of(value)?))
}

fn subsystem(words: &[String]) -> Result<(), String> {
    match words {
        [_, command, more @ ..] if command == "internal-sftp" => {
            let parsed = feramiko::FileService::parse(more.iter().map(String::as_str));
            parsed.map(drop).map_err(|error| error.to_string())
        }
        [_, _, ..] => Ok(()),
        _ => Err("takes a name and a command".to_owned()),
    }
}

/// `full`, or `begin:percent:full`.
pub(crate) fn startups_of(value: &str) -> Result<(usize, u32, usize), String> {
    let (begin, percent, full) = match value.split(':').collect::<Vec<_>>()[..] {
        // As sshd shows it; from there on all are refused.
        [full] => (full, "30", full),
        [begin, percent, full] => (begin, percent, full),
        _ => return Err("a number, or begin:percent:full".to_owned()),
    };
    let (begin, percent, full) = (number(begin)?, number(percent)?, number(full)?);
    if begin > full || !(1..=100).contains(&percent) {
        return Err("begin:percent:full, and begin is not above full".to_owned());
    }
    Ok((begin, percent, full))
}

fn startups(value: &str) -> Result<(), String> {
    startups_of(value).map(drop)
}

fn sources(value: &str) -> Result<(), String> {
    if value == "none" { Ok(()) } else { number::<usize>(value).map(drop) }
}

fn key_options(words: &[String]) -> Result<(), String> {
    let known = [("none", ()), ("touch-required", ()), ("verify-required", ())];
    words.iter().try_for_each(|word| choice(word, &known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_values() {
        for keyword in KEYWORDS.iter().filter(|keyword| !keyword.default.is_empty()) {
            let words: Vec<_> = match keyword.shape {
                List(_) => keyword.default.split(' ').map(str::to_owned).collect(),
                _ => vec![keyword.default.to_owned()],
            };
            assert_eq!(keyword.check(&words), Ok(()), "{}", keyword.name);
            assert_eq!(keyword.name, keyword.name.to_ascii_lowercase());
        }
        for (alias, name) in ALIASES {
            assert_eq!(Keyword::named(alias).map(|keyword| keyword.name), Some(*name));
        }
    }

    #[test]
    fn wrong_values() {
        for (name, value) in [
            ("strictmodes", "perhaps"),
            ("maxauthtries", "0"),
            ("logingracetime", "soon"),
            ("logingracetime", "none"),
            ("streamlocalbindmask", "8"),
            ("x11displayoffset", "65536"),
            ("authorizedkeyscommand", "bin/true"),
            ("setenv", "A"),
            ("authenticationmethods", "rot13"),
            ("authenticationmethods", "rot13@example.org"),
            ("channeltimeout", "session"),
            ("permitopen", "host"),
            ("permitlisten", "a:70000"),
            ("subsystem", "sftp"),
            ("subsystem", "sftp internal-sftp -l INFO"),
            ("maxstartups", "10:0:100"),
            ("persourcemaxstartups", "some"),
            ("pubkeyauthoptions", "x"),
            ("permitrootlogin", "sometimes"),
        ] {
            let words: Vec<_> = value.split(' ').map(str::to_owned).collect();
            assert!(Keyword::named(name).unwrap().check(&words).is_err(), "{name} {value}");
        }
    }
}
