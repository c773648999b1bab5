//! A process may end while the library's threads work: whatever of the library was called first, it ends as it
//! wanted to.

mod given;

use std::process::Command;
use std::sync::Barrier;
use std::thread;

use feramiko::{KeyFormat, KeyKind, OpensshParams, PKey, PpkParams, Secret};

/// How many threads work on, and how often a process is ended under them.
const WORKERS: usize = 4;
const TIMES: usize = 5;
/// What the process that ends is to call first.
const FIRST: &str = "FERAMIKO_CALLS_FIRST";

/// Ends this process while its threads make keys.
fn end_at_work() {
    let at_work: &'static Barrier = Box::leak(Box::new(Barrier::new(WORKERS + 1)));
    for _ in 0..WORKERS {
        thread::spawn(move || {
            PKey::generate(KeyKind::EcdsaP256).unwrap();
            at_work.wait();
            loop {
                PKey::generate(KeyKind::EcdsaP256).unwrap();
            }
        });
    }
    at_work.wait();
}

#[test]
fn whatever_was_called_first() {
    let _watch = given::within(60);
    if let Some(call) = std::env::var_os(FIRST) {
        match call.to_str().unwrap() {
            "generate" => PKey::generate(KeyKind::Ed25519).unwrap(),
            path => PKey::from_file(path, Some("secret")).unwrap(),
        };
        return end_at_work();
    }
    let folder = tempfile::tempdir().unwrap();
    let openssh = KeyFormat::Openssh(OpensshParams { rounds: 1, ..OpensshParams::default() });
    let formats = [openssh, KeyFormat::Ppk(PpkParams::default()), KeyFormat::Pem, KeyFormat::Pkcs8];
    let files = formats.iter().zip(["openssh", "ppk", "pem", "pkcs8"]).map(|(format, name)| {
        let path = folder.path().join(name);
        let key = PKey::generate(KeyKind::EcdsaP256).unwrap();
        key.write_private_key_file_as(&path, format, Some(&Secret::from("secret"))).unwrap();
        path.into_os_string()
    });
    for call in files.chain(["generate".into()]) {
        for _ in 0..TIMES {
            let mut again = Command::new(std::env::current_exe().unwrap());
            let ended =
                again.args(["--exact", "whatever_was_called_first"]).env(FIRST, &call).output().unwrap();
            assert!(ended.status.success(), "{}: {ended:?}", call.display());
        }
    }
}
