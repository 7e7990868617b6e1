//! The names of everything in a repository that is not a data object: labels, writers, markers,
//! folders. Owns their patterns, so that nothing from a user or from a listing becomes part of a
//! path unchecked.

use std::fmt;

use holdfast_broker::ObjectName;
use serde::{Deserialize, Serialize};

use crate::{ContentHash, Error};

/// The longest label and the longest cluster name, in bytes.
const LABEL_MAX: usize = 128;
const CLUSTER_MAX: usize = 64;
const REPOSITORY_MAX: usize = 64;

pub(crate) const SNAPSHOT_FOLDER: &str = "__ss_";
pub(crate) const MARKER_PREFIX: &str = "__info_";
pub(crate) const PART_PREFIX: &str = "part.";
pub(crate) const CLAIM_PREFIX: &str = "claim.";

/// Who writes: one job of one cluster. The identity in claims, intents and marker names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Writer {
    /// The cluster: `^[-_A-Za-z0-9]{1,64}$`, unique among the clusters that share the repository.
    pub cluster: String,
    /// The job's number, unique within the cluster for ever.
    pub job: u64,
}

impl Writer {
    /// A writer, its cluster's name checked.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) where the cluster's name does not match.
    pub fn new(cluster: &str, job: u64) -> Result<Self, Error> {
        let writer = Writer {
            cluster: cluster.to_owned(),
            job,
        };
        writer.check()?;
        Ok(writer)
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if is_word(&self.cluster, CLUSTER_MAX) {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "cluster name {:?} does not match ^[-_A-Za-z0-9]{{1,64}}$",
            shown(&self.cluster)
        )))
    }
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.cluster, self.job)
    }
}

/// At most 200 characters of a text that came from outside, for a message.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}

fn is_word(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len())
        && text
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
}

/// Checks a label: `^[-_A-Za-z0-9]{1,128}$`.
///
/// # Errors
/// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) where it does not match.
pub fn check_label(label: &str) -> Result<(), Error> {
    if is_word(label, LABEL_MAX) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "label {:?} does not match ^[-_A-Za-z0-9]{{1,128}}$",
        shown(label)
    )))
}

/// Checks a repository's name: `^[a-zA-Z][a-zA-Z0-9_]{0,63}$` or
/// `^_[a-zA-Z0-9][A-Za-z0-9_]{0,62}$`.
///
/// # Errors
/// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) where it does not match.
pub fn check_repository_name(name: &str) -> Result<(), Error> {
    let bytes = name.as_bytes();
    let begins = match bytes {
        [b'_', second, ..] => second.is_ascii_alphanumeric(),
        [first, ..] => first.is_ascii_alphabetic(),
        [] => false,
    };
    let plain = |c: &u8| c.is_ascii_alphanumeric() || *c == b'_';
    if begins && bytes.len() <= REPOSITORY_MAX && bytes.iter().all(plain) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "repository name {:?} does not match ^[a-zA-Z][a-zA-Z0-9_]{{0,63}}$ \
         or ^_[a-zA-Z0-9][A-Za-z0-9_]{{0,62}}$",
        shown(name)
    )))
}

/// Checks a timestamp's text: `yyyy-MM-dd-HH-mm-ss-SSS`, each field within its range.
///
/// # Errors
/// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) where it does not match.
pub fn check_timestamp(text: &str) -> Result<(), Error> {
    const FIELDS: [(usize, u32, u32); 7] = [
        (4, 0, 9999),
        (2, 1, 12),
        (2, 1, 31),
        (2, 0, 23),
        (2, 0, 59),
        (2, 0, 60),
        (3, 0, 999),
    ];
    let mut fields = text.split('-');
    let good = FIELDS.iter().all(|&(width, least, most)| {
        fields.next().is_some_and(|field| {
            field.len() == width
                && field.bytes().all(|c| c.is_ascii_digit())
                && field
                    .parse()
                    .is_ok_and(|n: u32| (least..=most).contains(&n))
        })
    });
    if good && fields.next().is_none() {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "timestamp {:?} is not of the form yyyy-MM-dd-HH-mm-ss-SSS",
        shown(text)
    )))
}

/// What the name of a commit marker says: `__info_<timestamp>.<cluster>.<job>.<root hash>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MarkerName {
    pub(crate) timestamp: String,
    pub(crate) writer: Writer,
    pub(crate) root: ContentHash,
}

impl MarkerName {
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let parsed = (|| {
            let mut fields = text.strip_prefix(MARKER_PREFIX)?.split('.');
            let timestamp = fields.next()?.to_owned();
            check_timestamp(&timestamp).ok()?;
            let cluster = fields.next()?;
            let job = parse_number(fields.next()?)?;
            let writer = Writer::new(cluster, job).ok()?;
            let root = ContentHash::parse(fields.next()?).ok()?;
            fields.next().is_none().then_some(MarkerName {
                timestamp,
                writer,
                root,
            })
        })();
        parsed.ok_or_else(|| {
            Error::damaged(format!(
                "marker name {:?} is not of the form \
                 {MARKER_PREFIX}<timestamp>.<cluster>.<job>.<root hash>",
                shown(text)
            ))
        })
    }
}

impl fmt::Display for MarkerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Writer { cluster, job } = &self.writer;
        write!(
            f,
            "{MARKER_PREFIX}{}.{cluster}.{job}.{}",
            self.timestamp, self.root
        )
    }
}

/// A decimal number in the one way we write it.
pub(crate) fn parse_number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// The names of one repository's objects.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: String,
}

impl Layout {
    /// The layout of the repository `name`, which must have been checked.
    pub(crate) fn new(name: &str) -> Self {
        Layout {
            root: format!("__holdfast_repository_{name}"),
        }
    }

    /// The repository's folder, with its slash.
    pub(crate) fn prefix(&self) -> String {
        format!("{}/", self.root)
    }

    /// The broker's name for `path` below the repository's folder.
    pub(crate) fn name(&self, path: impl fmt::Display) -> Result<ObjectName, Error> {
        let text = format!("{}/{path}", self.root);
        ObjectName::parse(text).map_err(|cause| Error::invalid("object name").with_source(cause))
    }

    /// The folder of a label, relative to the repository's; the label must have been checked.
    pub(crate) fn label(label: &str) -> String {
        format!("{SNAPSHOT_FOLDER}{label}/")
    }

    pub(crate) fn in_label(
        &self,
        label: &str,
        leaf: impl fmt::Display,
    ) -> Result<ObjectName, Error> {
        check_label(label)?;
        self.name(format_args!("{}{leaf}", Layout::label(label)))
    }

    pub(crate) fn intent(&self, writer: &Writer) -> Result<ObjectName, Error> {
        writer.check()?;
        self.name(format_args!("intents/{writer}"))
    }

    pub(crate) fn condemned(&self, writer: &Writer) -> Result<ObjectName, Error> {
        writer.check()?;
        self.name(format_args!("condemned/{writer}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_names_keep_to_their_patterns() {
        let long = "a".repeat(128);
        for good in ["a", "-", "_x-9", long.as_str()] {
            assert!(check_label(good).is_ok(), "{good}");
        }
        let longer = "a".repeat(129);
        for bad in ["", "a b", "a.b", "ä", "a/b", "..", longer.as_str()] {
            assert!(check_label(bad).is_err(), "{bad}");
        }
        let long = "a".repeat(64);
        for good in ["a", "A_9", "_9", "_a_", long.as_str()] {
            assert!(check_repository_name(good).is_ok(), "{good}");
        }
        let longer = "a".repeat(65);
        for bad in ["", "9a", "_", "__a", "a-b", "a.b", "ä", longer.as_str()] {
            assert!(check_repository_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn timestamps_have_seven_fields_in_range() {
        assert!(check_timestamp("2026-11-22-08-37-55-123").is_ok());
        for bad in [
            "",
            "2026-11-22-08-37-55",
            "2026-13-22-08-37-55-123",
            "2026-00-22-08-37-55-123",
            "2026-11-22-24-37-55-123",
            "2026-11-22-08-37-55-123-1",
            "2026-11-22-08-37-55-12x",
            "+026-11-22-08-37-55-123",
        ] {
            assert!(check_timestamp(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn marker_names_round_trip_and_damaged_ones_are_refused() {
        let name = MarkerName {
            timestamp: "2026-11-22-08-37-55-123".into(),
            writer: Writer::new("east-1", 7).expect("good"),
            root: ContentHash::of(b"root"),
        };
        let text = name.to_string();
        assert_eq!(MarkerName::parse(&text).expect("own text"), name);
        for bad in [
            text.replace("__info_", "info_"),
            text.replace(".7.", ".07."),
            text.replace("east-1", ""),
            format!("{text}x"),
            format!("{text}.x"),
            "__info_".to_owned(),
        ] {
            assert!(MarkerName::parse(&bad).is_err(), "{bad}");
        }
    }
}
