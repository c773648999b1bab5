//! What an application has a say in: keys of its own, and the completion of words.
//!
//! Pure. Hooks run where the line is read, and see no secrets.

use std::collections::HashMap;
use std::fmt;

use super::keys::Key;

/// What a key does, as the hook that [`register_key`](crate::LineEditor::register_key) registers decides.
/// Control characters in texts for the line are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyAction {
    /// What it does without a hook.
    Usual,
    /// Nothing.
    Nothing,
    /// Rings the terminal's bell.
    Ring,
    /// Inserts a text at the cursor.
    Insert(String),
    /// Replaces the line by what stands before the cursor now and after it.
    Replace {
        /// Before the cursor.
        before: String,
        /// After the cursor.
        after: String,
    },
    /// Shows lines above the one that is typed. As they are: what others typed is free of control characters,
    /// what comes from elsewhere may not be.
    Show(String),
    /// Enters the line.
    Enter,
    /// As `^C`.
    Interrupt,
    /// As `^D` on an empty line.
    End,
}

/// Decides what a key does, told what stands before the cursor and after it.
pub(crate) type KeyHook = Box<dyn FnMut(&str, &str) -> KeyAction + Send>;
/// Names what a word may become, told what stands before it.
pub(crate) type Completer = Box<dyn FnMut(&str, &str) -> Vec<String> + Send>;

/// The hooks of an editor.
#[derive(Default)]
pub(super) struct Hooks {
    keys: HashMap<Key, KeyHook>,
    pub(super) completer: Option<Completer>,
}

impl Hooks {
    pub(super) fn set(&mut self, key: Key, hook: Option<KeyHook>) {
        match hook {
            Some(hook) => self.keys.insert(key, hook),
            None => self.keys.remove(&key),
        };
    }

    pub(super) fn ask(&mut self, key: Key, before: &str, after: &str) -> Option<KeyAction> {
        self.keys.get_mut(&key).map(|hook| hook(before, after))
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("keys", &self.keys.keys())
            .field("completer", &self.completer.is_some())
            .finish()
    }
}
