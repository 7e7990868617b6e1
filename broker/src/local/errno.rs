//! What the operating system's refusals mean to a caller. Owns the table from error number to
//! class; no other module of the local broker decides a class from a number.

use std::fmt;

use rustix::io::Errno;

use crate::{Error, ErrorClass};

/// What was being done; some numbers mean different things by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    /// Reading bytes or names.
    Read,
    /// Writing what no name shows yet, or what can be written again.
    Write,
    /// Syncing what was already there: what failed to reach the disk cannot be written again by
    /// this side.
    Settle,
    /// Syncing after the name was made.
    Publish,
}

/// The class of `errno` while `doing`.
pub(super) fn class(errno: Errno, doing: Doing) -> ErrorClass {
    if doing == Doing::Publish {
        return ErrorClass::Ambiguous;
    }
    match errno {
        Errno::NOSPC | Errno::DQUOT => ErrorClass::Full,
        Errno::ACCESS | Errno::PERM | Errno::ROFS => ErrorClass::Denied,
        Errno::NOENT => ErrorClass::Missing,
        Errno::EXIST => ErrorClass::Exists,
        Errno::NOTDIR
        | Errno::ISDIR
        | Errno::LOOP
        | Errno::NAMETOOLONG
        | Errno::INVAL
        | Errno::FBIG
        | Errno::MLINK
        | Errno::ILSEQ
        | Errno::OPNOTSUPP => ErrorClass::Invalid,
        // A sector that cannot be read stays so; one that cannot be written may be another sector
        // next time.
        Errno::IO if doing != Doing::Write => ErrorClass::Corrupt,
        _ => ErrorClass::Retry,
    }
}

/// The error of not being able to `verb` the thing called `what`.
pub(super) fn failed(errno: Errno, doing: Doing, verb: &str, what: impl fmt::Debug) -> Error {
    Error::new(class(errno, doing), format!("cannot {verb} {what:?}"))
        .with_source(std::io::Error::from(errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_refusals_say_what_to_do() {
        let table = [
            (Errno::NOSPC, Doing::Write, ErrorClass::Full),
            (Errno::DQUOT, Doing::Write, ErrorClass::Full),
            (Errno::ACCESS, Doing::Read, ErrorClass::Denied),
            (Errno::ROFS, Doing::Write, ErrorClass::Denied),
            (Errno::NOENT, Doing::Read, ErrorClass::Missing),
            (Errno::NAMETOOLONG, Doing::Write, ErrorClass::Invalid),
            (Errno::IO, Doing::Read, ErrorClass::Corrupt),
            (Errno::IO, Doing::Write, ErrorClass::Retry),
            (Errno::IO, Doing::Settle, ErrorClass::Corrupt),
            (Errno::IO, Doing::Publish, ErrorClass::Ambiguous),
            (Errno::STALE, Doing::Read, ErrorClass::Retry),
            (Errno::MFILE, Doing::Write, ErrorClass::Retry),
        ];
        for (errno, doing, expected) in table {
            assert_eq!(class(errno, doing), expected, "{errno} while {doing:?}");
        }
    }

    #[test]
    fn the_message_names_the_object_and_the_cause() {
        let error = failed(Errno::NOSPC, Doing::Write, "write", "a/b");
        assert_eq!(
            error.to_string(),
            "cannot write \"a/b\": No space left on device (os error 28)"
        );
    }
}
