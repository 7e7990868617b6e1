//! Pseudonyms: the same name has the same pseudonym everywhere, two names never share one, and they
//! are numbered in the order in which the journal first speaks of them, so that a later export of
//! the same journal calls everything the same. Knows no event.

use std::collections::BTreeMap;

/// What is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    /// A database.
    Database,
    /// A table, also by its new name.
    Table,
    /// A partition.
    Partition,
    /// The label of a snapshot.
    Label,
    /// A repository.
    Repository,
    /// A broker process.
    Broker,
    /// Where a repository lies.
    Location,
    /// A path in a message.
    Path,
    /// Anything else in a message that may be a name.
    Other,
}

impl Name {
    fn word(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Table => "table",
            Self::Partition => "partition",
            Self::Label => "label",
            Self::Repository => "repository",
            Self::Broker => "broker",
            Self::Location => "location",
            Self::Path => "path",
            Self::Other => "name",
        }
    }
}

/// The pseudonyms given so far.
#[derive(Debug, Default)]
pub(crate) struct Names {
    given: BTreeMap<(Name, String), String>,
    counts: BTreeMap<Name, u64>,
    /// Each known name as messages spell it.
    known: BTreeMap<String, String>,
}

impl Names {
    /// Gives the name a pseudonym, and makes it known to messages.
    pub(crate) fn learn(&mut self, kind: Name, name: &str) {
        let pseudonym = self.pseudonym(kind, name);
        self.known.entry(name.to_owned()).or_insert(pseudonym);
    }

    /// The pseudonym of a name.
    pub(crate) fn pseudonym(&mut self, kind: Name, name: &str) -> String {
        if let Some(given) = self.given.get(&(kind, name.to_owned())) {
            return given.clone();
        }
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        let pseudonym = format!("{}-{count}", kind.word());
        self.given
            .insert((kind, name.to_owned()), pseudonym.clone());
        pseudonym
    }

    /// A location of which only the scheme is left.
    pub(crate) fn location(&mut self, location: &str) -> String {
        let pseudonym = self.pseudonym(Name::Location, location);
        match location.split_once("://") {
            Some((scheme, _)) => format!("{scheme}:///{pseudonym}"),
            None => format!("/{pseudonym}"),
        }
    }

    /// A message without names: known names have their pseudonyms, and so has whatever stands
    /// between quotes, looks like a path, or is no plain word or number.
    pub(crate) fn words(&mut self, message: &str) -> String {
        let mut out = String::with_capacity(message.len());
        let mut rest = message;
        while let Some(ch) = rest.chars().next() {
            if let Some((quoted, behind)) = opened(&out, rest) {
                out.push(ch);
                out.push_str(&self.quoted(quoted));
                out.push(ch);
                rest = behind;
            } else if is_break(ch) {
                out.push(ch);
                rest = &rest[ch.len_utf8()..];
            } else {
                let end = rest.find(is_break).unwrap_or(rest.len());
                out.push_str(&self.word(&rest[..end]));
                rest = &rest[end..];
            }
        }
        out
    }

    /// What stands between quotes.
    fn quoted(&mut self, text: &str) -> String {
        if let Some(known) = self.known.get(text) {
            return known.clone();
        }
        if text.is_empty() || is_number(text) {
            return text.to_owned();
        }
        let kind = match text.contains(['/', '\\']) {
            true => Name::Path,
            false => Name::Other,
        };
        self.pseudonym(kind, text)
    }

    /// A run without blanks and quotes.
    fn word(&mut self, word: &str) -> String {
        let bare = word.trim_end_matches(|ch| ".:!?".contains(ch));
        let behind = &word[bare.len()..];
        let shown = if let Some(known) = self.known.get(bare) {
            known.clone()
        } else if bare.contains(['/', '\\']) {
            self.pseudonym(Name::Path, bare)
        } else if let Some(dotted) = self.dotted(bare) {
            dotted
        } else if is_plain(bare) {
            bare.to_owned()
        } else {
            self.pseudonym(Name::Other, bare)
        };
        shown + behind
    }

    /// `db.table`, each part known.
    fn dotted(&self, word: &str) -> Option<String> {
        let (database, table) = word.split_once('.')?;
        let known = |name| self.known.get(name);
        Some(format!("{}.{}", known(database)?, known(table)?))
    }
}

/// Where `rest` begins with a quote that opens, what it encloses and what follows. An apostrophe
/// opens nothing, as it stands behind a letter.
fn opened<'a>(before: &str, rest: &'a str) -> Option<(&'a str, &'a str)> {
    let quote = rest.chars().next().filter(|ch| "'\"`".contains(*ch))?;
    if before
        .chars()
        .next_back()
        .is_some_and(char::is_alphanumeric)
    {
        return None;
    }
    let inside = &rest[quote.len_utf8()..];
    // A quote inside a word, such as an apostrophe in a name, does not close.
    let close = inside.char_indices().find(|(at, ch)| {
        let behind = inside[at + ch.len_utf8()..].chars().next();
        *ch == quote && behind.is_none_or(|next| !next.is_alphanumeric())
    });
    let (at, _) = close?;
    Some((&inside[..at], &inside[at + quote.len_utf8()..]))
}

fn is_break(ch: char) -> bool {
    ch.is_whitespace() || "'\"`,;()[]{}<>=|".contains(ch)
}

/// Digits with what numbers, times and sizes have between and behind them.
fn is_number(text: &str) -> bool {
    let digits = text.trim_end_matches(|ch: char| ch.is_ascii_alphabetic() || ch == '%');
    let unit = text.len() - digits.len();
    let number = |ch: char| ch.is_ascii_digit() || "+-.:".contains(ch);
    unit <= 3 && digits.contains(|ch: char| ch.is_ascii_digit()) && digits.chars().all(number)
}

/// A word of the language, a number, or a symbol such as `LABEL_EXISTS`.
fn is_plain(word: &str) -> bool {
    let letters = |ch: char| ch.is_ascii_alphabetic() || "-.:".contains(ch);
    let symbol = |ch: char| ch.is_ascii_uppercase() || ch == '_';
    let dots = word.trim_end_matches('.').contains('.');
    (word.chars().all(letters) && !dots) || word.chars().all(symbol) || is_number(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let mut names = Names::default();
        names.learn(Name::Database, "shop");
        names.learn(Name::Table, "orders");
        names.learn(Name::Repository, "attic");
        names
    }

    #[test]
    fn a_name_has_one_pseudonym_and_keeps_it() {
        let mut names = names();
        assert_eq!(names.pseudonym(Name::Database, "shop"), "database-1");
        assert_eq!(names.pseudonym(Name::Database, "till"), "database-2");
        assert_eq!(names.pseudonym(Name::Table, "shop"), "table-2");
        assert_eq!(names.pseudonym(Name::Database, "shop"), "database-1");
        assert_eq!(names.location("s3://bucket/x?key=1"), "s3:///location-1");
        assert_eq!(names.location("/srv/b"), "/location-2");
    }

    #[test]
    fn messages_lose_known_names_quoted_ones_paths_and_odd_words() {
        let mut names = names();
        for (message, expected) in [
            (
                "repository 'attic' is gone; DROP REPOSITORY attic and CREATE it again",
                "repository 'repository-1' is gone; DROP REPOSITORY repository-1 and CREATE it again",
            ),
            (
                "table shop.orders: file \"2024/a b.parquet\" was lost",
                "table database-1.table-1: file \"path-1\" was lost",
            ),
            (
                "cannot read /srv/backup/x: it's a job's file (os error 5)",
                "cannot read path-2: it's a job's file (os error 5)",
            ),
            (
                "Kundenliste_2024 on host.example.org, 'Müller's' took 30s of 1.5 MB",
                "name-1 on name-2, 'name-3' took 30s of 1.5 MB",
            ),
            (
                "[LABEL_EXISTS] at 2026-11-22 09:00:00.123: 95% done",
                "[LABEL_EXISTS] at 2026-11-22 09:00:00.123: 95% done",
            ),
            ("an 'open quote", "an 'open quote"),
            ("", ""),
        ] {
            assert_eq!(names.words(message), expected);
        }
    }
}
