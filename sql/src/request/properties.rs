//! Reads the properties of one statement: which are known, and what their values are.

use std::str::FromStr;

use crate::error::{Code, SqlError};
use crate::statement::Properties;

/// The properties of one statement.
pub(crate) struct Reader<'a> {
    properties: &'a Properties,
    statement: &'a str,
    known: &'a [&'a str],
}

impl<'a> Reader<'a> {
    /// The properties of `statement`, which takes those that are `known`.
    pub(crate) fn new(
        properties: &'a Properties,
        statement: &'a str,
        known: &'a [&'a str],
    ) -> Self {
        Self {
            properties,
            statement,
            known,
        }
    }

    /// Refuses each of `refused` by its reason, then every other one that is not known.
    pub(crate) fn refuse(&self, refused: &[(&str, &str)]) -> Result<(), SqlError> {
        for key in self.properties.0.keys() {
            let text = match refused.iter().find(|(name, _)| name == key) {
                Some((_, reason)) => {
                    format!(
                        "property '{key}' is not supported by {}: {reason}",
                        self.statement
                    )
                }
                None if !self.known.contains(&key.as_str()) => format!(
                    "unknown property '{}' of {}, expected one of {}",
                    key.escape_debug(),
                    self.statement,
                    self.known.join(", ")
                ),
                None => continue,
            };
            return Err(SqlError::new(Code::BadProperty, text));
        }
        Ok(())
    }

    /// The value as it stands.
    pub(crate) fn text(&self, key: &str) -> Option<&'a str> {
        self.properties.0.get(key).map(String::as_str)
    }

    /// The value as a number.
    pub(crate) fn number<T: FromStr>(
        &self,
        key: &str,
        expected: &str,
    ) -> Result<Option<T>, SqlError> {
        let Some(text) = self.text(key) else {
            return Ok(None);
        };
        let plain = text.trim();
        let digits = !plain.is_empty() && plain.bytes().all(|b| b.is_ascii_digit());
        match plain.parse() {
            Ok(number) if digits => Ok(Some(number)),
            _ => Err(self.wrong(key, expected)),
        }
    }

    /// The value as true or false, in any case.
    pub(crate) fn switch(&self, key: &str) -> Result<Option<bool>, SqlError> {
        match self.text(key).map(str::trim) {
            None => Ok(None),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(_) => Err(self.wrong(key, "'true' or 'false'")),
        }
    }

    /// The error for a value that is not as `expected`.
    pub(crate) fn wrong(&self, key: &str, expected: &str) -> SqlError {
        let found = self.text(key).unwrap_or_default().escape_debug();
        let text = format!("property '{key}' is '{found}', expected {expected}");
        SqlError::new(Code::BadProperty, text)
    }
}
