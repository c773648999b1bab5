//! known_hosts: finding, removing, hashing.

use super::*;

/// The same files in both folders: plain, hashed, marked, with ports and patterns.
fn bench() -> Option<Both> {
    let both = Both::new()?;
    let [one, two] = ["ed25519", "rsa"].map(|kind| both.line(kind));
    let bare = one.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let known = format!(
        "# a remark\n\nhost.example.org,10.0.0.1 {one}\n[host.example.org]:2222 {two}\n  other {bare}\n\
         *.example.com,!bad.example.com {one}\n@cert-authority *.example.org {two}\n@revoked host.example.org {two}\n\
         Upper.Example.ORG {bare}\nhost.example.org\t{two}\n"
    );
    both.write("known", known.as_bytes());
    both.write(
        "plain",
        format!("host.example.org,10.0.0.1 {one}\n[host.example.org]:2222 {two}\n").as_bytes(),
    );
    both.made(&["-H", "-f", "plain"], b"", &["plain"]);
    fs::remove_file(both.theirs.file("plain.old")).unwrap();
    both.write(
        "hashed",
        format!("{}*.a.org {two}\n", fs::read_to_string(both.ours.file("plain")).unwrap()).as_bytes(),
    );
    both.write(
        "broken",
        format!("host {one}\nhost ssh-ed25519\nhost\n@odd host {one}\nhost odd-type AAAA\n").as_bytes(),
    );
    both.write("badhash", format!("|1|odd {one}\nhost {one}\n").as_bytes());
    both.write("badkey", format!("host ssh-rsa {one}\nhost ssh-ed25519 AAAA x\n").as_bytes());
    let mut odd = b"# caf\xe9\nhost,h\xe9 ".to_vec();
    odd.extend_from_slice(format!("{one}\nother {two} ").as_bytes());
    odd.extend_from_slice(b"caf\xe9\r\nlast ");
    odd.extend_from_slice(bare.as_bytes());
    both.write("odd", &odd);
    Some(both)
}

const HOSTS: [&str; 9] = [
    "host.example.org",
    "[host.example.org]:2222",
    "10.0.0.1",
    "other",
    "www.example.com",
    "bad.example.com",
    "www.example.org",
    "upper.example.org",
    "nowhere",
];

#[test]
fn hosts_are_found() {
    let Some(both) = bench() else { return };
    for host in HOSTS {
        for file in ["known", "hashed", "plain"] {
            for flags in ["-f", "-l -f", "-lv -f", "-q -f", "-q -l -E md5 -f"] {
                let command = format!("-F {host} {flags} {file}");
                both.same(&command.split(' ').collect::<Vec<_>>(), b"");
            }
        }
    }
    both.all_same(&[
        ("-F HOST.example.org -f known", 0),
        ("-F host -f broken", 0),
        ("-F host -f badhash", 0),
        ("-F host -f badkey", 0),
        ("-F host -l -f badkey", 1),
        ("-F host -f absent", 255),
        ("-F nowhere -f known", 1),
        ("-F other -f odd", 0),
        ("-F last -f odd", 0),
    ]);
}

#[test]
fn hosts_are_removed() {
    for host in HOSTS {
        let Some(both) = bench() else { return };
        for file in ["known", "hashed"] {
            both.all_same(&[(&format!("-R {host} -f {file}"), 0), (&format!("-q -R {host} -f {file}"), 0)]);
        }
    }
    let Some(both) = bench() else { return };
    for file in ["broken", "badhash"] {
        both.all_same(&[(&format!("-R host -f {file}"), 1)]);
    }
    both.all_same(&[
        ("-R host -f badkey", 0),
        ("-R host -f absent", 255),
        ("-R last -f odd", 0),
        ("-R host -f odd", 0),
    ]);
    for folder in [&both.theirs, &both.ours] {
        fs::set_permissions(folder.file("known"), fs::Permissions::from_mode(0o664)).unwrap();
    }
    both.all_same(&[("-R other -f known", 0)]);
    let mode = |folder: &Folder| fs::metadata(folder.file("known")).unwrap().permissions().mode();
    assert_eq!(mode(&both.ours), mode(&both.theirs));
}

/// Text in whatever encoding.
fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// The text with salts and hashes left out.
fn unsalted(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix("|1|") {
        Some(rest) => format!("|1| {}\n", rest.split_once(' ').unwrap().1),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn hosts_are_hashed() {
    let Some(both) = bench() else { return };
    for file in ["known", "hashed", "badkey", "odd"] {
        both.same(&["-H", "-f", file], b"");
        let read = |folder: &Folder, name: &str| fs::read(folder.file(name)).unwrap();
        let [theirs, ours] = [&both.theirs, &both.ours].map(|folder| latin(&read(folder, file)));
        assert_eq!(unsalted(&ours), unsalted(&theirs));
        let old = |folder: &Folder| read(folder, &format!("{file}.old"));
        assert_eq!(old(&both.ours), old(&both.theirs));
        // Each finds in the other's file what it finds in its own.
        let swapped = read(&both.theirs, file);
        fs::copy(both.ours.file(file), both.theirs.file(file)).unwrap();
        fs::write(both.ours.file(file), swapped).unwrap();
        for host in HOSTS {
            let (theirs, ours) = both.run(&["-F", host, "-f", file], b"");
            assert_eq!(
                (unsalted(&ours.stdout), ours.status),
                (unsalted(&theirs.stdout), theirs.status),
                "{host}"
            );
        }
    }
    for (file, expected) in [("broken", 1), ("absent", 255)] {
        let (_, status) = both.same(&["-H", "-f", file], b"");
        assert_eq!(status, expected, "{file}");
    }
    let (theirs, ours) = both.run(&["-H", "-F", "host", "-f", "broken"], b"");
    assert_eq!((unsalted(&ours.stdout), ours.status), (unsalted(&theirs.stdout), theirs.status));
}
