//! Authorities whose certificates let users in, whoever the user is, and the names that a certificate may let this
//! one in by: TrustedUserCAKeys and AuthorizedPrincipalsFile of sshd_config(5), OpenSSH's user_cert_trusted_ca.
//! A bad line of principals spoils only itself. Reads no clock.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::options::{self, Options};
use super::{BadLine, KeyLogin, lines, plain, tell_bad, text_of, too_many};
use crate::auth::AuthAnswer;
use crate::key::{CertificateError, KeyError, PublicKey};

/// A name that lets the user in, and with what.
#[derive(Debug)]
struct Principal {
    line: usize,
    name: String,
    options: Options,
}

/// Authorities whose certificates let users in: what sshd_config(5) calls TrustedUserCAKeys, with the principals of
/// AuthorizedPrincipalsFile.
///
/// A certificate has to name the user, or, once there are lines of principals, a name of those.
///
/// ```
/// use feramiko::{AuthAnswer, CertificateBuilder, KeyKind, KeyLogin, PKey, UserAuthorities};
/// let (authority, key) = (PKey::generate(KeyKind::Ed25519)?, PKey::generate(KeyKind::Ed25519)?);
/// let builder = CertificateBuilder::user(key.public_key()).principal("builders");
/// let certificate = builder.sign(&authority)?;
/// let trusted = || UserAuthorities::parse(authority.public_key().to_line());
/// let login = KeyLogin::new("deploy", &certificate, None);
/// // It names nobody called deploy.
/// assert_eq!(trusted().check(&login), AuthAnswer::Refuse);
/// match trusted().principals("root\nrestrict builders").check(&login) {
///     AuthAnswer::AcceptWith(permissions) => assert!(!permissions.pty),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), feramiko::KeyError>(())
/// ```
#[derive(Debug, Default)]
pub struct UserAuthorities {
    /// The blobs of their keys.
    keys: HashSet<Vec<u8>>,
    /// The file they are from, for the log.
    file: Option<PathBuf>,
    /// None: a certificate has to name the user.
    principals: Option<Vec<Principal>>,
    bad: Vec<BadLine>,
    environment: bool,
}

impl UserAuthorities {
    /// Reads a file with the public key of an authority on each line. What is wrong with a line is logged, and
    /// told by [`bad_lines`](Self::bad_lines).
    ///
    /// # Errors
    /// [`KeyError::Io`] when it cannot be read, is no regular file, or is larger than 64 MiB.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        let path = path.as_ref();
        let this = Self::parse(text_of(path)?);
        tell_bad(path, &this.bad);
        Ok(Self { file: Some(path.to_owned()), ..this })
    }

    /// Reads the text of such a file, at most 100000 lines. There are no options before the keys. As with sshd, who
    /// stands behind a line that is no key is trusted as little as that line.
    #[must_use]
    pub fn parse(text: impl AsRef<[u8]>) -> Self {
        let mut this = Self::default();
        for (line, bytes) in lines(text.as_ref()) {
            if bytes.is_empty() || bytes.starts_with(b"#") {
                continue;
            }
            let read =
                PublicKey::from_line(&String::from_utf8_lossy(bytes)).map_err(|error| error.to_string());
            match read.and_then(|(key, _)| plain(key.blob().to_vec(), &Options::default())) {
                Ok(key) => drop(this.keys.insert(key)),
                Err(reason) => {
                    let reason = format!("{reason}; nor is any that follows");
                    this.bad.push(BadLine { line, reason });
                    return this;
                }
            }
        }
        this.bad.extend(too_many(text.as_ref()));
        this
    }

    /// From now on a certificate has to name a principal that stands in such a text, the user's name alone does
    /// not do: each line a name, with options before it as in authorized_keys. What follows a `#` is a comment, and
    /// the last blank parts the name from the options.
    /// The first line whose name the certificate has decides. Of several texts the lines of the first come
    /// first; one that could not be read is an empty one. At most 100000 lines of each are read.
    #[must_use]
    pub fn principals(mut self, text: impl AsRef<[u8]>) -> Self {
        let principals = self.principals.get_or_insert_default();
        for (line, bytes) in lines(text.as_ref()) {
            let bytes = bytes.split(|byte| *byte == b'#').next().unwrap_or_default().trim_ascii();
            match principal(bytes) {
                _ if bytes.is_empty() => {}
                Ok((options, name)) => principals.push(Principal { line, name, options }),
                Err(reason) => self.bad.push(BadLine { line, reason }),
            }
        }
        self.bad.extend(too_many(text.as_ref()));
        self
    }

    /// Lets lines of principals set variables by `environment=`; see
    /// [`AuthorizedKeys::permit_user_environment`](super::AuthorizedKeys::permit_user_environment).
    #[must_use]
    pub fn permit_user_environment(mut self, permit: bool) -> Self {
        self.environment = permit;
        self
    }

    /// The lines that could not be used, those with keys before those with principals.
    #[must_use]
    pub fn bad_lines(&self) -> &[BadLine] {
        &self.bad
    }

    /// Whether the certificate lets the user in, for [`check_auth_certificate`], where the library has checked
    /// that it is good for now and for there. A key without one is refused.
    ///
    /// [`check_auth_certificate`]: crate::ServerInterface::check_auth_certificate
    pub fn check(&self, login: &KeyLogin<'_>) -> AuthAnswer {
        let Some(certificate) = login.key.certificate() else { return AuthAnswer::Refuse };
        let authority = certificate.authority();
        if !self.keys.contains(authority.blob()) {
            let file = self.file.as_deref().unwrap_or_else(|| Path::new("(a text)")).display();
            log::debug!(
                target: "feramiko::auth",
                "the authority {} is not listed in {file}",
                authority.fingerprint()
            );
            return AuthAnswer::Refuse;
        }
        // As OpenSSH logs it: whoever runs the server is asked why, and the client is not told.
        let refused = |why: String| {
            log::error!(target: "feramiko::auth", "{}: {why}", login.key.fingerprint());
            AuthAnswer::Refuse
        };
        let Some(principals) = &self.principals else {
            return match certificate.names(login.user) {
                true => AuthAnswer::Accept,
                false => refused(CertificateError::WrongPrincipal(login.user.to_owned()).to_string()),
            };
        };
        let found = principals.iter().find(|principal| certificate.names(&principal.name));
        let Some(Principal { line, name, options }) = found else {
            return refused(format!("the certificate has no principal that lets in {}", login.user));
        };
        match options.refuses_here(login) {
            None => options.granted(self.environment),
            Some(reason) => {
                log::info!(
                    target: "feramiko::auth",
                    "{}: line {line}, {name}, does not let {} in: {reason}",
                    login.key.fingerprint(),
                    login.user
                );
                AuthAnswer::Refuse
            }
        }
    }
}

/// A line of principals: its options and its name.
fn principal(line: &[u8]) -> Result<(Options, String), String> {
    let last = |blank: u8| line.iter().rposition(|byte| *byte == blank);
    // As sshd has it: a space wherever it stands, or else a tab.
    let parted = last(b' ').or_else(|| last(b'\t')).and_then(|at| line.split_at_checked(at));
    let (options, name) = parted.unwrap_or((b"", line));
    let options = match options.trim_ascii() {
        b"" => Options::default(),
        // They end at a blank.
        text => match options::parse(&[text, b" "].concat())? {
            (options, b"") => options,
            _ => return Err("one name follows the options".to_owned()),
        },
    };
    if options.authority || options.principals.is_some() {
        return Err("cert-authority and principals are options of keys".to_owned());
    }
    let name = std::str::from_utf8(name.trim_ascii()).map_err(|_| "the name is no UTF-8")?;
    Ok((options, name.to_owned()))
}
