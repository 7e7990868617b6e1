//! Cuts a stream of text into statements at semicolons, as it arrives. Knows quotes and comments
//! and nothing else of SQL.

/// Collects text and gives out whole statements.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    text: String,
    /// Bytes of `text` that were scanned.
    scanned: usize,
    state: State,
    /// Where `text` begins in all that was pushed.
    begin: Place,
    /// Where the statement given out last begins.
    last: Place,
}

/// A place in a text, counted from 0: lines, and characters in the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Place {
    fn after(self, text: &str) -> Self {
        match text.rsplit_once('\n') {
            None => Self {
                column: self.column + text.chars().count(),
                ..self
            },
            Some((_, tail)) => Self {
                line: self.line + text.matches('\n').count(),
                column: tail.chars().count(),
            },
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Plain,
    /// Within a quote of this kind.
    Quoted(char),
    LineComment,
    BlockComment,
}

impl Splitter {
    /// Takes more text.
    pub(crate) fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// The next statement that its semicolon has ended, without it; empty ones are left out.
    pub(crate) fn next(&mut self) -> Option<String> {
        while let Some(end) = self.scan() {
            let rest = self.text.split_off(end + 1);
            let mut statement = std::mem::replace(&mut self.text, rest);
            self.scanned = 0;
            self.last = self.begin;
            self.begin = self.begin.after(&statement);
            statement.truncate(end);
            if has_content(&statement) {
                return Some(statement);
            }
        }
        None
    }

    /// What is left at the end of the input: a statement without semicolon.
    pub(crate) fn finish(&mut self) -> Option<String> {
        let whole = std::mem::take(self);
        self.last = whole.begin;
        has_content(&whole.text).then_some(whole.text)
    }

    /// Where the statement that was given out last begins in all that was pushed.
    pub(crate) fn place(&self) -> Place {
        self.last
    }

    /// Whether the shell should ask for another line.
    pub(crate) fn is_open(&self) -> bool {
        self.state != State::Plain && self.state != State::LineComment || has_content(&self.text)
    }

    /// The position of the next semicolon that ends a statement. What may change with more text (a
    /// last `-` or `/` or a backslash) is scanned again later.
    fn scan(&mut self) -> Option<usize> {
        let mut chars = self.text[self.scanned..].char_indices().peekable();
        let from = self.scanned;
        let mut at = from;
        while let Some((offset, c)) = chars.next() {
            at = from + offset;
            let next = chars.peek().map(|(_, next)| *next);
            if (self.state, c, next) == (State::Plain, '-', Some('-')) {
                // A comment only where a blank follows, as in MySQL: 5--3 is arithmetic.
                let mut ahead = chars.clone();
                ahead.next();
                match ahead.next() {
                    None => {
                        self.scanned = at;
                        return None;
                    }
                    Some((_, third)) if third.is_whitespace() => self.state = State::LineComment,
                    Some(_) => {}
                }
                at = chars
                    .peek()
                    .map_or(self.text.len(), |(offset, _)| from + offset);
                continue;
            }
            let pair = match (self.state, c) {
                (State::Plain, '-' | '/') | (State::BlockComment, '*') => true,
                (State::Quoted(quote), '\\') => quote != '`',
                _ => false,
            };
            if pair && next.is_none() {
                self.scanned = at;
                return None;
            }
            match (self.state, c, next) {
                (State::Plain, ';', _) => {
                    self.scanned = at;
                    return Some(at);
                }
                (State::Plain, '\'' | '"' | '`', _) => self.state = State::Quoted(c),
                (State::Plain, '#', _) => self.state = State::LineComment,
                (State::Plain, '/', Some('*')) => {
                    chars.next();
                    self.state = State::BlockComment;
                }
                (State::Quoted(quote), '\\', _) if quote != '`' => {
                    chars.next();
                }
                // A doubled quote ends and begins again, which comes to the same.
                (State::Quoted(quote), _, _) if c == quote => self.state = State::Plain,
                (State::LineComment, '\n', _) => self.state = State::Plain,
                (State::BlockComment, '*', Some('/')) => {
                    chars.next();
                    self.state = State::Plain;
                }
                _ => {}
            }
            at = chars
                .peek()
                .map_or(self.text.len(), |(offset, _)| from + offset);
        }
        self.scanned = at.max(from);
        None
    }
}

/// Whether there is anything but blanks and comments.
fn has_content(text: &str) -> bool {
    let mut rest = text.trim_start();
    loop {
        let dashes = rest.strip_prefix("--");
        let line = dashes.is_some_and(|rest| !rest.starts_with(|c: char| !c.is_whitespace()));
        let after = if line || rest.starts_with('#') {
            rest.split_once('\n').map_or("", |(_, rest)| rest)
        } else if let Some((_, after)) = rest.strip_prefix("/*").and_then(|c| c.split_once("*/")) {
            after
        } else {
            // A comment that never ends is for the parser to complain about.
            return !rest.is_empty();
        };
        rest = after.trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<String> {
        let mut splitter = Splitter::default();
        splitter.push(text);
        let mut found: Vec<String> = std::iter::from_fn(|| splitter.next()).collect();
        found.extend(splitter.finish());
        found
            .iter()
            .map(|statement| statement.trim().to_owned())
            .collect()
    }

    #[test]
    fn semicolons_in_quotes_and_comments_do_not_end_a_statement() {
        assert_eq!(all("a ';' b; c"), ["a ';' b", "c"]);
        assert_eq!(all("a \"x\\\";y\"; c"), ["a \"x\\\";y\"", "c"]);
        assert_eq!(all("a `\\`; c"), ["a `\\`", "c"]);
        assert_eq!(all("a 'it''s;' b; c;"), ["a 'it''s;' b", "c"]);
        assert_eq!(all("a -- x; y\n b; c"), ["a -- x; y\n b", "c"]);
        assert_eq!(all("a 5--3; c"), ["a 5--3", "c"]);
        assert_eq!(all("a /* ; */ b; # ; \n c"), ["a /* ; */ b", "# ; \n c"]);
    }

    #[test]
    fn nothing_is_not_a_statement() {
        assert!(all(" ;; -- only a comment\n ; /* ; */ ;\n").is_empty());
    }

    #[test]
    fn the_cuts_do_not_depend_on_how_the_text_arrives() {
        let text = "SHOW x; a '\\';' /* ; **/ b -- c;\n; d - e / f; \u{e9};\u{1f980} \"";
        let whole = all(text);
        let mut splitter = Splitter::default();
        let mut found = Vec::new();
        for c in text.chars() {
            splitter.push(&c.to_string());
            found.extend(std::iter::from_fn(|| splitter.next()));
        }
        found.extend(splitter.finish());
        let found: Vec<String> = found.iter().map(|text| text.trim().to_owned()).collect();
        assert_eq!(found, whole);
    }

    #[test]
    fn the_place_of_a_statement_is_known() {
        let mut splitter = Splitter::default();
        splitter.push("a; \u{e9}b;\n\n c\n; d");
        let mut places = Vec::new();
        while splitter.next().is_some() {
            places.push((splitter.place().line, splitter.place().column));
        }
        assert!(splitter.finish().is_some());
        places.push((splitter.place().line, splitter.place().column));
        assert_eq!(places, [(0, 0), (0, 2), (0, 6), (3, 1)]);
    }

    #[test]
    fn the_shell_asks_on_while_something_is_open() {
        let mut splitter = Splitter::default();
        assert!(!splitter.is_open());
        splitter.push("SHOW 'a;\n");
        assert_eq!(splitter.next(), None);
        assert!(splitter.is_open());
        splitter.push("';\n");
        assert!(splitter.next().is_some());
        assert!(!splitter.is_open());
    }
}
