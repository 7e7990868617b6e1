//! Names of objects. Owns the one rule of what a name may be, so that every adapter can map a name
//! to its own world one to one and no name from outside can leave the root it is put under.

use std::fmt;

use crate::{Error, ErrorClass};

/// The longest name in bytes.
const NAME_MAX_BYTES: usize = 1024;

/// What the segments begin with that adapters keep for unfinished uploads.
pub(crate) const TEMPORARY_PREFIX: &str = ".tmp-";

/// The name of an object: relative, segments joined by `/`, at most 1024 bytes.
///
/// No segment is empty, `.` or `..`, none holds a control character or a backslash, and none
/// begins with `.tmp-`, which adapters keep for uploads under way. Names compare byte by byte;
/// case matters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(String);

impl ObjectName {
    /// Checks `text` and takes it as a name. Fails with [`ErrorClass::Invalid`] and a message that
    /// says which rule it breaks.
    pub fn parse(text: impl Into<String>) -> Result<Self, Error> {
        let text = text.into();
        match broken_rule(&text) {
            None => Ok(ObjectName(text)),
            Some(rule) => {
                let shown: String = text.chars().take(200).collect();
                Err(Error::new(
                    ErrorClass::Invalid,
                    format!("object name {shown:?} {rule}"),
                ))
            }
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of `child` below this one. Fails as [`ObjectName::parse`] does.
    pub fn join(&self, child: &str) -> Result<Self, Error> {
        ObjectName::parse(format!("{}/{child}", self.0))
    }

    /// The folders' segments and the last segment.
    pub(crate) fn split(&self) -> (Option<&str>, &str) {
        match self.0.rsplit_once('/') {
            Some((folder, leaf)) => (Some(folder), leaf),
            None => (None, &self.0),
        }
    }
}

fn broken_rule(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("is empty");
    }
    if text.len() > NAME_MAX_BYTES {
        return Some("is longer than 1024 bytes");
    }
    if text.chars().any(|c| c.is_control() || c == '\\') {
        return Some("holds a control character or a backslash");
    }
    text.split('/').find_map(|segment| match segment {
        "" => Some("has an empty segment"),
        "." | ".." => Some("has a segment \".\" or \"..\""),
        s if s.starts_with(TEMPORARY_PREFIX) => Some("has a segment that begins with \".tmp-\""),
        _ => None,
    })
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl AsRef<str> for ObjectName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for ObjectName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        ObjectName::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_could_leave_the_root_are_refused() {
        let long = "a".repeat(1025);
        let bad = [
            "",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "a/../b",
            "a/.",
            "../a",
            "a\0b",
            "a\nb",
            "a\u{7f}",
            "a\\b",
            ".tmp-1",
            "a/.tmp-/b",
            long.as_str(),
        ];
        for text in bad {
            let error = ObjectName::parse(text).expect_err(text);
            assert_eq!(error.class(), ErrorClass::Invalid, "{text:?}");
            assert!(error.message().len() < 400, "{error}");
        }
    }

    #[test]
    fn odd_but_honest_names_are_taken() {
        let longest = "a".repeat(1024);
        for text in [
            "a",
            "a/b",
            "...",
            "..a",
            "a b/ü/日本",
            ".hidden",
            "a:b*c?",
            "-rf",
            longest.as_str(),
        ] {
            assert_eq!(ObjectName::parse(text).expect(text).as_str(), text);
        }
    }

    proptest! {
        #[test]
        fn any_text_taken_is_a_plain_relative_path(text in any::<String>()) {
            if let Ok(name) = ObjectName::parse(text.clone()) {
                prop_assert_eq!(name.as_str(), text.as_str());
                for component in std::path::Path::new(&text).components() {
                    prop_assert!(matches!(component, std::path::Component::Normal(_)));
                }
            }
        }
    }
}
