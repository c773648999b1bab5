//! Files of principals: whom a certificate of a trusted authority must name instead of the user.

use std::fs;

use feramiko::{CertificateBuilder, PKey};

use crate::given;
use crate::judges::{FORCED, In, Judges, NO_TERMINAL, Out, PLAIN, TERMINAL, Verdict, all_agreed};
use crate::peers::user;

const NONE: Verdict = Out(
    "Certificate does not contain an authorized principal",
    "the certificate has no principal that lets in",
);
const BAD: Verdict = Out("bad principals options", "is not used");

/// The text of the file, the names of the certificate with blanks between, and what both make of it.
const FILES: &[(&str, &str, Verdict)] = &[
    ("web\n", "web", PLAIN),
    ("web", "web", PLAIN),
    ("ci\nweb\n", "web", PLAIN),
    ("ci\nweb\n", "x web", PLAIN),
    ("web\n", "ci", NONE),
    ("web\n", "USER", NONE),
    ("USER\n", "USER", PLAIN),
    ("", "web", NONE),
    ("", "USER", NONE),
    ("\n\n", "web", NONE),
    ("# web\n", "web", NONE),
    ("#web\n", "web", NONE),
    ("# a comment\n\nweb\n", "web", PLAIN),
    ("web # a comment\n", "web", PLAIN),
    ("web# a comment\n", "web", PLAIN),
    ("no-pty web # a comment\n", "web", NO_TERMINAL),
    ("   \t web\n", "web", PLAIN),
    ("web \t \n", "web", PLAIN),
    ("we\n", "web", NONE),
    ("webs\n", "web", NONE),
    ("WEB\n", "web", NONE),
    ("*\n", "web", NONE),
    ("ci,web\n", "web", NONE),
    // Several names of one line are options and one name.
    ("ci web\n", "ci", NONE),
    ("ci web\n", "web", BAD),
    ("no-pty web\n", "web", NO_TERMINAL),
    ("no-pty\tweb\n", "web", NO_TERMINAL),
    ("no-pty \t web\n", "web", NO_TERMINAL),
    ("restrict,pty web\n", "web", TERMINAL),
    ("command=\"echo forced\" web\n", "web", FORCED),
    ("command=\"echo forced\"\tweb\n", "web", NONE),
    ("environment=\"V=value\" web\n", "web", In("plain value")),
    ("expiry-time=\"20990101\" web\n", "web", PLAIN),
    ("expiry-time=\"20200101\" web\n", "web", Out("entry expired at", "it has expired")),
    ("from=\"127.0.0.1\" web\n", "web", PLAIN),
    ("from=\"10.0.0.0/8\" web\n", "web", Out("not from a permitted host", "the client comes from elsewhere")),
    ("unheard-of web\n", "web", BAD),
    ("command=\"echo forced web\n", "web", BAD),
    ("no-pty web\npty web\n", "web", NO_TERMINAL),
    ("no-pty ci\nweb\n", "web", TERMINAL),
    // A line that cannot be used spoils only itself.
    ("unheard-of web\nweb\n", "web", PLAIN),
];

fn certified(authority: &PKey, key: &PKey, names: &str) -> PKey {
    let mut builder = CertificateBuilder::user(key.public_key());
    for name in names.split(' ') {
        builder = builder.principal(name);
    }
    key.with_certificate(&builder.sign(authority).unwrap()).unwrap()
}

#[test]
fn files_of_principals() {
    let _watch = given::within(300);
    let Some(judges) = Judges::new(&["AuthorizedPrincipalsFile FOLDER/principals"]) else { return };
    let (authority, key) = (given::host_key(), given::host_key());
    judges.write("authorities", &authority.public_key().to_line());
    let mut failed = Vec::new();
    for (text, names, verdict) in FILES {
        let [text, names] = [text, names].map(|text| text.replace("USER", &user()));
        judges.write("principals", &text);
        judges.agree(
            &format!("{text:?} {names}"),
            &certified(&authority, &key, &names),
            *verdict,
            &mut failed,
        );
    }
    judges.write("principals", b"# caf\xe9\n\xe9\nweb # caf\xe9\n");
    judges.agree("Latin-1", &certified(&authority, &key, "web"), PLAIN, &mut failed);
    fs::remove_file(judges.folder.file("principals")).unwrap();
    for names in ["web", &user()] {
        judges.agree("no file", &certified(&authority, &key, names), NONE, &mut failed);
    }
    all_agreed(&failed);
}

/// What a certificate forbids stays forbidden, whatever the line allows.
#[test]
fn options_of_principals_and_of_certificates() {
    let _watch = given::within(300);
    let Some(judges) = Judges::new(&["AuthorizedPrincipalsFile FOLDER/%u.principals"]) else { return };
    let (authority, key) = (given::host_key(), given::host_key());
    judges.write("authorities", &authority.public_key().to_line());
    let plain = || CertificateBuilder::user(key.public_key()).principal("web");
    let mut failed = Vec::new();
    for (line, builder, verdict) in [
        ("pty web", plain().no_extensions(), NO_TERMINAL),
        ("restrict web", plain(), NO_TERMINAL),
        ("web", plain().force_command("echo forced"), FORCED),
        ("command=\"echo forced\" web", plain().force_command("echo forced"), FORCED),
        (
            "command=\"echo forced\" web",
            plain().force_command("echo else"),
            Out("forced command options do not match", "a line and a certificate force different commands"),
        ),
    ] {
        judges.write(&format!("{}.principals", user()), line);
        let certified = key.with_certificate(&builder.sign(&authority).unwrap()).unwrap();
        judges.agree(line, &certified, verdict, &mut failed);
    }
    all_agreed(&failed);
}
