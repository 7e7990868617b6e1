//! Pseudonyms: the same name has the same pseudonym everywhere, two names never share one, and they
//! are numbered in the order in which the journal first speaks of them, so that a later export of
//! the same journal calls everything the same. Knows no event.

use std::collections::BTreeMap;

use holdfast_sql::secret::{MASK, mask_location};

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
    /// The host or bucket of a location, and the user there.
    Host,
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
            Self::Host => "host",
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
    /// Of those, the ones that are more than one word of a message, the longest first.
    split: Vec<String>,
}

impl Names {
    /// Gives the name a pseudonym, and makes it known to messages.
    pub(crate) fn learn(&mut self, kind: Name, name: &str) {
        let pseudonym = self.pseudonym(kind, name);
        self.know(name, &pseudonym);
    }

    /// Makes a location known to messages: as a whole, as they show it without its secrets, and in
    /// its parts.
    pub(crate) fn learn_location(&mut self, location: &str) {
        let pseudonym = self.pseudonym(Name::Location, location);
        self.know(location, &pseudonym);
        self.know(&mask_location(location), &pseudonym);
        let Some((_, rest)) = location.split_once("://") else {
            return;
        };
        let rest = rest.split_once('?').map_or(rest, |(rest, _)| rest);
        let at = rest.find('/').unwrap_or(rest.len());
        if at + 1 < rest.len() {
            self.know(&rest[at..], &pseudonym);
        }
        for part in rest[..at].split(['@', ':']) {
            // A port is a number as any other.
            if !part.is_empty() && !is_number(part) {
                self.learn(Name::Host, part);
            }
        }
    }

    fn know(&mut self, name: &str, pseudonym: &str) {
        if name.is_empty() || self.known.contains_key(name) {
            return;
        }
        self.known.insert(name.to_owned(), pseudonym.to_owned());
        if name.contains(is_break) {
            let at = self
                .split
                .partition_point(|known| known.len() >= name.len());
            self.split.insert(at, name.to_owned());
        }
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
    /// between quotes, looks like a path or an address, or is no plain word or number. Secrets must
    /// be masked before.
    pub(crate) fn words(&mut self, message: &str) -> String {
        let mut out = String::with_capacity(message.len());
        let mut rest = message;
        while let Some(ch) = rest.chars().next() {
            if let Some((pseudonym, behind)) = self.split_name(&out, rest) {
                out.push_str(&pseudonym);
                rest = behind;
            } else if let Some((quoted, behind)) = opened(&out, rest) {
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

    /// The pseudonym of a known name of several words that `rest` begins with, and what follows.
    fn split_name<'a>(&self, before: &str, rest: &'a str) -> Option<(String, &'a str)> {
        let inside = |ch: Option<char>| ch.is_some_and(char::is_alphanumeric);
        if inside(before.chars().next_back()) {
            return None;
        }
        self.split.iter().find_map(|name| {
            let behind = rest.strip_prefix(name.as_str())?;
            let known = self.known.get(name)?;
            (!inside(behind.chars().next())).then(|| (known.clone(), behind))
        })
    }

    /// What stands between quotes. A number there may be a value.
    fn quoted(&mut self, text: &str) -> String {
        if let Some(known) = self.known.get(text) {
            return known.clone();
        }
        if text.is_empty() || text == MASK {
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
        } else if is_plain(bare) || bare == MASK {
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

/// A number with its unit, a date, a time of day, or both with dashes as snapshots have them; an
/// address of a host is none.
fn is_number(text: &str) -> bool {
    let digits = text.trim_end_matches(|ch: char| ch.is_ascii_alphabetic() || ch == '%');
    let unit = text.len() - digits.len();
    let number = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    let decimal = match number.split_once('.') {
        Some((whole, fraction)) => are_digits([whole, fraction]),
        None => are_digits([number]),
    };
    (unit <= 3 && decimal) || (unit == 0 && (is_date(digits) || is_time(digits)))
}

fn are_digits<'a>(parts: impl IntoIterator<Item = &'a str>) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    parts.into_iter().all(digits)
}

/// `2026-11-24`, and `2026-11-24-19-13-36-123`.
fn is_date(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    are_digits(text.split('-')) && (lengths == [4, 2, 2] || lengths == [4, 2, 2, 2, 2, 2, 3])
}

/// `19:13`, `19:13:36` and `19:13:36.123`.
fn is_time(text: &str) -> bool {
    let (time, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let lengths: Vec<usize> = time.split(':').map(str::len).collect();
    are_digits(time.split(':').chain([fraction])) && (lengths == [2, 2] || lengths == [2, 2, 2])
}

/// A word of the language, a number, or a symbol such as `LABEL_EXISTS`.
fn is_plain(word: &str) -> bool {
    let letters = |ch: char| ch.is_ascii_alphabetic() || ch == '-';
    let symbol = |ch: char| ch.is_ascii_uppercase() || ch == '_';
    // Dots at the end close a sentence; others may be of the name of a host.
    let bare = word.trim_end_matches('.');
    bare.chars().all(letters) || bare.chars().all(symbol) || is_number(bare)
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
    fn a_location_is_known_whole_and_in_its_parts_with_and_without_its_secrets() {
        let mut names = names();
        names.learn_location("sftp://eve:pw@vault:22/Peter Mustermann/b?sas=hush");
        names.learn_location("file:///b?sas=hush");
        for (message, expected) in [
            (
                "no longer at file:///b?sas=******; bring it back",
                "no longer at location-2; bring it back",
            ),
            (
                "sftp://eve:******@vault:22/Peter Mustermann/b?sas=******: refused",
                "location-1: refused",
            ),
            (
                "cannot open /Peter Mustermann/b/objects/1: denied",
                "cannot open location-1path-1: denied",
            ),
            ("vault: no user eve", "host-3: no user host-1"),
        ] {
            assert_eq!(names.words(message), expected);
        }
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
            (
                "partition takes '2026-11-24' and '17' at 10.0.0.5:9000, fe::ab, ::1 and 1.2.3",
                "partition takes 'name-4' and 'name-5' at name-6, name-7, name-8 and name-9",
            ),
            (
                "password=****** since 2026-11-24-19-13-36-123, 09:00",
                "password=****** since 2026-11-24-19-13-36-123, 09:00",
            ),
            ("an 'open quote", "an 'open quote"),
            ("", ""),
        ] {
            assert_eq!(names.words(message), expected);
        }
    }
}
