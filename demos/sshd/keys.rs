//! Which keys and certificates let a user in: the files and commands that sshd_config(5) names. All is read at
//! every login: who was taken out of a file does not come in again.

use std::path::PathBuf;
use std::time::Duration;

use feramiko::{
    Account, AuthAnswer, AuthorizedKeys, BadLine, KeyLogin, Permissions, PublicKey, UserAuthorities,
    pattern_list_matches,
};

use crate::support::given::option;
use crate::tokens::expand;
use crate::who::{Who, tokens};

/// A command that says which keys a user has ends by then: a client is waiting.
const PATIENCE: Duration = Duration::from_secs(30);

/// What lets the key in, if anything does.
pub(crate) fn judge(who: &Who, login: &KeyLogin<'_>, given: &[PathBuf]) -> AuthAnswer {
    let Some(account) = who.account() else { return AuthAnswer::Refuse };
    match certified(who, account, login) {
        AuthAnswer::Refuse => {}
        answer => return answer,
    }
    for path in given {
        match AuthorizedKeys::load(path) {
            // Bad lines were told when it was read.
            Ok(keys) => match settable(who, keys.permit_user_environment(true).check(login)) {
                AuthAnswer::Refuse => {}
                answer => return answer,
            },
            Err(error) => log::warn!(target: "sshd", "{error}"),
        }
    }
    if let Some(text) = output(who, account, login, "authorizedkeyscommand") {
        match check(who, AuthorizedKeys::parse(text), login) {
            AuthAnswer::Refuse => {}
            answer => return answer,
        }
    }
    let names = who.config.words("authorizedkeysfile");
    for name in names.iter().filter(|name| !name.eq_ignore_ascii_case("none")) {
        let Some(text) = text_of(who, account, name) else { continue };
        match check(who, AuthorizedKeys::parse(text), login) {
            AuthAnswer::Refuse => {}
            answer => return answer,
        }
    }
    AuthAnswer::Refuse
}

/// What a file of the user's says; none when it is not there, or others could have written it.
fn text_of(who: &Who, account: &Account, name: &str) -> Option<Vec<u8>> {
    let path = who.file(name).inspect_err(|why| log::error!(target: "sshd", "{why}")).ok()?;
    let read = account.read_file(&path, who.config.flag("strictmodes"));
    read.inspect_err(|error| log::info!(target: "sshd", "{}: {error}", path.display())).ok()
}

/// What the lines say, with the variables that PermitUserEnvironment lets them set.
fn check(who: &Who, keys: AuthorizedKeys, login: &KeyLogin<'_>) -> AuthAnswer {
    tell_bad(who, "key", keys.bad_lines());
    settable(who, keys.permit_user_environment(true).check(login))
}

fn tell_bad(who: &Who, what: &str, lines: &[BadLine]) {
    for bad in lines {
        log::warn!(target: "sshd", "a {what} of {}: line {} is not used: {}", who.name, bad.line, bad.reason);
    }
}

/// The answer with the variables that users may set.
fn settable(who: &Who, answer: AuthAnswer) -> AuthAnswer {
    match answer {
        AuthAnswer::AcceptWith(mut permissions) => {
            permissions.environment.retain(|(name, _)| may_set(who, name));
            AuthAnswer::AcceptWith(permissions)
        }
        other => other,
    }
}

/// Whether users may set that variable: PermitUserEnvironment, `yes`, `no` or a list of patterns.
pub(crate) fn may_set(who: &Who, name: &str) -> bool {
    match who.config.word("permituserenvironment").as_str() {
        "yes" => true,
        "no" => false,
        list => pattern_list_matches(list, name),
    }
}

/// Whether an authority of TrustedUserCAKeys says in a certificate who this is.
fn certified(who: &Who, account: &Account, login: &KeyLogin<'_>) -> AuthAnswer {
    let Some(path) = who.config.some("trustedusercakeys") else { return AuthAnswer::Refuse };
    let mut authorities = match UserAuthorities::load(path) {
        Ok(authorities) => authorities.permit_user_environment(true),
        Err(error) => {
            log::warn!(target: "sshd", "TrustedUserCAKeys: {error}");
            return AuthAnswer::Refuse;
        }
    };
    // Bad lines of keys were told when they were read.
    let told = authorities.bad_lines().len();
    let file = who.config.some("authorizedprincipalsfile");
    let command = who.config.some("authorizedprincipalscommand");
    if file.is_some() || command.is_some() {
        let text = file.and_then(|name| text_of(who, account, &name));
        authorities = authorities.principals(text.unwrap_or_default());
    }
    // It is run only if the file lets nobody in.
    if command.is_some() && authorities.check(login) == AuthAnswer::Refuse {
        let text = output(who, account, login, "authorizedprincipalscommand");
        authorities = authorities.principals(text.unwrap_or_default());
    }
    tell_bad(who, "principal", authorities.bad_lines().get(told..).unwrap_or_default());
    settable(who, authorities.check(login))
}

/// What AuthorizedKeysCommand or AuthorizedPrincipalsCommand prints, run as the user that is named for it.
fn output(who: &Who, account: &Account, login: &KeyLogin<'_>, keyword: &str) -> Option<Vec<u8>> {
    let line = who.config.some(keyword)?;
    let run = || {
        let user = who.config.some(&format!("{keyword}user")).ok_or("no user is set to run it")?;
        let user = expand(&user, &tokens(account))?;
        let runner = Account::named(&user).map_err(|error| error.to_string())?;
        let runner = runner.ok_or_else(|| format!("there is no user {user}"))?;
        // As `option` reads a line: the program stands where the name of an option does.
        let (_, words) = option(&format!("x {line}"))?;
        let tokens = [tokens(account), of_key(login.key)].concat();
        let mut words = words.iter().map(|word| expand(word, &tokens)).collect::<Result<Vec<_>, _>>()?;
        let program = if words.is_empty() { return Err("no command".to_owned()) } else { words.remove(0) };
        if words.is_empty() && keyword == "authorizedkeyscommand" {
            // OpenSSH's default.
            words.push(account.name().to_owned());
        }
        runner.output_of(program.as_ref(), &words, PATIENCE).map_err(|error| error.to_string())
    };
    run().inspect_err(|why| log::error!(target: "sshd", "{keyword}: {why}")).ok()
}

/// The tokens about a key: `%f` `%k` `%t`, and of a certificate also `%F` `%K` `%T` `%i` `%s`.
fn of_key(key: &PublicKey) -> Vec<(char, String)> {
    let mut tokens = vec![('f', key.fingerprint()), ('k', key.base64()), ('t', key.key_type().to_owned())];
    if let Some(certificate) = key.certificate() {
        let authority = certificate.authority();
        tokens.extend([
            ('F', authority.fingerprint()),
            ('K', authority.base64()),
            ('T', authority.key_type().to_owned()),
            ('i', certificate.key_id()),
            ('s', certificate.serial().to_string()),
        ]);
    }
    tokens
}

/// What the configuration takes away of what was granted.
pub(crate) fn narrowed(who: &Who, answer: AuthAnswer) -> AuthAnswer {
    let mut permissions = match answer {
        AuthAnswer::Accept => Permissions::default(),
        AuthAnswer::AcceptWith(permissions) => *permissions,
        other => return other,
    };
    let forwarding = !who.config.flag("disableforwarding");
    permissions.pty &= who.config.flag("permittty");
    permissions.user_rc &= who.config.flag("permituserrc");
    permissions.agent_forwarding &= forwarding && who.config.flag("allowagentforwarding");
    permissions.port_forwarding &= forwarding;
    permissions.x11_forwarding &= forwarding && who.config.flag("x11forwarding");
    let options = who.config.words("pubkeyauthoptions");
    permissions.touch_required |= options.iter().any(|option| option == "touch-required");
    permissions.verify_required |= options.iter().any(|option| option == "verify-required");
    AuthAnswer::AcceptWith(Box::new(permissions))
}
