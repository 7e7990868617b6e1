//! Where a repository lies, as users write it. Owns the reading of location text; opens nothing.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use crate::Error;

/// A place that a broker can be opened on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Location {
    /// A folder of this machine: an absolute path without `.` and `..`.
    Local(PathBuf),
    /// A remote system, reached by the adapter for its scheme.
    Remote {
        /// The scheme in lower case, such as `s3`.
        scheme: String,
        /// What follows `scheme://` up to the first `/`: bucket, host, or nothing.
        authority: String,
        /// The rest without leading and trailing `/`.
        path: String,
    },
}

/// Reads a location: an absolute path, `file:///absolute/path`, or `scheme://authority/path`.
///
/// The text after `file://` is taken as it is, without percent-decoding, so that the path and the
/// URI of one folder are the same characters. Fails with
/// [`ErrorClass::Invalid`](crate::ErrorClass::Invalid) and says what was expected.
pub fn parse(text: &str) -> Result<Location, Error> {
    let refuse = |why: &str| Err(Error::invalid(format!("location {text:?} {why}")));
    if text.is_empty() {
        return refuse("is empty, expected an absolute path or scheme://…");
    }
    if text.chars().any(char::is_control) {
        return refuse("holds a control character");
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return match text.starts_with('/') {
            true => local(text, text),
            false => refuse("is neither an absolute path nor of the form scheme://…"),
        };
    };
    let named = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    if !named {
        return refuse("has no valid scheme before \"://\"");
    }
    let scheme = scheme.to_ascii_lowercase();
    if scheme == "file" {
        return local(
            text,
            rest.strip_prefix("localhost")
                .filter(|p| p.starts_with('/'))
                .unwrap_or(rest),
        );
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if let Some((user, host)) = authority
        .rsplit_once('@')
        .filter(|(user, _)| user.contains(':'))
    {
        // A location is shown to users and kept in the clear; the message must not show it either.
        let user = user.split(':').next().unwrap_or("");
        let text = format!("location \"{scheme}://{user}:***@{host}/…\" holds a password");
        return Err(Error::invalid(format!(
            "{text}, expected it among the properties"
        )));
    }
    let path = path.trim_matches('/');
    if path
        .split('/')
        .any(|segment| segment == "." || segment == "..")
    {
        return refuse("has a segment \".\" or \"..\"");
    }
    Ok(Location::Remote {
        scheme,
        authority: authority.to_owned(),
        path: path.to_owned(),
    })
}

fn local(text: &str, path: &str) -> Result<Location, Error> {
    if !path.starts_with('/') {
        let expected = "expected file:///absolute/path";
        return Err(Error::invalid(format!(
            "location {text:?} names no absolute path, {expected}"
        )));
    }
    // Components drop doubled slashes and inner "."; ".." stays and is refused, as it may leave a
    // link's target.
    let path: PathBuf = Path::new(path).components().collect();
    if path.components().any(|c| c == Component::ParentDir) {
        return Err(Error::invalid(format!(
            "location {text:?} has a segment \"..\""
        )));
    }
    Ok(Location::Local(path))
}

impl Location {
    /// The scheme that picks the adapter: `file` for a local folder.
    pub fn scheme(&self) -> &str {
        match self {
            Location::Local(_) => "file",
            Location::Remote { scheme, .. } => scheme,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Local(path) => write!(f, "file://{}", path.display()),
            Location::Remote {
                scheme,
                authority,
                path,
            } if path.is_empty() => write!(f, "{scheme}://{authority}"),
            Location::Remote {
                scheme,
                authority,
                path,
            } => write!(f, "{scheme}://{authority}/{path}"),
        }
    }
}

impl std::str::FromStr for Location {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_and_its_uri_are_one_location() {
        let path = Location::Local(PathBuf::from("/srv/back up/a"));
        for text in [
            "/srv/back up/a",
            "/srv/back up/a/",
            "/srv//back up/./a",
            "file:///srv/back up/a",
            "FILE:///srv/back up/a/",
            "file://localhost/srv/back up/a",
        ] {
            assert_eq!(parse(text).expect(text), path, "{text}");
        }
        assert_eq!(path.to_string(), "file:///srv/back up/a");
    }

    #[test]
    fn remote_locations_keep_scheme_authority_and_path() {
        let Location::Remote {
            scheme,
            authority,
            path,
        } = parse("S3://bucket/a/b/").expect("s3")
        else {
            panic!("not remote")
        };
        assert_eq!(
            (scheme.as_str(), authority.as_str(), path.as_str()),
            ("s3", "bucket", "a/b")
        );
        assert_eq!(
            parse("hdfs://host:9000").expect("hdfs").to_string(),
            "hdfs://host:9000"
        );
    }

    #[test]
    fn what_names_no_place_is_refused_with_the_text() {
        for text in [
            "",
            "a/b",
            "./a",
            "file://a/b",
            "file:a",
            "://x",
            "1x://y",
            "/a/../b",
            "s3://b/../c",
            "/a\nb",
        ] {
            let error = parse(text).expect_err(text);
            assert_eq!(error.class(), crate::ErrorClass::Invalid);
            assert!(error.message().contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn a_password_in_a_location_is_refused_and_not_repeated() {
        let error = parse("sftp://anna:s3cret@host/x").expect_err("password");
        assert!(!error.to_string().contains("s3cret"), "{error}");
        assert!(error.message().contains("anna:***@host"), "{error}");
        parse("sftp://anna@host/x").expect("a user is no secret");
        parse("abfss://container@account.host/x").expect("nor is a container");
    }

    proptest! {
        #[test]
        fn a_location_reads_back_from_its_own_text(text in "[a-zA-Z0-9:/. -]{0,40}") {
            if let Ok(location) = parse(&text) {
                prop_assert_eq!(parse(&location.to_string()).expect("own text"), location);
            }
        }
    }
}
