//! What a proxy answers to whoever wants to be led to a host.

use super::Input;
use crate::client::{PROXIES, proxy_answer};

/// The longest complaint about a proxy, in characters: what it says itself is cut.
const COMPLAINT: usize = 4096;

/// An answer ends within what was sent, or what is told of it can be shown.
pub fn proxies(data: &[u8]) {
    let mut input = Input(data);
    let which = usize::from(input.byte()) % PROXIES;
    match proxy_answer(which, input.0) {
        Ok(Some(taken)) => {
            assert!((2..=input.0.len()).contains(&taken), "an answer of {taken} bytes");
            let (answer, _) = input.0.split_at(taken);
            assert_eq!(proxy_answer(which, answer), Ok(Some(taken)), "what follows the answer counts");
        }
        Ok(None) => {}
        Err(text) => {
            assert!(text.chars().count() <= COMPLAINT && !text.chars().any(char::is_control), "{text:?}");
        }
    }
}
