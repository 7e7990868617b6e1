//! Values of users' data in messages: the bounds of partitions are such, and a refusal shows them to
//! whoever asked. Says how those messages begin, so that what goes elsewhere can leave them out.

use std::borrow::Cow;

/// What stands in place of the values.
const LEFT_OUT: &str = "values left out";
/// What stands between the title of a partition and its bounds, here and in the words of a storage.
const BEFORE: [&str; 7] = [
    " has conflicting range: ",
    " has conflicting items: ",
    " has conflicting bounds: ",
    " has different range: ",
    " has different items: ",
    " has different bounds: ",
    " has bounds ",
];

/// A message of a job without the bounds of partitions in it, which are values of users' data. What
/// follows them goes too: a value may look like the words behind it.
///
/// It knows the messages of this crate and of the local storage; what an embedder's own storage
/// says is its embedder's to judge.
pub fn without_values(message: &str) -> Cow<'_, str> {
    let ends = BEFORE
        .iter()
        .filter_map(|before| message.find(before).map(|at| at + before.len()));
    match ends.min() {
        Some(end) => Cow::Owned(format!("{}({LEFT_OUT})", &message[..end])),
        None => Cow::Borrowed(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_cut_off_and_other_messages_stay() {
        for (message, expected) in [
            (
                "partition 'p' of table 'd.t' has conflicting items: ('x' is to be added, but') is to \
                 be added, but partition 'q' takes 'x' too",
                "partition 'p' of table 'd.t' has conflicting items: (values left out)",
            ),
            (
                "partition 't.p' has bounds Range { lower: None, upper: Some([\"9\"]) }, expected All",
                "partition 't.p' has bounds (values left out)",
            ),
            (
                "partition 'p' has 8 buckets, expected 4",
                "partition 'p' has 8 buckets, expected 4",
            ),
        ] {
            assert_eq!(without_values(message), expected);
            assert_eq!(without_values(expected), expected, "twice is once");
        }
    }
}
