//! Lists of revoked keys.

use super::*;

/// A specification of every kind of line.
fn specification(both: &Both) -> String {
    let [one, two, three] = ["ed25519", "rsa", "ecdsa256"].map(|kind| both.line(kind));
    let fingerprint = run(&both.keygen, both.theirs.path(), &["-l", "-f", "ecdsa384.pub"], b"").stdout;
    let fingerprint = fingerprint.split(' ').nth(1).unwrap().to_owned();
    format!(
        "# keys\n{one}\nkey: {two}\nsha256: {two} # remark\nsha1: {three}\nhash: {fingerprint}\n\
         serial: 1\nserial: 0x10-0x20\nserial: 30-40\nserial: 900\nserial: 902\nserial:33-50\nid: some name\nID: other\n"
    )
}

#[test]
fn lists_made_by_either_say_the_same() {
    let Some(both) = Both::new() else { return };
    both.write("spec", specification(&both).as_bytes());
    both.write("more", b"serial: 5000-6000\n");
    both.made(&["-q", "-s", "ca", "-I", "some name", "ecdsa384.pub"], b"", &["ecdsa384-cert.pub"]);
    both.made(&["-q", "-s", "ca", "-I", "x", "-z", "35", "ecdsa521.pub"], b"", &["ecdsa521-cert.pub"]);
    both.made(&["-q", "-s", "rsaca", "-I", "x", "-z", "35", "rsa.pub"], b"", &["rsa-cert.pub"]);
    let keys = [
        "ed25519.pub",
        "rsa",
        "ecdsa256.pub",
        "ecdsa384.pub",
        "ecdsa521.pub",
        "ecdsa384-cert.pub",
        "ecdsa521-cert.pub",
        "rsa-cert.pub",
        "ca.pub",
    ];
    let remade = |number: &str| {
        // Made at another second, perhaps.
        let when = |text: &str| {
            text.lines().filter(|line| !line.contains("Generated")).map(str::to_owned).collect::<Vec<_>>()
        };
        let (theirs, ours) = both.run(&["-Q", "-l", "-f", "krl"], b"");
        assert_eq!(when(&ours.stdout), when(&theirs.stdout), "{number}");
        // Both read what both have written.
        for folder in [&both.theirs, &both.ours] {
            let text = fs::read(folder.file("krl")).unwrap();
            both.write("copy", &text);
            let arguments = [&["-Q", "-l", "-f", "copy"][..], &keys].concat();
            let (text, status) = both.same(&arguments, b"");
            assert_eq!(text.matches(": REVOKED\n").count() > 0, status == 1, "{number}: {text}");
        }
    };
    for (number, command) in [
        "-k -f krl -s ca.pub -z 7 spec",
        "-k -u -f krl -s ca -z 8 more",
        "-k -f krl -q -s none -C comment spec more",
        "-k -u -f krl ecdsa521-cert.pub ecdsa384-cert.pub ecdsa521.pub",
        "-k -f krl",
    ]
    .into_iter()
    .enumerate()
    {
        let (_, status) = both.same(&command.split(' ').collect::<Vec<_>>(), b"");
        assert_eq!(status, 0, "{command}");
        remade(&number.to_string());
    }
    let (_, status) = both.same(&["-k", "-f", "krl", "-s", "ca.pub", "-"], specification(&both).as_bytes());
    assert_eq!(status, 0);
    remade("standard input");
}

#[test]
fn several_authorities_are_listed_in_their_order() {
    let Some(both) = Both::new() else { return };
    let cas = ["rsa", "ca", "ecdsa256", "ed25519", "ecdsa521"];
    for (number, ca) in cas.into_iter().enumerate() {
        both.write("spec", format!("serial: {}\n", number + 1).as_bytes());
        let flags: &[&str] = if number == 0 { &["-k"] } else { &["-k", "-u"] };
        both.same(&[flags, &["-f", "krl", "-s", ca, "spec"]].concat(), b"");
    }
    both.made(&["-Q", "-f", "krl"], b"", &["krl"]);
    let (text, _) = both.same(&["-Q", "-l", "-f", "krl"], b"");
    assert_eq!(text.matches("# CA key").count(), cas.len());
}

#[test]
fn what_cannot_be_revoked() {
    let Some(both) = Both::new() else { return };
    both.made(&["-q", "-k", "-f", "krl"], b"", &["krl"]);
    both.write("text", format!("{}\n", both.line("rsa")).as_bytes());
    both.write("cut", &fs::read(both.ours.file("krl")).unwrap()[..20]);
    for (number, line) in [
        "serial: x",
        "serial: 0",
        "serial: 5-4",
        "serial: 5-5",
        "serial: 18446744073709551616",
        "serial:",
        "odd",
        "key: odd",
        "hash: MD5:aa",
        "hash: SHA256:x",
        "ssh-rsa AAAA",
    ]
    .into_iter()
    .enumerate()
    {
        both.write("bad", format!("{line}\n").as_bytes());
        both.all_same(&[(&format!("-k -q -f new{number} -s ca.pub bad"), 255)]);
    }
    both.write("serial", b"serial: 1\n");
    both.all_same(&[
        ("-k -f new serial", 255),
        ("-k serial", 255),
        ("-k -u -f absent serial", 255),
        ("-k -f new -s absent serial", 255),
        ("-k -f new absent", 255),
        ("-Q -f absent rsa.pub", 255),
        ("-Q -f text rsa.pub", 255),
        ("-Q -f cut rsa.pub", 255),
        ("-Q -f krl absent", 255),
        ("-Q rsa.pub", 255),
        ("-Q -f krl rsa.pub", 0),
    ]);
}
