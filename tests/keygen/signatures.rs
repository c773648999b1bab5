//! Signatures, and who may make them.

use super::*;

const MESSAGE: &[u8] = b"a message\n";

fn bench() -> Option<Both> {
    let both = Both::new()?;
    both.write("message", MESSAGE);
    both.made(&["-q", "-s", "ca", "-I", "x", "-n", "me,me@a.org", "ed25519.pub"], b"", &["ed25519-cert.pub"]);
    both.made(
        &["-q", "-s", "ca", "-I", "x", "-n", "old", "-V", "20200101:20210101", "ecdsa256"],
        b"",
        &["ecdsa256-cert.pub"],
    );
    let [one, two, ca] = ["ed25519", "rsa", "ca"].map(|kind| both.line(kind));
    both.write(
        "signers",
        format!(
            "# who\nme,you {one}\n*@a.org namespaces=\"git,file\" {two}\nlate valid-after=\"20200101\",valid-before=\"20210101Z\" {two}\n\
             *@a.org,old cert-authority {ca}\n\"quoted name\" {two}\n"
        )
        .as_bytes(),
    );
    Some(both)
}

#[test]
fn signatures_are_made_alike() {
    let Some(both) = bench() else { return };
    for key in ["ed25519", "rsa", "ed25519.pub", "ed25519-cert.pub", "rsa.pub"] {
        for options in [&[][..], &["-O", "hashalg=sha256"], &["-O", "HashAlg=sha512", "-q"]] {
            let arguments = [&["-Y", "sign", "-n", "file", "-f", key], options, &["message"]].concat();
            // Signatures of these keys are the same each time.
            let (_, status) = both.same(&arguments, b"");
            assert_eq!(status, 0);
            both.same_files(key);
            for folder in [&both.theirs, &both.ours] {
                fs::remove_file(folder.file("message.sig")).unwrap();
            }
            both.same(&[&["-Y", "sign", "-n", "file", "-f", key], options].concat(), MESSAGE);
        }
    }
    both.write("message.sig", b"there already");
    both.same(&["-Y", "sign", "-n", "file", "-f", "rsa", "message"], b"n\n");
    both.same_files("a refused question");
    both.same(&["-Y", "sign", "-n", "file", "-f", "rsa", "message"], b"y\n");
    both.same_files("an answered question");
    both.all_same(&[
        ("-Y sign -n file -f absent message", 255),
        ("-Y sign -n file -f rsa absent", 255),
        ("-Y sign -n file -f rsa - message", 255),
        ("-Y sign -n file -f rsa -O hashalg=md5 message", 255),
        ("-Y sign -n file -f rsa -O odd message", 255),
        ("-Y sign -U -n file -f rsa message", 255),
        ("-Y sign -f rsa message", 1),
        ("-Y sign -n file message", 1),
        ("-Y odd", 1),
    ]);
}

#[test]
fn signatures_are_judged_alike() {
    let Some(both) = bench() else { return };
    both.made(&["-q", "-k", "-f", "krl", "rsa.pub"], b"", &["krl"]);
    let (mut good, mut bad) = (0, 0);
    for key in ["ed25519", "rsa", "ecdsa384", "ed25519-cert.pub", "ecdsa256-cert.pub"] {
        both.made(&["-q", "-Y", "sign", "-n", "file", "-f", key, "message"], b"", &["message.sig"]);
        for principal in ["me", "you", "me@a.org", "late", "old", "nobody", "quoted name"] {
            for more in [
                &[][..],
                &["-O", "verify-time=20200601Z", "-O", "print-pubkey"],
                &["-r", "krl"],
                &["-r", "rsa.pub"],
                &["-q", "-E", "md5"],
            ] {
                // Of what is not about names, one name is enough.
                if principal != "me@a.org" && more.iter().any(|word| ["-r", "-q"].contains(word)) {
                    continue;
                }
                let arguments = [
                    &["-Y", "verify", "-n", "file", "-f", "signers", "-s", "message.sig", "-I", principal],
                    more,
                ]
                .concat();
                let (_, status) = both.same(&arguments, MESSAGE);
                if status == 0 { good += 1 } else { bad += 1 }
            }
        }
        for namespace in ["file", "git"] {
            both.same(&["-Y", "check-novalidate", "-n", namespace, "-s", "message.sig"], MESSAGE);
            both.same(&["-Y", "check-novalidate", "-n", namespace, "-s", "message.sig"], b"another");
        }
        for time in ["verify-time=20200601", "verify-time=20301231Z"] {
            both.same(&["-Y", "find-principals", "-s", "message.sig", "-f", "signers", "-O", time], b"");
        }
        both.same(&["-Y", "find-principals", "-s", "message.sig", "-f", "signers"], b"");
        for folder in [&both.theirs, &both.ours] {
            fs::remove_file(folder.file("message.sig")).unwrap();
        }
    }
    assert!(good > 10 && bad > 10, "{good} {bad}");
}

#[test]
fn principals_and_wrong_questions() {
    let Some(both) = bench() else { return };
    both.made(&["-q", "-Y", "sign", "-n", "file", "-f", "rsa", "message"], b"", &["message.sig"]);
    for principal in ["me", "me@a.org", "old", "nobody"] {
        both.same(&["-Y", "match-principals", "-I", principal, "-f", "signers"], b"");
    }
    both.write("garbage", b"-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n");
    both.all_same(&[
        ("-Y match-principals -I me", 1),
        ("-Y match-principals -f signers", 1),
        ("-Y match-principals -I me -f absent", 232),
        ("-Y match-principals -I me -O odd -f signers", 246),
        ("-Y find-principals -f signers", 1),
        ("-Y find-principals -s message.sig", 1),
        ("-Y find-principals -s absent -f signers", 255),
        ("-Y find-principals -s garbage -f signers", 255),
        ("-Y find-principals -s message.sig -f absent", 255),
        ("-Y find-principals -s message.sig -f signers -O verify-time=odd", 255),
        ("-Y check-novalidate -n file -s garbage", 255),
        ("-Y check-novalidate -n file -s absent", 255),
        ("-Y check-novalidate -n file", 1),
        ("-Y check-novalidate -s message.sig", 1),
        ("-Y verify -n file -s message.sig -f signers", 1),
        ("-Y verify -n file -s message.sig -f absent -I me@a.org", 255),
        ("-Y verify -n file -s message.sig -f signers -I me@a.org -r absent", 255),
        ("-Y verify -n file -s message.sig -f signers -I me@a.org -O verify-time=0", 255),
        ("-Y verify -n file -s message.sig -f signers -I me@a.org -O hashalg=sha256", 255),
    ]);
}
