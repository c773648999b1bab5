//! The `%` tokens of sshd_config(5).

/// `text` with each `%` and its letter replaced; `%%` is a percent sign. What is not known is an error.
pub(crate) fn expand(text: &str, tokens: &[(char, String)]) -> Result<String, String> {
    let (mut expanded, mut letters) = (String::new(), text.chars());
    while let Some(letter) = letters.next() {
        if letter != '%' {
            expanded.push(letter);
            continue;
        }
        match letters.next() {
            Some('%') => expanded.push('%'),
            name => {
                let known = tokens.iter().find(|(known, _)| Some(*known) == name);
                let (_, value) = known.ok_or_else(|| format!("{text}: a % that means nothing"))?;
                expanded.push_str(value);
            }
        }
    }
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        let tokens = [('u', "robey".to_owned()), ('h', "/home/%u".to_owned())];
        assert_eq!(expand("%h/%u/%%u", &tokens).unwrap(), "/home/%u/robey/%u");
        assert!(expand("%x", &tokens).is_err() && expand("a%", &tokens).is_err());
    }
}
