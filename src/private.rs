//! What must not reach a log: numbers, URIs, keys.
//!
//! Redaction is a type, so that forgetting it does not compile: [`Private`] prints as `(hidden)`
//! until the operator asks for numbers in the log ([`show`]), [`Secret`] never prints at all.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

static SHOWN: AtomicBool = AtomicBool::new(false);

/// Lets [`Private`] values print: an operator's choice, read at the start and at a reload.
pub fn show(shown: bool) {
    SHOWN.store(shown, Ordering::Relaxed);
}

/// May [`Private`] values print?
pub fn is_shown() -> bool {
    SHOWN.load(Ordering::Relaxed)
}

/// A value that names a person: a telephone number, a URI, a display name.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Private<T>(pub T);

impl<T> Private<T> {
    /// The value, for use on the wire and in routing.
    pub fn get(&self) -> &T {
        &self.0
    }
}

impl Private<String> {
    /// A number's last three digits: enough to tell calls apart.
    pub fn tail(&self) -> String {
        let tail = self.0.char_indices().rev().nth(2).and_then(|(at, _)| self.0.get(at..)).unwrap_or_default();
        format!("…{tail}")
    }
}

impl<T: fmt::Debug> fmt::Debug for Private<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_shown() { self.0.fmt(f) } else { f.write_str("(hidden)") }
    }
}

impl<T: fmt::Display> fmt::Display for Private<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_shown() { self.0.fmt(f) } else { f.write_str("(hidden)") }
    }
}

/// Key material and passwords: no setting makes it print.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret<T>(pub T);

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_private_prints_by_default() {
        assert_eq!(format!("{} {:?}", Private("+13125556789"), Private(7)), "(hidden) (hidden)");
        assert_eq!(format!("{:?}", Secret([1u8, 2, 3])), "(secret)");
    }

    #[test]
    fn numbers_are_told_apart_by_their_last_digits() {
        for (number, tail) in [("+13125556789", "…789"), ("12", "…"), ("é1", "…")] {
            assert_eq!(Private(number.to_owned()).tail(), tail);
        }
    }
}
