//! What may follow a text so far, for a shell. Pure: names of things are not looked up, only the
//! words of the grammar.

use sqlparser::tokenizer::Token;

use crate::cursor::is_keyword;
use crate::lex::{Lexeme, lex};

/// Words that may stand at the end of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completion {
    /// Where the word that a candidate replaces begins, in bytes.
    pub start: usize,
    /// The candidates, sorted.
    pub candidates: Vec<String>,
}

/// The statements as words. `?` stands for a name, a string or a number; `(?)` for anything between
/// parentheses; `[` opens and `]` closes words that may be left out.
const GRAMMAR: [&str; 37] = [
    "ALTER SYSTEM ADD BACKEND ?",
    "ALTER SYSTEM DROP BACKEND ?",
    "ALTER SYSTEM ADD BROKER ? ?",
    "ALTER SYSTEM DROP BROKER ? ?",
    "ALTER SYSTEM DROP ALL BROKER ?",
    "ALTER TABLE ? ADD PARTITION ? VALUES LESS THAN (?)",
    "ALTER TABLE ? ADD PARTITION ? VALUES IN (?)",
    "ALTER TABLE ? DROP PARTITION [ IF EXISTS ] ?",
    "BACKUP SNAPSHOT ? TO ? [ ON (?) ] [ EXCLUDE (?) ] [ PROPERTIES (?) ]",
    "BACKUP DATABASE ? SNAPSHOT ? TO ? [ ON (?) ] [ EXCLUDE (?) ] [ PROPERTIES (?) ]",
    "CANCEL BACKUP [ FROM ? ]",
    "CANCEL RESTORE [ FROM ? ]",
    "CREATE [ READ ONLY ] REPOSITORY ? WITH BROKER [ ? ] ON LOCATION ? [ PROPERTIES (?) ]",
    "CREATE DATABASE [ IF NOT EXISTS ] ?",
    "CREATE TABLE [ IF NOT EXISTS ] ? (?) [ DUPLICATE KEY (?) ] [ AGGREGATE KEY (?) ] [ UNIQUE KEY \
     (?) ] \
     [ PRIMARY KEY (?) ] [ COMMENT ? ] [ PARTITION BY ? (?) (?) ] \
     [ DISTRIBUTED BY HASH (?) [ BUCKETS ? ] ] \
     [ PROPERTIES (?) ]",
    "DROP DATABASE [ IF EXISTS ] ?",
    "DROP REPOSITORY ?",
    "DROP TABLE [ IF EXISTS ] ?",
    "RESTORE SNAPSHOT ? FROM ? [ DATABASE ? [ AS ? ] ] [ ON (?) ] [ EXCLUDE (?) ] PROPERTIES (?)",
    "SHOW BACKENDS [ TAIL ]",
    "SHOW BACKUP [ FROM ? ] [ AS OF EVENT ? ] [ TAIL ]",
    "SHOW BACKUP [ FROM ? ] [ AS OF TIMESTAMP ? ] [ TAIL ]",
    "SHOW BRIEF RESTORE [ FROM ? ] [ AS OF EVENT ? ] [ TAIL ]",
    "SHOW BRIEF RESTORE [ FROM ? ] [ AS OF TIMESTAMP ? ] [ TAIL ]",
    "SHOW BROKER [ TAIL ]",
    "SHOW CREATE REPOSITORY FOR ?",
    "SHOW CREATE TABLE ?",
    "SHOW DATABASES [ TAIL ]",
    "SHOW JOB EVENTS FOR ? [ TAIL ]",
    "SHOW PARTITIONS FROM ? [ TAIL ]",
    "SHOW REPOSITORIES [ TAIL ]",
    "SHOW RESTORE [ FROM ? ] [ AS OF EVENT ? ] [ TAIL ]",
    "SHOW RESTORE [ FROM ? ] [ AS OF TIMESTAMP ? ] [ TAIL ]",
    "SHOW SNAPSHOT ON ? [ TAIL ]",
    "SHOW TABLES [ FROM ? ] [ TAIL ]",
    "SHOW TABLET FROM ? [ PARTITION (?) ] [ TAIL ]",
    "USE ?",
];

/// The one more statement that would make the table's lines uneven.
const TRUNCATE: &str = "TRUNCATE TABLE ? [ PARTITION (?) ]";

/// What `TAIL` stands for.
const TAIL: [&str; 4] = ["LIKE", "WHERE", "ORDER BY", "LIMIT"];

/// What may follow `text`: words of the grammar for the statement that is being written, those that
/// begin as the word at the end of the text does. Nothing inside strings, and nothing where a name
/// is expected.
pub fn complete(text: &str) -> Completion {
    let lexed = lex(text);
    let nothing = Completion {
        start: text.len(),
        candidates: Vec::new(),
    };
    if lexed.error.is_some() {
        return nothing;
    }
    let after = lexed
        .tokens
        .iter()
        .rposition(|t| t.token == Token::SemiColon);
    let mut tokens = &lexed.tokens[after.map_or(0, |at| at + 1)..];
    let mut partial = "";
    let mut start = text.len();
    if let Some((last, before)) = tokens.split_last()
        && last.bytes.end == text.len()
        && matches!(&last.token, Token::Word(word) if word.quote_style.is_none())
    {
        partial = &text[last.bytes.clone()];
        start = last.bytes.start;
        tokens = before;
    }
    let partial = partial.to_ascii_uppercase();
    let mut candidates = Vec::new();
    for line in GRAMMAR.iter().chain(std::iter::once(&TRUNCATE)) {
        follow(&words(line), &units(tokens), &mut candidates);
    }
    candidates.retain(|word| word.starts_with(&partial) && *word != partial);
    candidates.sort();
    candidates.dedup();
    Completion { start, candidates }
}

/// A line of the grammar as words, TAIL written out.
fn words(line: &'static str) -> Vec<&'static str> {
    let mut out = Vec::new();
    for word in line.split_whitespace() {
        if word == "TAIL" {
            out.push("LIKE ?");
        } else {
            out.push(word);
        }
    }
    out
}

/// The tokens as units of the grammar: a dotted name or a list between parentheses is one.
fn units(tokens: &[Lexeme]) -> Vec<Unit<'_>> {
    let mut out: Vec<Unit<'_>> = Vec::new();
    let mut at = 0;
    while let Some(lexeme) = tokens.get(at) {
        at += 1;
        match &lexeme.token {
            Token::LParen => {
                let mut depth = 1;
                while depth > 0 {
                    match tokens.get(at).map(|t| &t.token) {
                        Some(Token::LParen) => depth += 1,
                        Some(Token::RParen) => depth -= 1,
                        Some(_) => {}
                        None => break,
                    }
                    at += 1;
                }
                out.push(if depth == 0 { Unit::List } else { Unit::Open });
            }
            Token::Period => {
                // The part behind the point belongs to the name before it.
                at += 1;
            }
            token => out.push(Unit::Word(token)),
        }
    }
    out
}

#[derive(Clone, Copy)]
enum Unit<'a> {
    Word(&'a Token),
    List,
    /// A parenthesis that is still open: only its content could follow.
    Open,
}

/// Adds to `out` the keywords of `words` that may stand behind `units`.
fn follow(words: &[&'static str], units: &[Unit<'_>], out: &mut Vec<String>) {
    let Some(word) = words.first() else { return };
    match *word {
        "[" => {
            let Some(close) = closing(words) else { return };
            let inner: Vec<_> = words[1..close]
                .iter()
                .chain(&words[close + 1..])
                .copied()
                .collect();
            follow(&inner, units, out);
            follow(&words[close + 1..], units, out);
        }
        "LIKE ?" => tail(units, out),
        _ => match units.split_first() {
            None if word.starts_with(['?', '(']) => {}
            None => out.push((*word).to_owned()),
            Some((unit, rest)) => {
                if fits(word, unit) {
                    follow(&words[1..], rest, out);
                }
            }
        },
    }
}

/// Where the bracket that opens `words` is closed.
fn closing(words: &[&str]) -> Option<usize> {
    let mut depth = 0;
    for (i, word) in words.iter().enumerate() {
        match *word {
            "[" => depth += 1,
            "]" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(i);
        }
    }
    None
}

fn fits(word: &str, unit: &Unit<'_>) -> bool {
    match (word, unit) {
        ("(?)", Unit::List) => true,
        ("?", Unit::Word(_)) => true,
        (keyword, Unit::Word(token)) => is_keyword(token, keyword),
        _ => false,
    }
}

/// In a tail the order of its clauses is all that is kept: each may follow those before it.
fn tail(units: &[Unit<'_>], out: &mut Vec<String>) {
    let begins = |at: usize, clause: &str| {
        let first = clause.split(' ').next().unwrap_or_default();
        matches!(units.get(at), Some(Unit::Word(token)) if is_keyword(token, first))
    };
    if units.is_empty() {
        out.extend(TAIL.iter().map(|clause| (*clause).to_owned()));
        return;
    }
    if !TAIL.iter().any(|clause| begins(0, clause)) || matches!(units.last(), Some(Unit::Open)) {
        return;
    }
    let last = (0..units.len()).rev().find_map(|at| {
        TAIL.iter()
            .position(|clause| begins(at, clause))
            .map(|which| (at, which))
    });
    // A clause ends with a value, so that another may follow once something stands behind its word.
    if let Some((at, which)) = last
        && at + 1 < units.len()
    {
        out.extend(TAIL[which + 1..].iter().map(|clause| (*clause).to_owned()));
        match TAIL[which] {
            "WHERE" => out.extend(["AND", "OR"].map(str::to_owned)),
            "ORDER BY" => out.extend(["ASC", "DESC"].map(str::to_owned)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(text: &str) -> Vec<String> {
        complete(text).candidates
    }

    #[test]
    fn heads_come_first() {
        assert_eq!(
            after(""),
            [
                "ALTER", "BACKUP", "CANCEL", "CREATE", "DROP", "RESTORE", "SHOW", "TRUNCATE", "USE"
            ]
        );
        assert_eq!(after("ba"), ["BACKUP"]);
        assert_eq!(
            complete("use x; sh"),
            Completion {
                start: 7,
                candidates: vec!["SHOW".to_owned()]
            }
        );
    }

    #[test]
    fn the_grammar_leads_on() {
        assert_eq!(after("backup "), ["DATABASE", "SNAPSHOT"]);
        assert_eq!(after("BACKUP SNAPSHOT d.l "), ["TO"]);
        assert_eq!(
            after("BACKUP SNAPSHOT d.l TO r "),
            ["EXCLUDE", "ON", "PROPERTIES"]
        );
        assert_eq!(
            after("BACKUP SNAPSHOT d.l TO r ON (a, b) "),
            ["EXCLUDE", "PROPERTIES"]
        );
        assert_eq!(after("CREATE REPOSITORY r WITH BROKER "), ["ON"]);
        assert_eq!(
            after("SHOW BACKUP "),
            ["AS", "FROM", "LIKE", "LIMIT", "ORDER BY", "WHERE"]
        );
        assert_eq!(after("SHOW BACKUP FROM d AS OF "), ["EVENT", "TIMESTAMP"]);
        assert_eq!(
            after("SHOW RESTORE AS OF EVENT 12 "),
            ["LIKE", "LIMIT", "ORDER BY", "WHERE"]
        );
        assert_eq!(after("SHOW JOB "), ["EVENTS"]);
        assert_eq!(
            after("SHOW BACKUP WHERE State = 'x' "),
            ["AND", "LIMIT", "OR", "ORDER BY"]
        );
        assert_eq!(after("SHOW R"), ["REPOSITORIES", "RESTORE"]);
    }

    #[test]
    fn names_and_strings_are_left_to_the_user() {
        assert!(after("USE ").is_empty());
        assert!(after("BACKUP SNAPSHOT d.l TO r ON (").is_empty());
        assert!(after("SHOW BACKUP WHERE x = 'SH").is_empty());
        assert!(after("NONSENSE ").is_empty());
    }
}
