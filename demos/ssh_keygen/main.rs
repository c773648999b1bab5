//! Makes keys, shows and converts them, signs certificates and messages, keeps known_hosts and lists of
//! revoked keys: the options of ssh-keygen(1) that are built, with OpenSSH's outputs and exit statuses.

mod certificates;
mod files;
mod generate;
mod hosts;
mod outcome;
mod revoke;
mod settings;
mod show;
mod signatures;
#[path = "../support/mod.rs"]
mod support;
mod types;

use std::process::ExitCode;

use outcome::{Fail, Outcome, error};
use settings::Settings;
use support::args::Options;
use support::given::Given;
use support::output::complain;

const USAGE: &str = "usage: ssh_keygen [-q] [-a rounds] [-b bits] [-C comment] [-f output_keyfile]
                  [-m format] [-N new_passphrase]
                  [-t dsa | ecdsa | ed25519 | ed448 | rsa] [-Z cipher]
       ssh_keygen -p [-a rounds] [-f keyfile] [-m format] [-N new_passphrase]
                   [-P old_passphrase] [-Z cipher]
       ssh_keygen -i [-f input_keyfile] [-m key_format]
       ssh_keygen -e [-f input_keyfile] [-m key_format]
       ssh_keygen -y [-f input_keyfile]
       ssh_keygen -c [-a rounds] [-C comment] [-f keyfile] [-P passphrase]
       ssh_keygen -l [-v] [-E fingerprint_hash] [-f input_keyfile]
       ssh_keygen -F hostname [-lv] [-f known_hosts_file]
       ssh_keygen -H [-f known_hosts_file]
       ssh_keygen -R hostname [-f known_hosts_file]
       ssh_keygen -r hostname [-g] [-O option] [-f input_keyfile]
       ssh_keygen -I certificate_identity -s ca_key [-hU] [-n principals]
                  [-O option] [-V validity_interval] [-z serial_number] file ...
       ssh_keygen -L [-f input_keyfile]
       ssh_keygen -A [-a rounds] [-f prefix_path]
       ssh_keygen -k -f krl_file [-u] [-s ca_public] [-z version_number]
                  file ...
       ssh_keygen -Q [-l] -f krl_file [file ...]
       ssh_keygen -Y find-principals -s signature_file -f allowed_signers_file
       ssh_keygen -Y match-principals -I signer_identity -f allowed_signers_file
       ssh_keygen -Y check-novalidate -n namespace -s signature_file
       ssh_keygen -Y sign -f key_file -n namespace file [-O option] ...
       ssh_keygen -Y verify -f allowed_signers_file -I signer_identity
                  -n namespace -s signature_file [-r krl_file] [-O option]";
const OPTIONS: Options =
    Options { letters: "ABHKLQUXceghiklopquvyC:D:E:F:I:M:N:O:P:R:V:Y:Z:a:b:f:m:n:r:s:t:w:z:", names: &[] };
/// What is made when nobody says.
const DEFAULT_TYPE: &str = "ed25519";
/// Options of ssh-keygen's that are understood and not built.
const NOT_BUILT: [(char, &str); 5] = [
    ('B', "bubblebabble"),
    ('D', "keys of PKCS#11 tokens"),
    ('K', "keys of FIDO tokens"),
    ('M', "making and screening moduli"),
    ('w', "keys of FIDO tokens"),
];

/// What is wrong, and how to do it right.
fn usage(wrong: &str) -> Fail {
    error(format!("{wrong}\n{USAGE}"))
}

fn main() -> ExitCode {
    let given = Given::from_env(OPTIONS).map_err(|wrong| usage(&wrong));
    match given.and_then(Settings::new).and_then(|settings| run(&settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Fail { status, text }) => {
            if !text.is_empty() {
                complain(text);
            }
            ExitCode::from(status)
        }
    }
}

/// That the options go together.
fn check(settings: &Settings) -> Outcome {
    let given = &settings.given;
    let has = |letter| given.has(letter);
    if let Some((letter, what)) = NOT_BUILT.iter().find(|(letter, _)| has(*letter)) {
        return Err(error(format!("-{letter}: {what} is not built")));
    }
    if has('Y') {
        return Ok(());
    }
    match (has('s'), given.operands.is_empty()) {
        (true, true) if !has('k') => return Err(usage("Too few arguments.")),
        (false, false) if !has('k') && !has('Q') => return Err(usage("Too many arguments.")),
        _ => {}
    }
    if has('p') && has('c') {
        return Err(usage("Can only have one of -p and -c."));
    }
    if has('l') && (has('R') || has('H')) {
        return Err(usage("Cannot use -l with -H or -R."));
    }
    Ok(())
}

/// Does the first of the actions that is asked for, in OpenSSH's order.
fn run(settings: &Settings) -> Outcome {
    check(settings)?;
    let given = &settings.given;
    let has = |letter| given.has(letter);
    match () {
        () if has('Y') => signatures::operate(settings, given.last('Y').unwrap_or_default()),
        () if has('k') => revoke::make(settings),
        () if has('Q') => revoke::query(settings),
        () if has('s') => certificates::sign(settings, given.last('s').unwrap_or_default()),
        () if has('L') => certificates::show(settings),
        () if has('F') => hosts::find(settings, given.last('F').unwrap_or_default()),
        () if has('R') => hosts::remove(settings, given.last('R').unwrap_or_default()),
        () if has('H') => hosts::hash(settings),
        () if has('l') => show::fingerprints(settings),
        () if has('p') => generate::change_passphrase(settings),
        () if has('c') => generate::change_comment(settings),
        () if has('e') => show::export(settings),
        () if has('i') || has('X') => show::import(settings),
        () if has('y') => show::public(settings),
        () if has('r') => show::records(settings, given.last('r').unwrap_or_default()),
        () if has('A') => generate::host_keys(settings),
        () => generate::generate(settings),
    }
}
