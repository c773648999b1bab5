//! Every keyword of ssh_config(5), OpenSSH 10.5, as data: what its value looks like, what it is when nobody
//! says, how values add up, what becomes of it here. The order is that of `ssh -G`.
//!
//! Pure. Whoever reads a value, prints it or acts on it looks here first.

/// A keyword.
#[derive(Debug)]
pub(super) struct Spec {
    /// As `ssh -G` writes it; letters have no case in files.
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    /// The words when nothing is said, as `ssh -G` shows them; empty where there are none, or where they
    /// depend on other values.
    pub(super) default: &'static [&'static str],
    pub(super) built: Built,
}

/// What a value looks like.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// One of these words, whose case does not matter; the second is what `ssh -G` shows.
    Choice(&'static [(&'static str, &'static str)]),
    /// One word.
    Text,
    /// The same, for each line one more, equal ones once.
    Texts,
    /// All of the line.
    Command,
    /// A number from 0.
    Number,
    /// A time in seconds, or `none`.
    Seconds,
    /// A list of algorithms that can be added to, taken from, moved to the front.
    Algorithms,
    /// Words that are said together; `none` stands alone.
    Words,
    /// The same; each is on a line of its own with `ssh -G`.
    Pairs,
    /// What looks like nothing else.
    Own(Own),
}

/// Values with a look of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Own {
    AddKeys,
    Agent,
    AgentOrFlag,
    ChannelTimeouts,
    Cnames,
    Domains,
    Escape,
    Forward,
    Hosts,
    Include,
    Jump,
    LogLevel,
    Match,
    Mask,
    Obscure,
    Opens,
    Persist,
    Port,
    Qos,
    Refuse,
    Rekey,
    Send,
    Facility,
    Tunnel,
    Version,
    Hash,
}

/// What becomes of a keyword here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Built {
    /// It is acted on.
    Yes,
    /// Somebody who uses [`HostConfig`](super::HostConfig) may act on it; a connection alone has no use for it.
    Value,
    /// It is read and shown, and told in the log when a connection is made.
    No,
    /// The same; without it a connection would be less safe than was asked for, so there is none.
    Needed,
    /// OpenSSH itself does nothing about it.
    Gone,
}

pub(super) const FLAG: &[(&str, &str)] = &[("yes", "yes"), ("no", "no"), ("true", "yes"), ("false", "no")];
const ASK: &[(&str, &str)] =
    &[("yes", "true"), ("no", "false"), ("true", "true"), ("false", "false"), ("ask", "ask")];
const STRICT: &[(&str, &str)] = &[
    ("yes", "true"),
    ("no", "false"),
    ("true", "true"),
    ("false", "false"),
    ("off", "false"),
    ("ask", "ask"),
    ("accept-new", "accept-new"),
];
const FAMILY: &[(&str, &str)] = &[("any", "any"), ("inet", "inet"), ("inet6", "inet6")];
const CANONICAL: &[(&str, &str)] =
    &[("yes", "true"), ("no", "false"), ("true", "true"), ("false", "false"), ("always", "always")];
const COMPRESSION: &[(&str, &str)] = &[("yes", "yes"), ("no", "no")];
const MASTER: &[(&str, &str)] = &[
    ("yes", "true"),
    ("no", "false"),
    ("true", "true"),
    ("false", "false"),
    ("auto", "auto"),
    ("ask", "ask"),
    ("autoask", "autoask"),
];
const PUBLIC_KEY: &[(&str, &str)] = &[
    ("yes", "true"),
    ("no", "false"),
    ("true", "true"),
    ("false", "false"),
    ("unbound", "unbound"),
    ("host-bound", "host-bound"),
];
const TTY: &[(&str, &str)] = &[
    ("yes", "true"),
    ("no", "false"),
    ("true", "true"),
    ("false", "false"),
    ("force", "force"),
    ("auto", "auto"),
];
const SESSION: &[(&str, &str)] = &[("none", "none"), ("subsystem", "subsystem"), ("default", "default")];
const TUNNEL: &[(&str, &str)] = &[
    ("yes", "true"),
    ("no", "false"),
    ("true", "true"),
    ("false", "false"),
    ("ethernet", "ethernet"),
    ("point-to-point", "point-to-point"),
];
const WEAK: &[(&str, &str)] =
    &[("yes", "yes"), ("no", "no"), ("true", "yes"), ("false", "no"), ("no-pq-kex", "no")];

const fn row(name: &'static str, shape: Shape, default: &'static [&'static str], built: Built) -> Spec {
    Spec { name, shape, default, built }
}

/// The keywords.
pub(super) static TABLE: &[Spec] = &[
    row("host", Shape::Own(Own::Hosts), &[], Built::Yes),
    row("match", Shape::Own(Own::Match), &[], Built::Yes),
    row("include", Shape::Own(Own::Include), &[], Built::Yes),
    row("user", Shape::Text, &[], Built::Yes),
    row("hostname", Shape::Text, &[], Built::Yes),
    row("port", Shape::Own(Own::Port), &[], Built::Yes),
    row("addressfamily", Shape::Choice(FAMILY), &["any"], Built::Yes),
    row("batchmode", Shape::Choice(FLAG), &["no"], Built::Value),
    row("canonicalizefallbacklocal", Shape::Choice(FLAG), &["yes"], Built::Yes),
    row("canonicalizehostname", Shape::Choice(CANONICAL), &["false"], Built::Yes),
    row("checkhostip", Shape::Choice(FLAG), &["no"], Built::Yes),
    row("compression", Shape::Choice(COMPRESSION), &["no"], Built::Yes),
    row("controlmaster", Shape::Choice(MASTER), &["false"], Built::Value),
    row("enablesshkeysign", Shape::Choice(FLAG), &["no"], Built::No),
    row("clearallforwardings", Shape::Choice(FLAG), &["no"], Built::Value),
    row("exitonforwardfailure", Shape::Choice(FLAG), &["no"], Built::Value),
    row("fingerprinthash", Shape::Own(Own::Hash), &["SHA256"], Built::Value),
    row("forwardx11", Shape::Choice(FLAG), &["no"], Built::Value),
    row("forwardx11trusted", Shape::Choice(FLAG), &["no"], Built::Value),
    row("gatewayports", Shape::Choice(FLAG), &["no"], Built::Value),
    row("gssapiauthentication", Shape::Choice(FLAG), &["no"], Built::No),
    row("gssapidelegatecredentials", Shape::Choice(FLAG), &["no"], Built::No),
    // Of Debian and Fedora alone.
    row("gssapikeyexchange", Shape::Command, &[], Built::No),
    row("gssapikexalgorithms", Shape::Command, &[], Built::No),
    row("gssapiclientidentity", Shape::Command, &[], Built::No),
    row("gssapiserveridentity", Shape::Command, &[], Built::No),
    row("gssapirenewalforcesrekey", Shape::Command, &[], Built::No),
    row("gssapitrustdns", Shape::Command, &[], Built::No),
    row("hashknownhosts", Shape::Choice(FLAG), &["no"], Built::Yes),
    row("hostbasedauthentication", Shape::Choice(FLAG), &["no"], Built::Value),
    row("identitiesonly", Shape::Choice(FLAG), &["no"], Built::Yes),
    row("kbdinteractiveauthentication", Shape::Choice(FLAG), &["yes"], Built::Yes),
    row("nohostauthenticationforlocalhost", Shape::Choice(FLAG), &["no"], Built::Yes),
    row("passwordauthentication", Shape::Choice(FLAG), &["yes"], Built::Yes),
    row("permitlocalcommand", Shape::Choice(FLAG), &["no"], Built::Value),
    row("proxyusefdpass", Shape::Choice(FLAG), &["no"], Built::Yes),
    row("pubkeyauthentication", Shape::Choice(PUBLIC_KEY), &["true"], Built::Yes),
    row("requesttty", Shape::Choice(TTY), &["auto"], Built::Value),
    row("sessiontype", Shape::Choice(SESSION), &["default"], Built::Value),
    row("stdinnull", Shape::Choice(FLAG), &["no"], Built::Value),
    row("forkafterauthentication", Shape::Choice(FLAG), &["no"], Built::Value),
    row("streamlocalbindunlink", Shape::Choice(FLAG), &["no"], Built::Value),
    row("stricthostkeychecking", Shape::Choice(STRICT), &["ask"], Built::Yes),
    row("tcpkeepalive", Shape::Choice(FLAG), &["yes"], Built::Yes),
    row("tunnel", Shape::Choice(TUNNEL), &["false"], Built::No),
    row("verifyhostkeydns", Shape::Choice(ASK), &["false"], Built::Needed),
    row("visualhostkey", Shape::Choice(FLAG), &["no"], Built::Value),
    row("updatehostkeys", Shape::Choice(ASK), &["false"], Built::Yes),
    row("enableescapecommandline", Shape::Choice(FLAG), &["no"], Built::Value),
    row("warnweakcrypto", Shape::Choice(WEAK), &["yes"], Built::Value),
    row("canonicalizemaxdots", Shape::Number, &["1"], Built::Yes),
    row("connectionattempts", Shape::Number, &["1"], Built::Yes),
    row("forwardx11timeout", Shape::Seconds, &["1200"], Built::Value),
    row("numberofpasswordprompts", Shape::Number, &["3"], Built::Yes),
    row("serveralivecountmax", Shape::Number, &["3"], Built::Yes),
    row("serveraliveinterval", Shape::Seconds, &["0"], Built::Yes),
    row("requiredrsasize", Shape::Number, &["2048"], Built::Yes),
    row("obscurekeystroketiming", Shape::Own(Own::Obscure), &["yes"], Built::Value),
    row("bindaddress", Shape::Text, &[], Built::Yes),
    row("bindinterface", Shape::Text, &[], Built::Yes),
    row("ciphers", Shape::Algorithms, &[], Built::Yes),
    row("controlpath", Shape::Text, &[], Built::Value),
    row("hostkeyalgorithms", Shape::Algorithms, &[], Built::Yes),
    row("hostkeyalias", Shape::Text, &[], Built::Yes),
    row("hostbasedacceptedalgorithms", Shape::Algorithms, &[], Built::Yes),
    row("identityagent", Shape::Own(Own::Agent), &[], Built::Yes),
    row("ignoreunknown", Shape::Text, &[], Built::Yes),
    row("kbdinteractivedevices", Shape::Text, &[], Built::No),
    row("kexalgorithms", Shape::Algorithms, &[], Built::Yes),
    row("casignaturealgorithms", Shape::Algorithms, &[], Built::Yes),
    row("localcommand", Shape::Command, &[], Built::Value),
    row("remotecommand", Shape::Command, &[], Built::Value),
    row("loglevel", Shape::Own(Own::LogLevel), &["INFO"], Built::Value),
    row("macs", Shape::Algorithms, &[], Built::Yes),
    row("pkcs11provider", Shape::Text, &[], Built::No),
    row("securitykeyprovider", Shape::Text, &[], Built::No),
    row("preferredauthentications", Shape::Text, &[], Built::Yes),
    row("pubkeyacceptedalgorithms", Shape::Algorithms, &[], Built::Yes),
    row("xauthlocation", Shape::Text, &["/usr/bin/xauth"], Built::Value),
    row("knownhostscommand", Shape::Command, &[], Built::Yes),
    row("tag", Shape::Text, &[], Built::Yes),
    row("versionaddendum", Shape::Own(Own::Version), &[], Built::Yes),
    row("dynamicforward", Shape::Own(Own::Forward), &[], Built::Value),
    row("localforward", Shape::Own(Own::Forward), &[], Built::Value),
    row("remoteforward", Shape::Own(Own::Forward), &[], Built::Value),
    row("identityfile", Shape::Texts, IDENTITIES, Built::Yes),
    row("canonicaldomains", Shape::Own(Own::Domains), &[], Built::Yes),
    row("certificatefile", Shape::Texts, &[], Built::Yes),
    row("globalknownhostsfile", Shape::Words, GLOBAL, Built::Yes),
    row("userknownhostsfile", Shape::Words, USERS, Built::Yes),
    row("revokedhostkeys", Shape::Words, &[], Built::Yes),
    row("sendenv", Shape::Own(Own::Send), &[], Built::Yes),
    row("setenv", Shape::Pairs, &[], Built::Yes),
    row("logverbose", Shape::Words, &[], Built::No),
    row("channeltimeout", Shape::Own(Own::ChannelTimeouts), &[], Built::No),
    row("permitremoteopen", Shape::Own(Own::Opens), &["any"], Built::Value),
    row("addkeystoagent", Shape::Own(Own::AddKeys), &["false"], Built::Yes),
    row("forwardagent", Shape::Own(Own::AgentOrFlag), &["no"], Built::Value),
    row("connecttimeout", Shape::Seconds, &["none"], Built::Yes),
    row("tunneldevice", Shape::Own(Own::Tunnel), &["any:any"], Built::No),
    row("canonicalizePermittedcnames", Shape::Own(Own::Cnames), &[], Built::Yes),
    row("controlpersist", Shape::Own(Own::Persist), &["no"], Built::Value),
    row("escapechar", Shape::Own(Own::Escape), &["~"], Built::Value),
    row("ipqos", Shape::Own(Own::Qos), &["ef", "none"], Built::Yes),
    row("rekeylimit", Shape::Own(Own::Rekey), &["0"], Built::Yes),
    row("streamlocalbindmask", Shape::Own(Own::Mask), &["0177"], Built::Value),
    row("syslogfacility", Shape::Own(Own::Facility), &["USER"], Built::Value),
    row("proxycommand", Shape::Command, &[], Built::Yes),
    row("proxyjump", Shape::Own(Own::Jump), &[], Built::Yes),
    row("refuseconnection", Shape::Own(Own::Refuse), &[], Built::Yes),
    row("protocol", Shape::Command, &[], Built::Gone),
    row("cipher", Shape::Command, &[], Built::Gone),
    row("fallbacktorsh", Shape::Command, &[], Built::Gone),
    row("globalknownhostsfile2", Shape::Command, &[], Built::Gone),
    row("rhostsauthentication", Shape::Command, &[], Built::Gone),
    row("userknownhostsfile2", Shape::Command, &[], Built::Gone),
    row("useroaming", Shape::Command, &[], Built::Gone),
    row("usersh", Shape::Command, &[], Built::Gone),
    row("useprivilegedport", Shape::Command, &[], Built::Gone),
    row("afstokenpassing", Shape::Command, &[], Built::Gone),
    row("kerberosauthentication", Shape::Command, &[], Built::Gone),
    row("kerberostgtpassing", Shape::Command, &[], Built::Gone),
    row("rsaauthentication", Shape::Command, &[], Built::Gone),
    row("rhostsrsaauthentication", Shape::Command, &[], Built::Gone),
    row("compressionlevel", Shape::Command, &[], Built::Gone),
];

/// Other names for the same.
static ALIASES: &[(&str, &str)] = &[
    ("challengeresponseauthentication", "kbdinteractiveauthentication"),
    ("skeyauthentication", "kbdinteractiveauthentication"),
    ("tisauthentication", "kbdinteractiveauthentication"),
    ("dsaauthentication", "pubkeyauthentication"),
    ("identityfile2", "identityfile"),
    ("keepalive", "tcpkeepalive"),
    ("smartcarddevice", "pkcs11provider"),
    ("hostbasedkeytypes", "hostbasedacceptedalgorithms"),
    ("pubkeyacceptedkeytypes", "pubkeyacceptedalgorithms"),
];

/// The files of keys that are tried when none is named.
pub(super) const IDENTITIES: &[&str] =
    &["~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ecdsa_sk", "~/.ssh/id_ed25519", "~/.ssh/id_ed25519_sk"];
/// On Windows whoever may log in can make folders at the root of a drive.
const GLOBAL: &[&str] =
    if cfg!(unix) { &["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"] } else { &["none"] };
pub(super) const USERS: &[&str] = &["~/.ssh/known_hosts", "~/.ssh/known_hosts2"];

/// The keyword of that name, letters without case.
pub(super) fn keyword(name: &str) -> Option<&'static Spec> {
    let alias = ALIASES.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name));
    let name = alias.map_or(name, |(_, meant)| meant);
    TABLE.iter().find(|spec| spec.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_there_once() {
        for (at, spec) in TABLE.iter().enumerate() {
            assert!(std::ptr::eq(keyword(&spec.name.to_uppercase()).unwrap(), spec), "{}", spec.name);
            assert!(TABLE[..at].iter().all(|other| !other.name.eq_ignore_ascii_case(spec.name)));
        }
        for (alias, meant) in ALIASES {
            assert_eq!(keyword(alias).unwrap().name, *meant);
        }
        assert!(keyword("nosuchoption").is_none() && keyword("").is_none());
    }
}
