//! What lines say of a host, in worlds made up for it.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::pattern::endpoint::Endpoint;

/// A world of a test's own.
#[derive(Debug, Default)]
struct World {
    files: BTreeMap<&'static str, String>,
    names: BTreeMap<&'static str, Option<&'static str>>,
    addresses: Vec<&'static str>,
    variables: BTreeMap<&'static str, &'static str>,
    /// What was run.
    ran: Mutex<Vec<String>>,
}

impl Environment for World {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(|value| (*value).to_owned())
    }
    fn home(&self) -> Option<String> {
        Some("/home/me".to_owned())
    }
    fn home_of(&self, user: &str) -> Option<String> {
        (user == "you").then(|| "/home/you".to_owned())
    }
    fn user(&self) -> Option<String> {
        Some("me".to_owned())
    }
    fn uid(&self) -> u32 {
        1000
    }
    fn host_name(&self) -> String {
        "desk.example.org".to_owned()
    }
    fn addresses(&self) -> io::Result<Vec<IpAddr>> {
        Ok(self.addresses.iter().map(|address| address.parse().unwrap()).collect())
    }
    fn resolve(&self, name: &str) -> Option<Option<String>> {
        self.names.get(name).map(|cname| cname.map(str::to_owned))
    }
    fn succeeds(&self, command: &str) -> io::Result<bool> {
        self.ran.lock().unwrap().push(command.to_owned());
        Ok(command.starts_with("true"))
    }
    fn read(&self, path: &Path, owned: bool) -> io::Result<Vec<u8>> {
        assert!(owned, "included files are to be safe");
        let text = self.files.get(path.to_str().unwrap());
        text.map(|text| text.clone().into_bytes()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
    fn matching(&self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        let named = |path: &&&str| {
            pattern.strip_suffix('*').map_or(pattern == **path, |start| path.starts_with(start))
        };
        Ok(self.files.keys().filter(named).map(PathBuf::from).collect())
    }
}

fn with(world: World, text: &str) -> SSHConfig {
    SSHConfig::within(text.as_bytes(), true, Arc::new(world))
}

fn of(text: &str) -> SSHConfig {
    with(World::default(), text)
}

/// The port that a host gets.
fn port(config: &SSHConfig, host: &str) -> u16 {
    config.lookup(host).unwrap().port()
}

#[test]
fn the_first_value_counts_and_lists_add_up() {
    let host =
        of("User a\nUser b\nIdentityFile x\nHost h\nIdentityFile y\nSendEnv A\nHost other\nSendEnv B\n")
            .lookup("h")
            .unwrap();
    assert_eq!(host.user(), "a");
    assert_eq!(host.get_all("IdentityFile"), ["x", "y"]);
    assert_eq!(host.get("sendenv").as_deref(), Some("A"));
    assert_eq!(host.get("nosuchoption"), None);
    assert!(!host.is("compression") && host.is("tcpkeepalive"));
    assert_eq!(host.time("forwardx11timeout"), Some(Duration::from_secs(1200)));
    assert_eq!(host.time("connecttimeout"), None);
}

#[test]
fn criteria() {
    let world = World { addresses: vec!["192.0.2.7", "2001:db8::1"], ..World::default() };
    let text = "Match localnetwork 192.0.2.0/24 host net\n Port 1\nMatch localnetwork 10.0.0.0/8\n Port 2\n\
                Match tagged home\n Port 3\nMatch tagged \"\" host none\n Port 4\nMatch command \"git *\"\n Port 5\n\
                Match sessiontype subsystem\n Port 6\nMatch !sessiontype shell,exec\n Port 7\n\
                Match version feramiko_* host version\n Port 8\nMatch exec=\"true %n %h %r %p %u %j %k %i %L %l %d\" host e\n Port 9\n\
                Match exec false\n Port 10\nMatch !exec false host f\n Port 11\nMatch localuser me !user me\n Port 12\n";
    let world = Arc::new(world);
    let config = SSHConfig::within(text.as_bytes(), true, Arc::<World>::clone(&world));
    for (host, expected) in [("net", 1), ("none", 4), ("version", 8), ("f", 11), ("plain", 22)] {
        assert_eq!(port(&config, host), expected, "{host}");
    }
    let asked = |options: &[&str], command: &str| {
        let query = options.iter().fold(config.query("q"), |query, line| query.option(line).unwrap());
        query.command(command).lookup().unwrap().port()
    };
    assert_eq!(asked(&["Tag=home"], ""), 3);
    assert_eq!(asked(&[], "git fetch"), 5);
    assert_eq!(asked(&["SessionType=subsystem"], "sftp"), 6);
    assert_eq!(asked(&["SessionType=none"], ""), 7);
    assert_eq!(asked(&["User=x"], ""), 12);
    assert_eq!(port(&of("Match localuser you,!me\n Port 1\nMatch localuser you\n Port 2\n"), "h"), 22);
    world.ran.lock().unwrap().clear();
    let text = "Match host e exec=\"true %n %h %r %p %u %j %k %i %L %l %d %%\"\n Port 9\n";
    let config = SSHConfig::within(text.as_bytes(), true, Arc::<World>::clone(&world));
    assert_eq!(port(&config, "e"), 9);
    assert_eq!(port(&config, "other"), 22);
    let ran = world.ran.lock().unwrap();
    // What stands before it does not hold for the other host: nothing is run.
    assert_eq!(*ran, ["true e e me 22 me  e 1000 desk desk.example.org /home/me %"]);
}

#[test]
fn lines_that_are_no_file_run_nothing() {
    let world = Arc::new(World::default());
    let text = "Match exec true\n Port 9\nHost *\nProxyCommand nc %h %p\nKnownHostsCommand /bin/x\n\
                PermitLocalCommand yes\nLocalCommand x\n";
    let config = SSHConfig::within(text.as_bytes(), false, Arc::<World>::clone(&world));
    let host = config.lookup("h").unwrap();
    assert_eq!(host.port(), 22);
    assert!(world.ran.lock().unwrap().is_empty());
    let more = [('H', "h"), ('I', "ORDER"), ('t', "NONE"), ('f', "NONE"), ('K', "NONE")];
    for refused in [
        host.proxy_command().map(drop),
        host.local_command(None).map(drop),
        host.known_hosts_command(more).map(drop),
    ] {
        assert!(refused.unwrap_err().text().contains("is not run"));
    }
    assert_eq!(port(&SSHConfig::from_text("Match exec true\n Port 9\n"), "h"), 22);
}

#[test]
fn commands_get_their_tokens() {
    let host = of("HostName %h.org\nPort 7\nProxyCommand nc %h %p %r %n %k %%\nLocalCommand l %T %C\n\
                   PermitLocalCommand yes\nKnownHostsCommand /bin/k \"a %H\" %I %t %f %K %u\nHostKeyAlias AL\n")
        .lookup("x")
        .unwrap();
    assert_eq!(host.proxy_command().unwrap().as_deref(), Some("nc x.org 7 me x al %"));
    assert!(host.local_command(Some("tun3")).unwrap().unwrap().starts_with("l tun3 "));
    assert_eq!(host.local_command(None).unwrap().unwrap().len(), "l NONE ".len() + 40);
    let more = [('H', "[x]:7"), ('I', "ORDER"), ('t', "ssh-ed25519"), ('f', "SHA256:f"), ('K', "AAAA")];
    let words = host.known_hosts_command(more).unwrap().unwrap();
    assert_eq!(words, ["/bin/k", "a [x]:7", "ORDER", "ssh-ed25519", "SHA256:f", "AAAA", "me"]);
    // Each token only where OpenSSH has it.
    for line in [
        "ProxyCommand %d",
        "ProxyCommand %u",
        "RemoteCommand %H",
        "ControlPath %T",
        "User %r",
        "User %C",
        "LocalCommand %H",
    ] {
        let host = of(&format!("{line}\nPermitLocalCommand yes\n")).lookup("x");
        let refused = host.and_then(|host| host.proxy_command().and_then(|_| host.local_command(None)));
        assert!(refused.is_err(), "{line}");
    }
}

#[test]
fn names_that_a_shell_would_understand_are_refused() {
    let config = of("ProxyCommand nc %h %p\n");
    for host in ["$(x)", "a;b", "`x`", "-oX", "a\nb", "a\0b", "", "a b"] {
        assert!(matches!(config.lookup(host), Err(ConfigError::Host { .. })), "{host:?}");
    }
    for user in ["a;b", "a\nProxyCommand x", "-l", "$(x)", "a\0", "`x`", "a\\"] {
        assert!(config.query("h").user(user).lookup().is_err(), "{user:?}");
        let option = config.query("h").words("User", &[user]);
        assert!(option.and_then(ConfigQuery::lookup).is_err(), "{user:?}");
    }
    // What a file of the user's says by itself is the user's affair, what it makes of a variable is not.
    assert_eq!(of("User a;b\n").lookup("h").unwrap().user(), "a;b");
    let world = World { variables: [("EVIL", "a;b"), ("GOOD", "x")].into(), ..World::default() };
    let config =
        with(world, "Host bad\n User ${EVIL}\nHost good\n User ${GOOD}-%n\nHost none\n User ${NONE}\n");
    assert!(config.lookup("bad").is_err() && config.lookup("none").is_err());
    assert_eq!(config.lookup("good").unwrap().user(), "x-good");
}

#[test]
fn canonical_names() {
    let names = || {
        BTreeMap::from([
            ("www.example.org.", Some("web3.hosting.example.net")),
            ("db.b.example.org.", None),
            ("full.example.org.", None),
            ("plain", Some("alias.example.org")),
        ])
    };
    let config = |text: &str| {
        let text = format!("{text}\nMatch canonical host *.example.*\n Port 5\n");
        with(World { names: names(), ..World::default() }, &text)
    };
    let found = |config: &SSHConfig, host: &str| {
        let host = config.lookup(host).unwrap();
        (host.hostname().to_owned(), host.port())
    };
    let base = "CanonicalizeHostname yes\nCanonicalDomains example.org b.example.org\n";
    assert_eq!(found(&config(base), "WWW"), ("www.example.org".to_owned(), 5));
    assert_eq!(found(&config(base), "db"), ("db.b.example.org".to_owned(), 5));
    assert_eq!(found(&config(base), "full.example.org."), ("full.example.org".to_owned(), 5));
    assert_eq!(found(&config(base), "a.b.c"), ("a.b.c".to_owned(), 22), "dots enough");
    assert_eq!(found(&config(base), "gone"), ("gone".to_owned(), 22));
    let cnames = format!("{base}CanonicalizePermittedCNAMEs *.example.org:*.example.net\n");
    assert_eq!(found(&config(&cnames), "www").0, "web3.hosting.example.net");
    let others = format!("{base}CanonicalizePermittedCNAMEs *.example.org:*.example.com\n");
    assert_eq!(found(&config(&others), "www").0, "www.example.org");
    let strict = format!("{base}CanonicalizeFallbackLocal no\n");
    assert!(config(&strict).lookup("gone").is_err());
    let proxied = format!("{base}ProxyJump j\n");
    assert_eq!(found(&config(&proxied), "www").0, "www");
    let always = format!("ProxyJump j\n{}", base.replace("yes", "always"));
    assert_eq!(found(&config(&always), "www").0, "www.example.org");
    let bare = "CanonicalizeHostname yes\nCanonicalizePermittedCNAMEs plain:*.example.org\n";
    assert_eq!(found(&config(bare), "plain").0, "alias.example.org");
    assert!(config(bare).lookup("unknown").is_err(), "it has no address");
    let last = "Match final host www.example.org\n Port 8\nHost *\n HostName %h.example.org\n";
    assert_eq!(found(&of(last), "www"), ("www.example.org".to_owned(), 8));
    // Whoever wants to know that it is not the last reading wants none.
    let first = "Match !final user nobody\n Port 8\nMatch host www.example.org\n Port 9\nHost *\n HostName %h.example.org\n";
    assert_eq!(found(&of(first), "www"), ("www.example.org".to_owned(), 22));
    // What the resolver says may be anything.
    let names = [("www.example.org.", Some("$(x).example.net"))].into();
    let text = format!("{base}CanonicalizePermittedCNAMEs *:*\n");
    assert_eq!(found(&with(World { names, ..World::default() }, &text), "www").0, "www.example.org");
}

#[test]
fn files_are_included() {
    let files = BTreeMap::from([
        ("/home/me/.ssh/a", "Port 1\n".to_owned()),
        ("/home/me/.ssh/d/1", "Host x\n User one\n".to_owned()),
        ("/home/me/.ssh/d/2", "Host y\n User two\n".to_owned()),
        ("/abs", "Match host y\nPort 3\nHost *\nCompression yes\n".to_owned()),
        ("/home/you/c", "Tag you\n".to_owned()),
        ("/home/me/.ssh/for-y", "BatchMode yes\n".to_owned()),
        ("/loop", "Include /loop /loop\n".to_owned()),
        ("/deep", "Include /deep\n".to_owned()),
        ("/bad", "Port x\n".to_owned()),
    ]);
    let world = || World { files: files.clone(), variables: [("DIR", "d")].into(), ..World::default() };
    let config = with(
        world(),
        "Include ${DIR}/* ~you/c for-%n\nHost x\n Include a\nHost *\n Include /abs /none\nForwardAgent yes\n",
    );
    let (x, y) = (config.lookup("x").unwrap(), config.lookup("y").unwrap());
    assert_eq!((x.user(), x.port(), x.is("compression"), x.is("batchmode")), ("one", 1, true, false));
    assert_eq!((y.user(), y.port(), y.is("compression"), y.is("batchmode")), ("two", 3, true, true));
    assert_eq!(y.get("tag").as_deref(), Some("you"));
    assert!(y.is("forwardagent"), "what a file includes ends with it");
    for (text, told) in [
        ("Include /loop\n", "16 deep"),
        ("Include /deep\n", "16 deep"),
        ("Host other\n Include /bad\n", "/bad line 1: Bad port"),
        ("Include ${NONE}\n", "NONE"),
    ] {
        let error = with(world(), text).lookup("h").unwrap_err();
        assert!(error.to_string().contains(told), "{text}: {error}");
    }
    let often = |count: usize| with(world(), &"Include /abs\n".repeat(count)).lookup("h");
    assert!(often(1024).is_ok());
    assert!(often(1025).unwrap_err().text().contains("1024 files"));
    let error = with(world(), "Include /bad\n").lookup("h").unwrap_err();
    assert_eq!(error.to_string(), "/bad line 1: Bad port 'x'");
}

#[test]
fn files_that_are_included_for_others_say_and_run_nothing() {
    let files =
        [("/all", "Host *\n Port 4\nMatch exec true\n Port 5\nMatch all\n Port 6\n".to_owned())].into();
    let world = Arc::new(World { files, ..World::default() });
    let text = b"Host other\n Include /all\nMatch host other\n Include /all\n";
    let config = SSHConfig::within(text, true, Arc::<World>::clone(&world));
    assert_eq!(port(&config, "h"), 22);
    assert!(world.ran.lock().unwrap().is_empty());
    assert_eq!(port(&config, "other"), 4);
    assert_ne!(world.ran.lock().unwrap().len(), 0);
}

#[test]
fn files_of_the_system_include_none_of_users() {
    let lookup = |text: &str| {
        let files = [("/etc/ssh/more", "Port 7\n".to_owned()), ("/home/me/x", "Port 8\n".to_owned())].into();
        let source =
            Source { file: "system".to_owned(), text: text.as_bytes().to_vec(), users: false, may_run: true };
        let environment = Arc::new(World { files, ..World::default() });
        SSHConfig { sources: Arc::new([source]), environment }.lookup("h")
    };
    assert_eq!(lookup("Include more\n").unwrap().port(), 7);
    assert!(lookup("Include ~/x\n").unwrap_err().text().contains("~ is for users' files"));
}

#[test]
fn hostile_lines_are_errors_with_their_place() {
    for (text, told) in [
        (&b"Port 22\nUser a\0b\n"[..], "text line 2: it holds a NUL"),
        (b"User \xff\n", "text line 1: not UTF-8"),
        (b"\nNope\x1b[2J yes\n", "text line 2: bad configuration option: Nope\\"),
    ] {
        let config = SSHConfig::within(text, true, Arc::new(World::default()));
        let error = config.lookup("h").unwrap_err().to_string();
        assert!(error.starts_with(told), "{error}");
    }
    // Comments may be in any alphabet.
    let config = SSHConfig::within(b" # \xff\nPort 7\n", true, Arc::new(World::default()));
    assert_eq!(port(&config, "h"), 7);
    let many = |line: &str, count: usize| of(&line.repeat(count)).lookup("h");
    assert!(many("SendEnv A\n", 4096).is_ok() && many("SendEnv A\n", 4097).is_err());
    let files = |count: usize| (0..count).map(|at| format!("IdentityFile f{at}\n")).collect::<String>();
    assert!(of(&files(100)).lookup("h").is_ok() && of(&files(101)).lookup("h").is_err());
    let hosts = |count: usize| of(&format!("UserKnownHostsFile {}\n", "k ".repeat(count))).lookup("h");
    assert!(hosts(32).is_ok() && hosts(33).is_err());
    let words = |count: usize| of(&format!("SetEnv {}\n", "A=1 ".repeat(count))).lookup("h");
    assert!(words(256).is_ok() && words(257).is_err());
    let forwards =
        |count: usize| (0..count).map(|at| format!("DynamicForward h{at}:1\n")).collect::<String>();
    assert!(of(&forwards(4096)).lookup("h").is_ok() && of(&forwards(4097)).lookup("h").is_err());
    let long = "%h".repeat(30_000);
    assert!(of(&format!("RemoteCommand {long}\n")).lookup("abcdef").is_err(), "too long when expanded");
    // Whatever is cut anywhere is read, or refused with a line.
    let whole =
        "Host a !b\n Port 1\nMatch host a exec \"true\"\n LocalForward [::1]:1 \"a b\":2\nSetEnv A=\"x\"\n";
    for end in 0..whole.len() {
        if let Err(error) = of(&whole[..end]).lookup("a") {
            assert!(matches!(error, ConfigError::Line { line: 1.., .. }), "{error}");
        }
    }
}

#[test]
fn what_is_not_built_is_told() {
    let safety = |text: &str| of(text).lookup("h").unwrap().missing_safety();
    assert_eq!(safety("VerifyHostKeyDNS yes\n"), Some("verifyhostkeydns"));
    let interval = |text: &str| of(text).lookup("h").unwrap().keystroke_interval();
    let milliseconds = |count| Some(Duration::from_millis(count));
    assert_eq!(interval(""), milliseconds(20));
    assert_eq!(interval("ObscureKeystrokeTiming interval:80\n"), milliseconds(80));
    assert_eq!(interval("ObscureKeystrokeTiming no\n"), None);
    assert_eq!(safety("VerifyHostKeyDNS no\nGSSAPIAuthentication yes\nTunnel yes\n"), None);
    assert!(
        of("Match host h\n RefuseConnection \"not here\"\n")
            .lookup("h")
            .unwrap_err()
            .text()
            .contains("not here")
    );
    assert_eq!(port(&of("Match host h\n RefuseConnection \"not here\"\n"), "x"), 22);
}

#[test]
fn options_come_before_files() {
    let config = of("Port 1\nUser f\nCiphers aes128-ctr\n");
    let query = config.query("h").option("Port 2").unwrap().option("port=3").unwrap().user("u").port(4);
    let host = query.clone().lookup().unwrap();
    assert_eq!((host.port(), host.user()), (2, "u"));
    let host = query.instead("Port", &["9"]).unwrap().lookup().unwrap();
    assert_eq!((host.port(), host.get("ciphers").as_deref()), (9, Some("aes128-ctr")));
    let rule = config.query("h").forward('R', "80:a:90").unwrap().lookup().unwrap().remote_forwards();
    assert_eq!(rule, [ForwardRule::remote("80:a:90").unwrap()]);
    for wrong in ["Host x", "Match all", "Include x", "Port", "Nope=1", "Port=1\nUser=x"] {
        assert!(config.query("h").option(wrong).is_err(), "{wrong}");
    }
    assert!(config.query("h").forward('L', "80").is_err());
    assert!(config.query("h").words("Port", &["1", "2"]).is_err());
    assert!(config.query("h").words("Host", &["h"]).is_err());
}

#[test]
fn sockets_of_agents() {
    let world =
        || World { variables: [("SSH_AUTH_SOCK", "/usual"), ("MINE", "/mine")].into(), ..World::default() };
    let host = |text: &str| with(world(), text).lookup("h").unwrap();
    let path = |path: &str| Some(PathBuf::from(path));
    assert_eq!(host("").identity_agent(), None);
    assert_eq!(host("IdentityAgent none\n").identity_agent(), Some(None));
    assert_eq!(host("IdentityAgent SSH_AUTH_SOCK\n").identity_agent(), Some(path("/usual")));
    assert_eq!(host("IdentityAgent $MINE\n").identity_agent(), Some(path("/mine")));
    assert_eq!(host("IdentityAgent ~/%n\n").identity_agent(), Some(path("/home/me/h")));
    assert_eq!(host("ForwardAgent yes\n").forward_agent(), path("/usual"));
    assert_eq!(host("ForwardAgent no\n").forward_agent(), None);
    assert_eq!(host("ForwardAgent $MINE\n").forward_agent(), path("/mine"));
    assert_eq!(host("ForwardAgent ${MINE}x\n").forward_agent(), path("/minex"));
}

#[test]
fn what_a_session_is_to_be_like() {
    let host = |text: &str| SSHConfig::from_text(text).lookup("h").unwrap();
    for (word, character) in
        [("none", None), ("~", Some(b'~')), ("^E", Some(5)), ("\\", Some(b'\\')), ("\x7f", Some(127))]
    {
        assert_eq!(host(&format!("EscapeChar {word}")).escape_char(), character, "{word}");
    }
    assert_eq!(host("").escape_char(), Some(b'~'));
    for (word, persist) in
        [("no", None), ("yes", Some(None)), ("0", Some(None)), ("1m", Some(Some(Duration::from_secs(60))))]
    {
        assert_eq!(host(&format!("ControlPersist {word}")).control_persist(), persist, "{word}");
    }
    assert_eq!(host("").control_persist(), None);
    assert_eq!(host("").bind_mask(), Some(0o177));
    assert_eq!(host("StreamLocalBindMask 0117").bind_mask(), Some(0o117));
}

#[test]
fn where_remote_socks_may_lead() {
    let permits =
        |list: &str, to: &Endpoint| SSHConfig::from_text(list).lookup("h").unwrap().permits_remote_open(to);
    let (tcp, unix) = (Endpoint::tcp("a", 1), Endpoint::unix("/a"));
    for (list, may) in [
        ("", true),
        ("PermitRemoteOpen any", true),
        ("PermitRemoteOpen none", false),
        ("PermitRemoteOpen a:1", true),
        ("PermitRemoteOpen b:1 *:1", true),
        ("PermitRemoteOpen a:*", true),
        ("PermitRemoteOpen a:2 b:1", false),
    ] {
        assert_eq!(permits(list, &tcp), may, "{list}");
    }
    assert!(permits("PermitRemoteOpen [::1]:2", &Endpoint::tcp("::1", 2)));
    assert!(!permits("PermitRemoteOpen *:*", &unix));
}
