//! The steps of a console's script: what is awaited, and what is typed.

use std::path::PathBuf;

use super::{Search, Wrong, search, sides};

/// The longest line that a console is sent.
const MOST_TYPED: usize = 200;

/// Where a secret is kept; what is in it is read when it is needed, by who may read files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A file's first line.
    File(PathBuf),
    /// A credential that systemd hands to the daemon.
    Credential(String),
}

/// What is typed on a console, without the return that follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// This.
    Text(String),
    /// A secret.
    Secret(SecretSource),
}

/// One line that a console takes; `${file:...}` and `${credential:...}` name a secret.
pub fn typed(text: &str) -> Result<Typed, Wrong> {
    let instead = "a line as it would be typed, or ${file:/path} or ${credential:name} where a secret belongs";
    if text.len() > MOST_TYPED || text.chars().any(char::is_control) {
        return Err(Wrong::whole(
            format!("a line has up to {MOST_TYPED} characters and no control characters"),
            instead,
        ));
    }
    let Some(inner) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) else {
        return Ok(Typed::Text(text.to_owned()));
    };
    match inner.split_once(':') {
        Some(("file", path)) if path.starts_with('/') => Ok(Typed::Secret(SecretSource::File(path.into()))),
        Some(("credential", name)) if is_credential(name) => {
            Ok(Typed::Secret(SecretSource::Credential(name.to_owned())))
        }
        _ => Err(Wrong::whole("this names no secret", instead)),
    }
}

/// systemd takes a file name here; a path would lead elsewhere.
fn is_credential(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    name.bytes().all(allowed) && name.bytes().any(|b| b != b'.')
}

/// What is waited for, and what is typed then.
pub fn step(text: &str) -> Result<(Search, Typed), Wrong> {
    let instead = "pattern => what is typed, for example login: *$ => operator";
    let Some([(_, expected), (at, answer)]) = sides(text) else {
        return Err(Wrong::whole("a step has a pattern, `=>` and what is typed", instead));
    };
    if expected.is_empty() {
        return Err(Wrong::whole("the pattern is missing", instead));
    }
    Ok((search(expected)?, typed(answer).map_err(|wrong| Wrong { at, ..wrong })?))
}
