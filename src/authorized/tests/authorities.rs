//! Authorities of all users, and lines of principals: whom a certificate lets in, with what, and what is no line.

use super::*;

/// An authority, and a certificate of its for those names.
fn certified(names: &[&str]) -> (PKey, PublicKey) {
    let (authority, user) = (key(), key());
    let builder = CertificateBuilder::user(user.public_key());
    let builder = names.iter().fold(builder, |builder, name| builder.principal(name));
    let certificate = builder.sign(&authority).unwrap();
    (authority, certificate)
}

fn lines(keys: &[&PKey]) -> String {
    keys.iter().map(|key| key.public_key().to_line() + " comment\n").collect()
}

#[test]
fn without_principals_the_certificate_names_the_user() {
    for (names, lets_in) in [
        (&["robey"][..], true),
        (&["root", "robey"], true),
        (&["root"], false),
        (&["*"], false),
        (&[], false),
    ] {
        let (authority, certificate) = certified(names);
        let trusted = UserAuthorities::parse(lines(&[&key(), &authority]));
        let answer = trusted.check(&login(&certificate, "192.0.2.7"));
        assert_eq!(answer, AuthAnswer::when(lets_in), "{names:?}");
        for stranger in [UserAuthorities::default(), UserAuthorities::parse(lines(&[&key()]))] {
            assert_eq!(stranger.check(&login(&certificate, "192.0.2.7")), AuthAnswer::Refuse);
        }
        let plain = certificate.without_certificate();
        assert_eq!(trusted.check(&login(&plain, "192.0.2.7")), AuthAnswer::Refuse, "without it");
        assert_eq!(trusted.check(&login(authority.public_key(), "192.0.2.7")), AuthAnswer::Refuse);
    }
}

#[test]
fn lines_of_principals() {
    let (authority, certificate) = certified(&["web", "ci"]);
    let all = Permissions::default;
    let forced = || Permissions { command: Some(b"a b".to_vec()), ..all() };
    for (text, expected) in [
        ("", None),
        ("# web", None),
        ("robey", None),
        ("WEB", None),
        ("we?\n*", None),
        ("web", Some(all())),
        ("  web \r\n", Some(all())),
        ("web # and so on", Some(all())),
        ("web#", Some(all())),
        ("\n\nroot\nci\n", Some(all())),
        ("web ci", None),
        ("command=\"a b\"\tweb", None),
        ("restrict web", Some(Permissions::restricted())),
        ("restrict\tweb", Some(Permissions::restricted())),
        ("restrict,pty   ci", Some(Permissions { pty: true, ..Permissions::restricted() })),
        ("command=\"a b\" web", Some(forced())),
        ("command=\"a b\" robey\nci", Some(all())),
        ("environment=\"A=b\" web", Some(all())),
        ("from=\"192.0.2.0/24\" web", Some(all())),
        // The first that the certificate has decides.
        ("from=\"10.0.0.0/8\" web\nweb\nci", None),
        ("expiry-time=\"20200101\" web\nci", None),
        ("restrict web\nci", Some(Permissions::restricted())),
        // What cannot be read is no line.
        ("unheard-of web\nci", Some(all())),
        ("unheard-of web", None),
        ("restrict", None),
        ("cert-authority web", None),
        ("cert-authority,principals=\"web\" web", None),
        ("principals=\"web\" web", None),
        ("command=\"web", None),
    ] {
        let trusted = UserAuthorities::parse(lines(&[&authority])).principals(text);
        let answer = trusted.check(&login(&certificate, "192.0.2.7"));
        let expected =
            expected.map_or(AuthAnswer::Refuse, |permissions| AuthAnswer::AcceptWith(Box::new(permissions)));
        assert_eq!(answer, expected, "{text:?}");
        let stranger = UserAuthorities::parse(lines(&[&key()])).principals(text);
        assert_eq!(stranger.check(&login(&certificate, "192.0.2.7")), AuthAnswer::Refuse, "{text:?}");
    }
}

#[test]
fn several_texts_and_variables() {
    let (authority, certificate) = certified(&["web"]);
    let trusted = || UserAuthorities::parse(lines(&[&authority]));
    let check = |trusted: UserAuthorities| trusted.check(&login(&certificate, "192.0.2.7"));
    assert!(matches!(check(trusted().principals("").principals("web")), AuthAnswer::AcceptWith(_)));
    let first = trusted().principals("from=\"10.*\" web").principals("web");
    assert_eq!(check(first), AuthAnswer::Refuse, "the first text comes first");
    let set = trusted().permit_user_environment(true).principals("environment=\"A=b\" web");
    match check(set) {
        AuthAnswer::AcceptWith(permissions) => {
            assert_eq!(permissions.environment, [("A".to_owned(), "b".to_owned())]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn lines_that_are_not_used() {
    let (authority, certificate) = certified(&["robey"]);
    let line = authority.public_key().to_line();
    let bad = |trusted: &UserAuthorities| trusted.bad_lines().iter().map(|bad| bad.line).collect::<Vec<_>>();
    let check = |trusted: &UserAuthorities| trusted.check(&login(&certificate, "192.0.2.7"));
    let fine = UserAuthorities::parse(format!("# comment\n\n  {line}\r\nnonsense\n"));
    assert_eq!((check(&fine), bad(&fine)), (AuthAnswer::Accept, vec![4]));
    // Nobody is trusted who stands behind a line that is no key.
    for wrong in ["nonsense", &format!("cert-authority {line}"), "ssh-ed25519 AAAA", &certificate.to_line()] {
        let trusted = UserAuthorities::parse(format!("{wrong}\n{line}\n"));
        assert_eq!((check(&trusted), bad(&trusted)), (AuthAnswer::Refuse, vec![1]), "{wrong}");
    }
    let trusted = UserAuthorities::parse(&line).principals(b"web\n\xff\nweb ci\nrestrict web\n,\n");
    assert_eq!(bad(&trusted), [2, 3]);
    let line = "restrict,command=\"a \\\"b\\\"\",from=\"*\" robey # comment";
    for at in 0..line.len() {
        for byte in [b'"', b'\\', b' ', b',', b'#', b'\n', 0, 0xff] {
            let mut changed = line.as_bytes().to_vec();
            changed[at] = byte;
            let _ = UserAuthorities::default().principals(&changed);
        }
    }
}

#[test]
fn a_text_has_so_many_lines() {
    let (authority, certificate) = certified(&["robey"]);
    let check = |trusted: &UserAuthorities| trusted.check(&login(&certificate, "192.0.2.7"));
    for (before, lets_in) in [(LINES - 1, true), (LINES, false)] {
        let text = "\n".repeat(before);
        let trusted = UserAuthorities::parse(text.clone() + &lines(&[&authority]));
        assert_eq!(check(&trusted) != AuthAnswer::Refuse, lets_in, "{before}");
        let trusted = UserAuthorities::parse(lines(&[&authority])).principals(text + "robey");
        assert_eq!(check(&trusted) != AuthAnswer::Refuse, lets_in, "{before}");
        let keys = AuthorizedKeys::parse("\n".repeat(before) + &lines(&[&authority]));
        let answer = keys.check(&login(authority.public_key(), "192.0.2.7"));
        assert_eq!((answer != AuthAnswer::Refuse, keys.bad_lines().len()), (lets_in, usize::from(!lets_in)));
        assert_eq!(trusted.bad_lines().len(), usize::from(!lets_in));
    }
}

#[test]
fn a_file_of_authorities() {
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large");
    std::fs::File::create(&large).unwrap().set_len(FILE + 1).unwrap();
    for path in [large.as_path(), folder.path(), &folder.path().join("absent")] {
        assert!(matches!(UserAuthorities::load(path), Err(KeyError::Io { .. })), "{}", path.display());
    }
    let (authority, certificate) = certified(&["robey"]);
    let fine = folder.path().join("fine");
    std::fs::write(&fine, lines(&[&authority]) + "nonsense").unwrap();
    let trusted = UserAuthorities::load(&fine).unwrap();
    assert_eq!(trusted.bad_lines().len(), 1);
    assert_eq!(trusted.check(&login(&certificate, "192.0.2.7")), AuthAnswer::Accept);
}
