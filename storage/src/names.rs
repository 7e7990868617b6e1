//! The one place that says which names are allowed, and how a data file's name becomes a name on
//! disk.
//!
//! User names are kept in lists only; on disk a data file bears a short hash of its name, so that
//! long, odd or nested names meet no limit of the file system.

use crate::{Error, ErrorKind};

/// Longest path of a data file in bytes.
const MAX_PATH: usize = 4095;
/// Longest part of a path in bytes.
const MAX_PART: usize = 255;
/// Longest name of a database, table or backend in bytes.
const MAX_NAME: usize = 256;

/// Checks the name of a database or table: a letter or `_`, then letters, digits, `_` and `-`, 256
/// at most.
///
/// # Errors
/// `Invalid`, naming `what` and the name.
pub fn check_object(what: &str, name: &str) -> Result<(), Error> {
    let mut bytes = name.bytes();
    let head = bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    let tail = bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if head && tail && name.len() <= MAX_NAME {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Invalid,
        format!(
            "{what} name '{}' is not allowed, expected a letter or '_' and then letters, digits, \
             '_' or '-', at most {MAX_NAME}",
            name.escape_debug()
        ),
    ))
}

/// Checks the name of a partition: one path part (it names a folder on export), without control
/// characters.
///
/// # Errors
/// `Invalid`, naming the name.
pub fn check_partition(name: &str) -> Result<(), Error> {
    let fine = !name.is_empty()
        && name.len() <= MAX_PART
        && name != "."
        && name != ".."
        && !name.chars().any(|c| c == '/' || c.is_control());
    if fine {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Invalid,
        format!(
            "partition name '{}' is not allowed, expected 1 to {MAX_PART} bytes without '/' and \
             control characters",
            name.escape_debug()
        ),
    ))
}

/// Checks the name of a backend: letters, digits and `_ . : -`, not starting with a dot, 128 at
/// most.
///
/// # Errors
/// `Invalid`, naming the name.
pub fn check_backend(name: &str) -> Result<(), Error> {
    let fine = !name.is_empty()
        && name.len() <= 128
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.:-".contains(&b));
    if fine {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Invalid,
        format!(
            "backend name '{}' is not allowed, expected letters, digits, '_', '.', ':' or '-', \
             at most 128",
            name.escape_debug()
        ),
    ))
}

/// Checks the path of a data file: '/'-separated, relative, no empty, "." or ".." part, no NUL,
/// each part at most 255 bytes and the whole at most 4095.
///
/// # Errors
/// `Invalid`, naming the path and what is wrong with it.
pub fn check_file(name: &str) -> Result<(), Error> {
    let wrong = |why: &str| {
        Err(Error::new(
            ErrorKind::Invalid,
            format!("data file name '{}' {why}", name.escape_debug()),
        ))
    };
    if name.len() > MAX_PATH {
        return wrong(&format!(
            "has {} bytes, expected at most {MAX_PATH}",
            name.len()
        ));
    }
    if name.contains('\0') {
        return wrong("has a NUL byte");
    }
    for part in name.split('/') {
        match part {
            "" => return wrong("is empty, absolute or has an empty part"),
            "." | ".." => return wrong("has a part '.' or '..'"),
            _ if part.len() > MAX_PART => {
                return wrong(&format!(
                    "has a part of {} bytes, expected at most 255",
                    part.len()
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The 128 bits by which a data file is found on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DiskKey([u8; 16]);

impl DiskKey {
    /// The key of the file called `name`.
    pub(crate) fn of(name: &str) -> Self {
        let mut key = [0_u8; 16];
        key.copy_from_slice(&blake3::hash(name.as_bytes()).as_bytes()[..16]);
        Self(key)
    }

    /// The name on disk: 32 lowercase hex digits.
    pub(crate) fn file_name(self) -> String {
        let mut out = String::with_capacity(32);
        for byte in self.0 {
            for digit in [byte >> 4, byte & 15] {
                out.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
            }
        }
        out
    }

    /// The bucket of `buckets` that a file of this key belongs to.
    pub(crate) fn bucket(self, buckets: u32) -> u32 {
        let [.., a, b, c, d] = self.0;
        u32::from_le_bytes([a, b, c, d]) % buckets.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_names_are_plain_words() {
        for good in ["a", "_x", "Sales-2024", "tpch_1"] {
            assert!(check_object("table", good).is_ok(), "{good}");
        }
        for bad in ["", "1a", "a b", "a/b", "..", "ü", "a\n", &"x".repeat(257)] {
            assert_eq!(
                check_object("table", bad).unwrap_err().kind(),
                ErrorKind::Invalid,
                "{bad}"
            );
        }
    }

    #[test]
    fn file_names_stay_below_their_folder() {
        let long = "ü".repeat(127);
        for good in [
            "a",
            "a b/ü.txt",
            "...",
            "-",
            " ",
            "a\\b",
            "new\nline",
            long.as_str(),
        ] {
            assert!(check_file(good).is_ok(), "{good}");
        }
        let deep = "abcdefghi/".repeat(409) + "123456";
        let parts = [
            "",
            "/a",
            "a//b",
            "a/",
            ".",
            "a/../b",
            "a\0",
            &"x".repeat(256),
            &deep,
        ];
        for bad in parts {
            assert_eq!(
                check_file(bad).unwrap_err().kind(),
                ErrorKind::Invalid,
                "{bad}"
            );
        }
    }

    #[test]
    fn partition_and_backend_names_are_safe_as_folders() {
        assert!(check_partition("2024 Q1=ü").is_ok() && check_backend("10.0.0.1:9050").is_ok());
        for bad in ["", ".", "..", "a/b", "a\tb"] {
            assert!(
                check_partition(bad).is_err() && check_backend(bad).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn disk_names_are_stable() {
        let key = DiskKey::of("a/b.txt");
        assert_eq!(key.file_name().len(), 32);
        assert_eq!(
            key.file_name(),
            blake3::hash(b"a/b.txt").to_hex()[..32].to_owned()
        );
        assert!(key.bucket(7) < 7 && key.bucket(0) == 0);
    }
}
