//! What stands in values for something else: `%h` and its like, `${ENV}`, `~`. OpenSSH's misc.c,
//! vdollar_percent_expand and tilde_expand.
//!
//! Knows the world by [`Environment`] only.

use super::environment::Environment;

/// What a value expands to is no longer than this: a few tokens of a long value must not fill the memory.
/// No path, command or variable of a system is longer (Linux: 128 KiB each).
const EXPANDED_BYTES: usize = 128 * 1024;

/// The letters that stand for something, with what they stand for.
#[derive(Debug, Clone, Default)]
pub(super) struct Tokens(Vec<(char, String)>);

impl Tokens {
    pub(super) fn new(tokens: impl IntoIterator<Item = (char, String)>) -> Self {
        Self(tokens.into_iter().collect())
    }

    /// The same and more.
    pub(super) fn with<const N: usize>(&self, more: [(char, &str); N]) -> Self {
        let more = more.into_iter().map(|(letter, text)| (letter, text.to_owned()));
        Self(self.0.iter().cloned().chain(more).collect())
    }

    /// Only some of them.
    pub(super) fn only(&self, letters: &str) -> Self {
        Self(self.0.iter().filter(|(letter, _)| letters.contains(*letter)).cloned().collect())
    }

    pub(super) fn get(&self, letter: char) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == letter).map(|(_, text)| text.as_str())
    }
}

/// Which kinds of tokens a value may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expand<'a> {
    /// Without any, `%` stands for itself.
    pub(super) tokens: Option<&'a Tokens>,
    /// Where `${ENV}` is looked up, if it may stand there.
    pub(super) variables: Option<&'a dyn Environment>,
}

impl Expand<'_> {
    /// The text with all tokens replaced. The error is what is wrong with it.
    pub(super) fn text(self, text: &str) -> Result<String, String> {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some(letter) = rest.chars().next() {
            let after = rest.get(letter.len_utf8()..).unwrap_or_default();
            rest = match (letter, self.variables, self.tokens) {
                ('$', Some(environment), _) if after.starts_with('{') => {
                    let (name, after) = variable(after)?;
                    let value = environment.variable(name);
                    let value = value.ok_or_else(|| format!("the variable ${{{name}}} has no value"))?;
                    expanded.push_str(&value);
                    after
                }
                ('%', _, Some(tokens)) => {
                    let (value, after) = token(after, tokens)?;
                    expanded.push_str(value);
                    after
                }
                _ => {
                    expanded.push(letter);
                    after
                }
            };
            if expanded.len() > EXPANDED_BYTES {
                return Err(format!("a value expands to more than {EXPANDED_BYTES} bytes"));
            }
        }
        Ok(expanded)
    }
}

/// The name in braces, and what follows.
fn variable(after: &str) -> Result<(&str, &str), String> {
    let inside = after.strip_prefix('{').unwrap_or(after);
    match inside.split_once('}') {
        Some(("", _)) => Err("${} names no variable".to_owned()),
        Some(found) => Ok(found),
        None => Err("${ is not closed".to_owned()),
    }
}

/// What the letter behind a `%` stands for, and what follows.
fn token<'a>(after: &'a str, tokens: &'a Tokens) -> Result<(&'a str, &'a str), String> {
    let letter = after.chars().next().ok_or("a % at the end stands for nothing; write %%")?;
    let rest = after.get(letter.len_utf8()..).unwrap_or_default();
    if letter == '%' {
        return Ok(("%", rest));
    }
    let value = tokens.get(letter);
    value
        .map(|value| (value, rest))
        .ok_or_else(|| format!("%{letter} stands for nothing here; write %% for a %"))
}

/// The path with `~` or `~user` at its beginning replaced by that home directory.
pub(super) fn home(path: &str, environment: &dyn Environment) -> Result<String, String> {
    let Some(rest) = path.strip_prefix('~') else { return Ok(path.to_owned()) };
    let (user, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let home = if user.is_empty() { environment.home() } else { environment.home_of(user) };
    let home = home.ok_or_else(|| format!("{path}: no home directory is known for it"))?;
    Ok(format!("{}/{}", home.trim_end_matches('/'), rest.trim_start_matches('/')))
}
