//! Lines of authorized_keys: whom they let in, with which command, environment and terminal.

use feramiko::{KeyKind, PKey};

use crate::given;
use crate::judges::{FORCED, In, Judges, NO_TERMINAL, Out, PLAIN, REFUSED, TERMINAL, Verdict, all_agreed};

/// OpenSSH says no more when it finds nothing, or an authority's key only.
const STRANGER: Verdict = Out(REFUSED, REFUSED);
const NO_KEY: Verdict = Out("advance: ", "line not used: ");
const ELSEWHERE: Verdict = Out("not from a permitted host", "the client comes from elsewhere");
const NOWHERE: Verdict = Out("invalid from criteria", "line not used: from: an entry is no address");
const EXPIRED: Verdict = Out("entry expired at 2020-01-01", "it has expired");

/// What is refused for its options, with what either says of them.
macro_rules! bad {
    ($theirs:literal, $ours:literal) => {
        Out(concat!("bad key options: ", $theirs), concat!("line not used: ", $ours))
    };
}

/// Options before a key, and what both must make of it.
const LINES: &[(&str, Verdict)] = &[
    ("", PLAIN),
    ("restrict", NO_TERMINAL),
    ("RESTRICT", NO_TERMINAL),
    ("restrict,pty", TERMINAL),
    ("pty,restrict", NO_TERMINAL),
    ("no-pty", NO_TERMINAL),
    ("No-Pty", NO_TERMINAL),
    ("no-pty,pty", TERMINAL),
    ("pty", TERMINAL),
    ("no-port-forwarding", PLAIN),
    ("port-forwarding", PLAIN),
    ("no-agent-forwarding", PLAIN),
    ("agent-forwarding", PLAIN),
    ("no-X11-forwarding", PLAIN),
    ("no-x11-forwarding", PLAIN),
    ("X11-forwarding", PLAIN),
    ("no-user-rc", PLAIN),
    ("user-rc", PLAIN),
    ("no-touch-required", PLAIN),
    ("touch-required", PLAIN),
    ("verify-required", PLAIN),
    ("restrict,no-touch-required,verify-required", NO_TERMINAL),
    ("command=\"echo forced $SSH_ORIGINAL_COMMAND\"", FORCED),
    ("command=\"echo forced\",no-pty", NO_TERMINAL),
    ("command=\"echo forced \\\"a  b\\\"\"", In("a  b")),
    ("command=\"echo forced, and a comma\"", In("and a comma")),
    ("COMMAND=\"echo forced\"", FORCED),
    (
        "command=\"echo forced\",command=\"echo twice\"",
        bad!("multiple \"command\" clauses", "command: given twice"),
    ),
    ("command=\"echo forced", Out(REFUSED, "a quote is missing")),
    ("command=echo", bad!("missing start quote", "a value stands in quotes")),
    ("command", bad!("unknown key option", "the option command needs a value")),
    ("environment=\"V=value\"", In("plain value")),
    ("environment=\"V=a\",environment=\"W=b\"", In("plain a b")),
    ("environment=\"V=first\",environment=\"V=second\"", In("plain first")),
    ("environment=\"V=a=b\"", In("plain a=b")),
    ("environment=\"V=\"", PLAIN),
    ("environment=\"V\"", bad!("invalid environment string", "environment: no NAME=value")),
    ("environment=\"V W=x\"", bad!("invalid environment string", "environment: no name of a variable")),
    ("environment=\"V-W=x\"", bad!("invalid environment string", "environment: no name of a variable")),
    ("from=\"127.0.0.1\"", PLAIN),
    ("from=\"127.0.0.*\"", PLAIN),
    ("from=\"127.0.0.0/8\"", PLAIN),
    ("from=\"10.0.0.0/8\"", ELSEWHERE),
    ("from=\"10.0.0.0/8,127.0.0.1\"", PLAIN),
    ("from=\"*,!127.0.0.1\"", ELSEWHERE),
    ("from=\"!127.0.0.1\"", ELSEWHERE),
    ("from=\"!10.0.0.0/8\"", ELSEWHERE),
    ("from=\"*\"", PLAIN),
    ("from=\"somewhere.example.org\"", ELSEWHERE),
    ("from=\"::1\"", ELSEWHERE),
    ("from=\"127.0.0.?\"", PLAIN),
    ("from=\"127.*.0.?,!10.0.0.?\"", PLAIN),
    ("from=\"127.0.0.0/8,!10.0.0.0/8\"", PLAIN),
    ("from=\"127.0.0.0/8,!127.0.0.1/8\"", NOWHERE),
    ("from=\"127.0.0.0/8,!10.0.0.1/8\"", NOWHERE),
    ("from=\"127.0.0.0/8,!127.0.0.1/33\"", NOWHERE),
    ("from=\"!127.0.0.1/8,127.0.0.1\"", NOWHERE),
    ("from=\"127.0.0.1,10.0.0.1/8\"", NOWHERE),
    ("from=\"127.0.0.1,!\"", NOWHERE),
    ("from=\"127.0.0.1,\"", NOWHERE),
    ("from=\",127.0.0.1\"", NOWHERE),
    ("from=\"127.0.0.1,!127.1\"", Out("not from a permitted host", "from: an entry is no address")),
    ("from", bad!("unknown key option", "the option from needs a value")),
    ("expiry-time=\"20990101\"", PLAIN),
    ("expiry-time=\"209901010000\"", PLAIN),
    ("expiry-time=\"20990101000000\"", PLAIN),
    ("expiry-time=\"20200101\"", EXPIRED),
    ("expiry-time=\"202001010000\"", EXPIRED),
    ("expiry-time=\"nonsense\"", bad!("invalid expires time", "expiry-time: no time of the form")),
    ("expiry-time=\"\"", bad!("invalid expires time", "expiry-time: no time of the form")),
    ("permitopen=\"localhost:80\"", PLAIN),
    ("permitopen=\"[::1]:80\",permitopen=\"localhost:*\"", PLAIN),
    ("permitopen=\"nonsense\"", bad!("invalid permission port", "permitopen: no host:port")),
    ("permitopen=\"localhost:port\"", bad!("invalid permission port", "permitopen: no port")),
    ("permitlisten=\"8080\"", PLAIN),
    ("permitlisten=\"localhost:8080\"", PLAIN),
    ("permitlisten=\"localhost:99999\"", bad!("invalid permission port", "permitlisten: no port")),
    ("tunnel=\"0\"", PLAIN),
    ("tunnel=\"any\"", PLAIN),
    ("tunnel=\"Any\"", PLAIN),
    ("tunnel=\"2147483645\"", PLAIN),
    ("tunnel=\"2147483646\"", bad!("invalid tun device", "tunnel: neither the number of a device nor any")),
    ("tunnel=\"nonsense\"", bad!("invalid tun device", "tunnel: neither the number of a device nor any")),
    ("tunnel=\"\"", bad!("invalid tun device", "tunnel: neither the number of a device nor any")),
    ("principals=\"somebody\"", Out("principals on non-CA key", "principals are those of certificates")),
    ("cert-authority", Out(REFUSED, "it is an authority's")),
    ("unheard-of", bad!("unknown key option", "the option \"unheard-of\" is not known")),
    ("unheard-of=\"x\"", bad!("unknown key option", "the option \"unheard-of\" is not known")),
    ("restrict,unheard-of", bad!("unknown key option", "the option \"unheard-of\" is not known")),
    ("restrict,", NO_TERMINAL),
    ("restrict,,pty", TERMINAL),
    (",restrict", NO_TERMINAL),
    ("restrict pty", NO_KEY),
    ("no-pty=\"x\"", bad!("unknown key option", "the option no-pty has no value")),
];

#[test]
fn lines_of_authorized_keys() {
    let _watch = given::within(300);
    let Some(judges) = Judges::new(&[]) else { return };
    let (key, other) = (PKey::generate(KeyKind::Ed25519).unwrap(), PKey::generate(KeyKind::Ed25519).unwrap());
    let line = key.public_key().to_line();
    let mut failed = Vec::new();
    for (options, verdict) in LINES {
        let text = format!("# a comment\n\n{options} {line} somebody\n");
        judges.write("keys", &text);
        judges.agree(options, &key, *verdict, &mut failed);
    }
    let others = other.public_key().to_line();
    for (what, text, expected) in [
        ("a bad line before", format!("nonsense\n{line}\n"), PLAIN),
        ("no end of line", line.clone(), PLAIN),
        ("spaces before", format!("   \t {line}\n"), PLAIN),
        ("tabs between", format!("restrict\t{line}\n"), NO_TERMINAL),
        ("a comment only", format!("# {line}\n"), STRANGER),
        ("another key", format!("{others}\n"), STRANGER),
        ("refused, then let in", format!("from=\"10.*\" {line}\ncommand=\"echo forced\" {line}\n"), FORCED),
        ("the first that lets in", format!("no-pty {line}\npty {line}\n"), NO_TERMINAL),
        ("another type's name", line.replace("ssh-ed25519", "ssh-rsa"), NO_KEY),
        ("broken base64", line.replace("AAAA", "AA*A"), NO_KEY),
        ("nothing", String::new(), STRANGER),
    ] {
        judges.write("keys", &text);
        judges.agree(what, &key, expected, &mut failed);
    }
    let latin = [b"command=\"echo forced # \xe9\" ", line.as_bytes(), b" caf\xe9\n"].concat();
    judges.write("keys", &latin);
    judges.agree("a command and a comment in Latin-1", &key, FORCED, &mut failed);
    all_agreed(&failed);
}
