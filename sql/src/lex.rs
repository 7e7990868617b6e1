//! From text to tokens with places. Owns the dialect of the tokenizer and the cut at `;`; knows no
//! grammar.

use std::any::TypeId;

use sqlparser::dialect::{Dialect, MySqlDialect};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use crate::error::{Code, SqlError};

/// MySQL's words and strings, but `/*! … */` is a comment like any other: what it holds is for
/// MySQL.
#[derive(Debug)]
struct Words(MySqlDialect);

impl Dialect for Words {
    fn dialect(&self) -> TypeId {
        // The tokenizer asks for the dialect's type in some places, such as `#` comments.
        TypeId::of::<MySqlDialect>()
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        self.0.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        self.0.is_identifier_part(ch)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        self.0.is_delimited_identifier_start(ch)
    }

    fn supports_string_literal_backslash_escape(&self) -> bool {
        true
    }

    fn ignores_wildcard_escapes(&self) -> bool {
        true
    }

    fn supports_numeric_prefix(&self) -> bool {
        true
    }

    fn requires_single_line_comment_whitespace(&self) -> bool {
        true
    }
}

/// A token and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Lexeme {
    /// The token; never white space.
    pub(crate) token: Token,
    /// Line and column of its first character, from 1.
    pub(crate) place: Location,
    /// Its bytes in the text.
    pub(crate) bytes: std::ops::Range<usize>,
}

/// A text as tokens, as far as it could be read.
#[derive(Debug)]
pub(crate) struct Lexed {
    /// The tokens, white space and comments left out.
    pub(crate) tokens: Vec<Lexeme>,
    /// Where the text ends.
    pub(crate) end: Location,
    /// Why the rest could not be read.
    pub(crate) error: Option<SqlError>,
}

/// Turns byte offsets out of the lines and columns that the tokenizer counts. Places must be asked
/// for in order.
struct Walker<'a> {
    chars: std::str::Chars<'a>,
    at: usize,
    line: u64,
    column: u64,
}

impl Walker<'_> {
    fn offset_of(&mut self, place: Location) -> usize {
        while (self.line, self.column) < (place.line, place.column) {
            let Some(ch) = self.chars.next() else { break };
            self.at += ch.len_utf8();
            if ch == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        self.at
    }
}

/// Reads `text`. Never fails: what could not be read is an error beside the tokens before it.
pub(crate) fn lex(text: &str) -> Lexed {
    let dialect = Words(MySqlDialect {});
    let mut raw: Vec<TokenWithSpan> = Vec::new();
    let outcome = Tokenizer::new(&dialect, text).tokenize_with_location_into_buf(&mut raw);
    let mut walker = Walker {
        chars: text.chars(),
        at: 0,
        line: 1,
        column: 1,
    };
    let mut tokens = Vec::with_capacity(raw.len() / 2 + 1);
    for TokenWithSpan { token, span } in raw {
        let start = walker.offset_of(span.start);
        let end = walker.offset_of(span.end);
        if !matches!(token, Token::Whitespace(_)) {
            tokens.push(Lexeme {
                token,
                place: span.start,
                bytes: start..end,
            });
        }
    }
    walker.offset_of(Location {
        line: u64::MAX,
        column: u64::MAX,
    });
    let end = Location {
        line: walker.line,
        column: walker.column,
    };
    let error = outcome.err().map(|e| {
        let text = format!(
            "syntax error at line {}, column {}: {}",
            e.location.line,
            e.location.column,
            lower_first(e.message.trim_end_matches('.'))
        );
        SqlError::new(Code::Syntax, text)
    });
    Lexed { tokens, end, error }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// Whether `text` ends inside a string, a quoted name or a comment, or without the `;` that ends
/// its last statement: a shell then reads another line.
pub fn is_unfinished(text: &str) -> bool {
    let lexed = lex(text);
    lexed.error.is_some()
        || lexed
            .tokens
            .last()
            .is_some_and(|last| last.token != Token::SemiColon)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let lexed = lex(text);
        assert!(lexed.error.is_none(), "{:?}", lexed.error);
        lexed
            .tokens
            .iter()
            .map(|t| text[t.bytes.clone()].to_owned())
            .collect()
    }

    #[test]
    fn bytes_follow_the_tokens_over_lines_and_wide_letters() {
        assert_eq!(
            words("é 'ü;'\r\n\t`x``y`  ;z"),
            ["é", "'ü;'", "`x``y`", ";", "z"]
        );
    }

    #[test]
    fn comments_of_every_form_vanish() {
        assert_eq!(
            words("a -- b;\n# c;\n/* d; */ /*!40101 SET x */ e"),
            ["a", "e"]
        );
    }

    #[test]
    fn what_stands_before_an_open_quote_is_kept() {
        let lexed = lex("USE a; USE 'b");
        assert_eq!(lexed.tokens.len(), 4);
        let error = lexed.error.unwrap();
        assert_eq!(error.symbol, "SYNTAX_ERROR");
        assert!(
            error.message.contains("line 1, column 12"),
            "{}",
            error.message
        );
    }

    #[test]
    fn a_shell_is_told_when_to_read_on() {
        assert!(is_unfinished("SHOW BACKUP"));
        assert!(is_unfinished("USE 'a;"));
        assert!(!is_unfinished("SHOW BACKUP; -- done"));
        assert!(!is_unfinished("  \n"));
    }
}
