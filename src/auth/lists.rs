//! Which methods a user has to pass, and in which order: `AuthenticationMethods` of sshd_config(5). Pure.

use crate::wire::is_own_name;

/// The methods that there are, as lists name them, besides those of applications' own.
const METHODS: [&str; 4] = ["publickey", "password", "keyboard-interactive", "hostbased"];
/// Lists, and methods of one list; OpenSSH's figure is 256 lists.
const LISTS: usize = 256;

/// Lists of methods, each to be passed in its order; one whole list is enough. What
/// [`ServerInterface::authentication_methods`](crate::ServerInterface::authentication_methods) answers is held
/// by the library: a method is refused before its turn, and a key counts once.
///
/// ```
/// use feramiko::AuthenticationMethods;
/// let methods = AuthenticationMethods::parse("publickey,password publickey,keyboard-interactive").unwrap();
/// assert_eq!(methods.next(&[]), ["publickey"]);
/// assert_eq!(methods.next(&["publickey"]), ["password", "keyboard-interactive"]);
/// assert!(methods.satisfied(&["publickey", "password"]));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthenticationMethods(Vec<Vec<String>>);

impl AuthenticationMethods {
    /// Reads lists with blanks between them, and commas between the methods of one. `any`, alone, is the
    /// one list that every one of these methods passes: publickey, password, keyboard-interactive, hostbased. Methods
    /// of your own stand in lists by their names. A method may have a colon and the name of a device behind it, as
    /// `keyboard-interactive:pam`: nobody here has devices, so that such a list is never passed. None when
    /// a method is not known, or there are too many.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let lists: Vec<Vec<String>> =
            text.split_ascii_whitespace().map(|list| list.split(',').map(str::to_owned).collect()).collect();
        if lists == [["any"]] {
            return Some(Self(METHODS.iter().map(|method| vec![(*method).to_owned()]).collect()));
        }
        let known = |method: &String| {
            let name = method.split_once(':').map_or(method.as_str(), |(name, _)| name);
            // "none" proves nothing: it may stand in a list, and no list with it is ever passed.
            METHODS.contains(&name) || name == "none" || is_own_name(name)
        };
        let bounded = !lists.is_empty() && lists.len() <= LISTS;
        (bounded && lists.iter().all(|list| list.len() <= LISTS && list.iter().all(known)))
            .then_some(Self(lists))
    }

    /// What is left of each list. A method that is passed is taken off those lists that begin with it.
    fn left<'a>(&'a self, passed: &'a [&str]) -> impl Iterator<Item = &'a [String]> {
        self.0.iter().map(move |list| {
            let mut left = list.as_slice();
            for method in passed {
                match left {
                    [first, rest @ ..] if first == method => left = rest,
                    _ => {}
                }
            }
            left
        })
    }

    /// The methods that may come next, each once.
    #[must_use]
    pub fn next<'a>(&'a self, passed: &'a [&str]) -> Vec<&'a str> {
        let firsts: Vec<_> = self.left(passed).filter_map(<[String]>::first).collect();
        let mut next = Vec::new();
        for method in firsts {
            // Nobody passes by "none", nor by a device.
            let may = METHODS.contains(&method.as_str()) || is_own_name(method);
            if may && !next.contains(&method.as_str()) {
                next.push(method.as_str());
            }
        }
        next
    }

    /// Whether a whole list is passed.
    #[must_use]
    pub fn satisfied(&self, passed: &[&str]) -> bool {
        self.left(passed).any(<[String]>::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(text: &str) -> AuthenticationMethods {
        AuthenticationMethods::parse(text).unwrap()
    }

    #[test]
    fn lists_are_passed_in_their_order() {
        let both = lists("publickey,password password,publickey");
        assert_eq!(both.next(&[]), ["publickey", "password"]);
        assert_eq!(both.next(&["password"]), ["publickey"]);
        assert!(!both.satisfied(&["password"]));
        assert!(both.satisfied(&["password", "publickey"]));
        let twice = lists("publickey,publickey");
        assert_eq!(twice.next(&["publickey"]), ["publickey"]);
        assert!(!twice.satisfied(&["publickey"]) && twice.satisfied(&["publickey", "publickey"]));
        assert!(!both.satisfied(&["hostbased", "keyboard-interactive"]));
    }

    #[test]
    fn any_is_one_method_of_each() {
        let any = lists("any");
        assert_eq!(any.next(&[]), METHODS);
        assert!(!any.satisfied(&[]) && METHODS.iter().all(|method| any.satisfied(&[method])));
    }

    #[test]
    fn nobody_passes_by_none() {
        let none = lists("none");
        assert!(none.next(&[]).is_empty() && !none.satisfied(&["publickey"]));
    }

    #[test]
    fn methods_of_ones_own_stand_in_lists() {
        let both = lists("publickey,stamp@example.org");
        assert_eq!(both.next(&["publickey"]), ["stamp@example.org"]);
        assert!(both.satisfied(&["publickey", "stamp@example.org"]) && !both.satisfied(&["publickey"]));
        assert!(!lists("any").satisfied(&["stamp@example.org"]));
    }

    #[test]
    fn a_device_is_never_there() {
        let device = lists("keyboard-interactive:pam publickey");
        assert_eq!(device.next(&[]), ["publickey"]);
        assert!(!device.satisfied(&["keyboard-interactive"]));
    }

    #[test]
    fn what_is_no_list() {
        let many = "publickey ".repeat(LISTS + 1);
        for bad in ["", " ", "any publickey", "publickey,any", "publickey,", "rot13", "@example.org", &many] {
            assert_eq!(AuthenticationMethods::parse(bad), None, "{bad:?}");
        }
    }
}
