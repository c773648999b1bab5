//! Which keys and certificates let a user in: the files and commands that sshd_config(5) names. All is read at
//! every login: who was taken out of a file does not come in again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use feramiko::{
    Account, AuthAnswer, AuthorizedKeys, Certificate, CertificateError, KeyLogin, Permissions, PublicKey,
    RevokedKeys, pattern_list_matches,
};

use crate::support::given::option;
use crate::tokens::expand;
use crate::who::{Who, tokens};

/// A command that says which keys a user has ends by then: a client is waiting.
const PATIENCE: Duration = Duration::from_secs(30);

/// What lets the key in, if anything does.
pub(crate) fn judge(who: &Who, login: &KeyLogin<'_>, given: &[PathBuf]) -> AuthAnswer {
    let Some(account) = who.account() else { return AuthAnswer::Refuse };
    if revokes(who, login.key) {
        return AuthAnswer::Refuse;
    }
    match certified(who, account, login) {
        AuthAnswer::Refuse => {}
        answer => return answer,
    }
    for path in given {
        match AuthorizedKeys::load(path) {
            Ok(keys) => match check(who, keys, login) {
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

/// What the lines say.
fn check(who: &Who, keys: AuthorizedKeys, login: &KeyLogin<'_>) -> AuthAnswer {
    for bad in keys.bad_lines() {
        log::warn!(target: "sshd", "a key of {}: line {} is not used: {}", who.name, bad.line, bad.reason);
    }
    allow(who, keys, login)
}

/// What good lines say, with the variables that PermitUserEnvironment lets them set.
fn allow(who: &Who, keys: AuthorizedKeys, login: &KeyLogin<'_>) -> AuthAnswer {
    match keys.permit_user_environment(true).check(login) {
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

/// Whether RevokedKeys has the key. A list that cannot be read revokes all.
fn revokes(who: &Who, key: &PublicKey) -> bool {
    let Some(path) = who.config.some("revokedkeys") else { return false };
    match RevokedKeys::from_file(&path).map(|list| list.check_key(key)) {
        Ok(None) => false,
        Ok(Some(reason)) => {
            log::error!(target: "sshd", "{} is revoked by {path}: {reason}", key.fingerprint());
            true
        }
        Err(error) => {
            log::error!(target: "sshd", "RevokedKeys: {error}");
            true
        }
    }
}

/// Whether an authority of TrustedUserCAKeys says in a certificate who this is.
fn certified(who: &Who, account: &Account, login: &KeyLogin<'_>) -> AuthAnswer {
    let Some(certificate) = login.key.certificate() else { return AuthAnswer::Refuse };
    let Some(authorities) = who.config.some("trustedusercakeys") else { return AuthAnswer::Refuse };
    let authority = certificate.authority();
    if !has_key(authorities.as_ref(), authority) {
        log::debug!(target: "sshd", "the authority {} is not listed in {authorities}", authority.fingerprint());
        return AuthAnswer::Refuse;
    }
    // As OpenSSH logs it: whoever runs the server is asked why, and the client is not told.
    let refused = |why: String| {
        log::error!(target: "sshd", "{}: {why}", login.key.fingerprint());
        AuthAnswer::Refuse
    };
    let file = who.config.some("authorizedprincipalsfile");
    let command = who.config.some("authorizedprincipalscommand");
    if file.is_none() && command.is_none() {
        return match certificate.names(login.user) {
            true => AuthAnswer::Accept,
            false => refused(CertificateError::WrongPrincipal(login.user.to_owned()).to_string()),
        };
    }
    let texts = [
        file.and_then(|name| text_of(who, account, &name)),
        command.and_then(|_| output(who, account, login, "authorizedprincipalscommand")),
    ];
    for text in texts.into_iter().flatten() {
        let text = String::from_utf8_lossy(&text).into_owned();
        match text.lines().find_map(|line| principal(who, line, certificate, login)) {
            None | Some(AuthAnswer::Refuse) => {}
            Some(answer) => return answer,
        }
    }
    refused(format!("the certificate has no principal that lets in {}", login.user))
}

/// A line of a file of principals: options, as authorized_keys has them, and a name. None if the certificate
/// has not that name, or the options mean nothing.
fn principal(who: &Who, line: &str, certificate: &Certificate, login: &KeyLogin<'_>) -> Option<AuthAnswer> {
    // As sshd has it: a comment may follow, and the name is what stands behind the last space or else tab.
    let line = line.split('#').next().unwrap_or_default().trim();
    let blank = line.rfind(' ').or_else(|| line.rfind('\t')).unwrap_or_default();
    let (options, name) = line.split_at_checked(blank)?;
    let (options, name) = (options.trim(), name.trim());
    if name.is_empty() || !certificate.names(name) {
        return None;
    }
    if options.is_empty() {
        return Some(AuthAnswer::Accept);
    }
    // Options mean the same as those of a line with an authority's key.
    let key = certificate.authority().to_line();
    let keys = AuthorizedKeys::parse(format!("cert-authority,principals=\"{name}\",{options} {key}"));
    if let Some(bad) = keys.bad_lines().first() {
        log::warn!(target: "sshd", "the principal {name} of {} is not used: {}", who.name, bad.reason);
        return None;
    }
    Some(allow(who, keys, login))
}

/// Whether a line of the file is that key. It is read as a user's files are, a regular file up to a limit, and as
/// sshd does up to the first line that is no key.
fn has_key(path: &Path, key: &PublicKey) -> bool {
    let read = Account::current().and_then(|own| own.read_file(path, false));
    let text = read.unwrap_or_else(|error| {
        log::warn!(target: "sshd", "{}: {error}", path.display());
        Vec::new()
    });
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut keys = lines.map_while(|line| {
        let read = PublicKey::from_line(line);
        read.inspect_err(|error| {
            log::warn!(target: "sshd", "{}: not read to its end: {error}", path.display());
        })
        .ok()
    });
    keys.any(|(known, _)| known == *key)
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
