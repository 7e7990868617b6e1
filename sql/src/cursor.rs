//! A place in a list of tokens, and the small steps that every rule of the grammar is made of. Owns
//! the words of syntax errors; knows no statement.

use std::collections::BTreeMap;

use sqlparser::tokenizer::{Location, Token};

use crate::error::{Code, SqlError};
use crate::lex::Lexeme;
use crate::statement::{Properties, TableName};

/// How deep parentheses, NOT and nested types may go.
const MAX_DEPTH: u32 = 64;
/// How much of a token an error shows, in characters.
const SHOWN: usize = 60;

/// Words that are a name only between backquotes.
const RESERVED: [&str; 25] = [
    "ALTER",
    "AND",
    "AS",
    "BY",
    "CANCEL",
    "CREATE",
    "DROP",
    "EXCLUDE",
    "EXISTS",
    "FROM",
    "IN",
    "IS",
    "LIKE",
    "LIMIT",
    "NOT",
    "NULL",
    "ON",
    "OR",
    "ORDER",
    "PROPERTIES",
    "SELECT",
    "SHOW",
    "TO",
    "WHERE",
    "WITH",
];

/// A place in the tokens of one statement.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    tokens: &'a [Lexeme],
    at: usize,
    end: Location,
    depth: u32,
    /// One half of a `>>` has been taken.
    half: bool,
}

impl<'a> Cursor<'a> {
    /// The start of `tokens`, which lie in `text`; `end` is where the statement ends.
    pub(crate) fn new(text: &'a str, tokens: &'a [Lexeme], end: Location) -> Self {
        Self {
            text,
            tokens,
            at: 0,
            end,
            depth: 0,
            half: false,
        }
    }

    /// The next token.
    pub(crate) fn peek(&self) -> Option<&'a Token> {
        self.peek_at(0)
    }

    /// The token `ahead` of the next one.
    pub(crate) fn peek_at(&self, ahead: usize) -> Option<&'a Token> {
        self.tokens.get(self.at + ahead).map(|lexeme| &lexeme.token)
    }

    /// Steps over the next token.
    pub(crate) fn advance(&mut self) {
        self.at += 1;
    }

    /// The text from token number `from` up to here.
    pub(crate) fn text_since(&self, from: usize) -> &'a str {
        let start = self.tokens.get(from).map(|lexeme| lexeme.bytes.start);
        let end = self
            .at
            .checked_sub(1)
            .and_then(|i| self.tokens.get(i))
            .map(|l| l.bytes.end);
        match (start, end) {
            (Some(start), Some(end)) => self.text.get(start..end).unwrap_or_default(),
            _ => "",
        }
    }

    /// The number of the next token.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// Whether the next token is the keyword.
    pub(crate) fn is(&self, keyword: &str) -> bool {
        self.is_at(0, keyword)
    }

    /// Whether the token `ahead` of the next one is the keyword.
    pub(crate) fn is_at(&self, ahead: usize, keyword: &str) -> bool {
        self.peek_at(ahead)
            .is_some_and(|token| is_keyword(token, keyword))
    }

    /// Takes the keyword if it is next.
    pub(crate) fn eat(&mut self, keyword: &str) -> bool {
        let found = self.is(keyword);
        if found {
            self.advance();
        }
        found
    }

    /// Takes one of the keywords if it is next.
    pub(crate) fn eat_any(&mut self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.eat(keyword))
    }

    /// Takes all the keywords if they are next, in this order; else nothing.
    pub(crate) fn eat_all(&mut self, keywords: &[&str]) -> bool {
        let found = keywords
            .iter()
            .enumerate()
            .all(|(i, keyword)| self.is_at(i, keyword));
        if found {
            self.at += keywords.len();
        }
        found
    }

    /// Takes the keyword.
    pub(crate) fn expect(&mut self, keyword: &str) -> Result<(), SqlError> {
        if self.eat(keyword) {
            Ok(())
        } else {
            Err(self.unexpected(keyword))
        }
    }

    /// Whether the next token is this one.
    pub(crate) fn is_token(&self, token: &Token) -> bool {
        self.peek() == Some(token)
    }

    /// Takes the token if it is next.
    pub(crate) fn eat_token(&mut self, token: &Token) -> bool {
        let found = self.is_token(token);
        if found {
            self.advance();
        }
        found
    }

    /// Takes the token.
    pub(crate) fn expect_token(&mut self, token: &Token) -> Result<(), SqlError> {
        if self.eat_token(token) {
            Ok(())
        } else {
            Err(self.unexpected(&format!("'{token}'")))
        }
    }

    /// Takes one `>`, also where the tokenizer saw the two of a nested type as one `>>`.
    pub(crate) fn expect_closing_angle(&mut self) -> Result<(), SqlError> {
        match self.peek() {
            Some(Token::Gt) => self.advance(),
            Some(Token::ShiftRight) if self.half => {
                self.half = false;
                self.advance();
            }
            Some(Token::ShiftRight) => self.half = true,
            _ => return Err(self.unexpected("'>'")),
        }
        Ok(())
    }

    /// Whether one half of a `>>` is still to be taken.
    pub(crate) fn is_half(&self) -> bool {
        self.half
    }

    /// The error for the next token, where `expected` would have been right.
    pub(crate) fn unexpected(&self, expected: &str) -> SqlError {
        let (place, found) = match self.tokens.get(self.at) {
            Some(lexeme) => (lexeme.place, quote_found(lexeme, self.text)),
            None => (self.end, "the end of the statement".to_owned()),
        };
        let text = format!(
            "syntax error at line {}, column {}: found {found}, expected {expected}",
            place.line, place.column
        );
        SqlError::new(Code::Syntax, text)
    }

    /// The end of the statement.
    pub(crate) fn finish(&self) -> Result<(), SqlError> {
        self.finish_or("the end of the statement")
    }

    /// The end of the statement, where `expected` could have stood too.
    pub(crate) fn finish_or(&self, expected: &str) -> Result<(), SqlError> {
        if self.at >= self.tokens.len() {
            Ok(())
        } else {
            Err(self.unexpected(expected))
        }
    }

    /// Runs `rule` one level deeper.
    pub(crate) fn nested<T>(
        &mut self,
        rule: impl FnOnce(&mut Self) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        if self.depth >= MAX_DEPTH {
            let text = format!("nested deeper than the {MAX_DEPTH} levels that are allowed");
            return Err(SqlError::new(Code::BadFilter, text));
        }
        self.depth += 1;
        let outcome = rule(self);
        self.depth -= 1;
        outcome
    }

    /// A name, bare or between backquotes; `what` it names stands in the error. Parts joined by `-`
    /// without a blank, as labels often are, are one name.
    pub(crate) fn ident(&mut self, what: &str) -> Result<String, SqlError> {
        let expected = format!("the name of a {what}");
        let name = match self.peek() {
            Some(Token::Word(word)) if word.quote_style.is_some() => {
                let name = word.value.clone();
                self.advance();
                return Ok(name);
            }
            Some(Token::Word(word)) if !is_reserved(&word.value) => word.value.clone(),
            Some(Token::Number(digits, _)) if is_word_like(digits) => digits.clone(),
            _ => return Err(self.unexpected(&expected)),
        };
        self.advance();
        Ok(self.join_hyphens(name))
    }

    fn join_hyphens(&mut self, mut name: String) -> String {
        while let (Some(dash), Some(next)) =
            (self.tokens.get(self.at), self.tokens.get(self.at + 1))
        {
            let before = self.at.checked_sub(1).and_then(|i| self.tokens.get(i));
            let touching = before.is_some_and(|b| b.bytes.end == dash.bytes.start)
                && dash.bytes.end == next.bytes.start;
            let part = match &next.token {
                Token::Word(word) if word.quote_style.is_none() => &word.value,
                Token::Number(digits, _) if is_word_like(digits) => digits,
                _ => break,
            };
            if dash.token != Token::Minus || !touching {
                break;
            }
            name.push('-');
            name.push_str(part);
            self.at += 2;
        }
        name
    }

    /// `[db.]name`: the database, and the name.
    pub(crate) fn dotted(&mut self, what: &str) -> Result<(Option<String>, String), SqlError> {
        let first = self.ident(what)?;
        if self.eat_token(&Token::Period) {
            Ok((Some(first), self.ident(what)?))
        } else {
            Ok((None, first))
        }
    }

    /// `[db.]table`
    pub(crate) fn table_name(&mut self) -> Result<TableName, SqlError> {
        let (database, table) = self.dotted("table")?;
        Ok(TableName { database, table })
    }

    /// A string between single or double quotes.
    pub(crate) fn string(&mut self, what: &str) -> Result<String, SqlError> {
        match self.peek() {
            Some(Token::SingleQuotedString(text) | Token::DoubleQuotedString(text)) => {
                self.advance();
                Ok(text.clone())
            }
            _ => Err(self.unexpected(&format!("{what} between quotes"))),
        }
    }

    /// A name or a string.
    pub(crate) fn ident_or_string(&mut self, what: &str) -> Result<String, SqlError> {
        match self.peek() {
            Some(Token::SingleQuotedString(_) | Token::DoubleQuotedString(_)) => self.string(what),
            _ => self.ident(what),
        }
    }

    /// A whole number that fits `T`.
    pub(crate) fn integer<T: std::str::FromStr>(&mut self, what: &str) -> Result<T, SqlError> {
        let value = match self.peek() {
            Some(Token::Number(digits, false)) => digits.parse().ok(),
            _ => None,
        };
        match value {
            Some(value) => {
                self.advance();
                Ok(value)
            }
            None => Err(self.unexpected(what)),
        }
    }

    /// `(x, …)`, at least one.
    pub(crate) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, SqlError>,
    ) -> Result<Vec<T>, SqlError> {
        self.expect_token(&Token::LParen)?;
        let mut items = vec![item(self)?];
        while self.eat_token(&Token::Comma) {
            items.push(item(self)?);
        }
        if !self.eat_token(&Token::RParen) {
            return Err(self.unexpected("',' or ')'"));
        }
        Ok(items)
    }

    /// `(name, …)`
    pub(crate) fn names(&mut self, what: &str) -> Result<Vec<String>, SqlError> {
        self.list(|cursor| cursor.ident(what))
    }

    /// The partitions behind PARTITION or PARTITIONS: `(p, …)` or one name without parentheses;
    /// names may be strings.
    pub(crate) fn partition_names(&mut self) -> Result<Vec<String>, SqlError> {
        if self.is_token(&Token::LParen) {
            self.list(|cursor| cursor.ident_or_string("partition"))
        } else {
            Ok(vec![self.ident_or_string("partition")?])
        }
    }

    /// `[PROPERTIES ("k" = "v", …)]`
    pub(crate) fn properties(&mut self) -> Result<Properties, SqlError> {
        if self.eat("PROPERTIES") {
            self.property_list()
        } else {
            Ok(Properties::default())
        }
    }

    /// `("k" = "v", …)`
    pub(crate) fn property_list(&mut self) -> Result<Properties, SqlError> {
        let pairs = self.list(|cursor| {
            let key = cursor.string("the name of a property")?;
            cursor.expect_token(&Token::Eq)?;
            Ok((key, cursor.string("the value of a property")?))
        })?;
        let mut map = BTreeMap::new();
        for (key, value) in pairs {
            if map.contains_key(&key) {
                let text = format!("property '{key}' is given twice, expected each once");
                return Err(SqlError::new(Code::BadProperty, text));
            }
            map.insert(key, value);
        }
        Ok(Properties(map))
    }

    /// `[{FROM|IN} db]`
    pub(crate) fn of_database(&mut self) -> Result<Option<String>, SqlError> {
        if self.eat_any(&["FROM", "IN"]) {
            Ok(Some(self.ident("database")?))
        } else {
            Ok(None)
        }
    }

    /// `[IF EXISTS]`
    pub(crate) fn if_exists(&mut self) -> Result<bool, SqlError> {
        if self.is("IF") && !self.is_at(1, "NOT") {
            self.advance();
            self.expect("EXISTS")?;
            return Ok(true);
        }
        Ok(false)
    }

    /// `[IF NOT EXISTS]`
    pub(crate) fn if_not_exists(&mut self) -> Result<bool, SqlError> {
        if self.is("IF") {
            self.advance();
            self.expect("NOT")?;
            self.expect("EXISTS")?;
            return Ok(true);
        }
        Ok(false)
    }
}

/// Whether `token` is the bare word `keyword`.
pub(crate) fn is_keyword(token: &Token, keyword: &str) -> bool {
    match token {
        Token::Word(word) => word.quote_style.is_none() && word.value.eq_ignore_ascii_case(keyword),
        _ => false,
    }
}

/// Whether `word` is a name only between backquotes.
pub(crate) fn is_reserved(word: &str) -> bool {
    RESERVED
        .iter()
        .any(|reserved| word.eq_ignore_ascii_case(reserved))
}

fn is_word_like(digits: &str) -> bool {
    digits
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The token as written, shortened; strings only by their kind, as they may hold secrets.
fn quote_found(lexeme: &Lexeme, text: &str) -> String {
    match &lexeme.token {
        Token::SingleQuotedString(_) | Token::DoubleQuotedString(_) => "a string".to_owned(),
        _ => {
            let written = text.get(lexeme.bytes.clone()).unwrap_or_default();
            let mut shown: String = written.chars().take(SHOWN).collect();
            if shown.len() < written.len() {
                shown.push('…');
            }
            format!("'{}'", shown.escape_debug())
        }
    }
}
