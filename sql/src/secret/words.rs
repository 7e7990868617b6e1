//! Secrets in the words of others: `key=value`, `key: value`, `<Key>value</Key>`, headers. Finds the
//! places; which keys are secret is said elsewhere. Where it cannot know how far a value goes, it
//! takes too much.

use std::borrow::Cow;

use super::{MASK, is_secret};

/// Headers (lower case) whose whole line is a secret.
const HEADERS: [&str; 4] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
];
/// A token behind `Bearer` that is shorter is a word.
const TOKEN_MIN: usize = 16;
const QUOTES: [char; 3] = ['\'', '"', '`'];

/// The text with each secret value in it masked.
pub(super) fn mask_values(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut copied = 0;
    for (at, ch) in text.char_indices() {
        if at < copied {
            continue;
        }
        let found = match ch {
            '=' | ':' | '>' => value(text, at, ch),
            'B' | 'b' => bearer(text, at),
            _ => None,
        };
        if let Some((start, end)) = found
            && &text[start..end] != MASK
        {
            out.push_str(&text[copied..start]);
            out.push_str(MASK);
            copied = end;
        }
    }
    match copied {
        0 => Cow::Borrowed(text),
        _ => {
            out.push_str(&text[copied..]);
            Cow::Owned(out)
        }
    }
}

/// Where the value behind the separator at `at` stands, if the key before it is secret.
fn value(text: &str, at: usize, separator: char) -> Option<(usize, usize)> {
    let (key, quote) = key(&text[..at], separator)?;
    let header = HEADERS.contains(&key.to_ascii_lowercase().as_str());
    if !header && !is_secret(key) {
        return None;
    }
    let behind = &text[at + 1..];
    if separator == '>' {
        let end = behind.find('<').unwrap_or(behind.len());
        return (end > 0).then_some((at + 1, at + 1 + end));
    }
    let skipped = |ch: char| ch == ' ' || ch == '\t' || (separator == '=' && "=>".contains(ch));
    let rest = behind.trim_start_matches(skipped);
    let start = text.len() - rest.len();
    let opened = rest.trim_start_matches('\\');
    if let Some(mark) = opened.chars().next().filter(|ch| QUOTES.contains(ch)) {
        let start = text.len() - opened.len() + mark.len_utf8();
        let end = start + quoted(&text[start..], mark);
        return (end > start).then_some((start, end));
    }
    // `property 'password': expected …` is a sentence.
    if separator == ':' && (rest.starts_with("//") || quote.is_some_and(|mark| mark != '"')) {
        return None;
    }
    let line = rest.find(['\n', '\r']).unwrap_or(rest.len());
    let length = match header {
        true => line,
        false => word(&rest[..line]),
    };
    let bare_key = key.eq_ignore_ascii_case("key");
    let sentence = separator == ':' && bare_key && length < TOKEN_MIN;
    (length > 0 && !sentence).then_some((start, start + length))
}

/// The key that ends where the text ends, and the quote around it.
fn key(before: &str, separator: char) -> Option<(&str, Option<char>)> {
    let is_key = |ch: char| ch.is_ascii_alphanumeric() || "_.-".contains(ch);
    let whole = |text: &str| text.trim_end_matches(is_key).len();
    if separator == '>' {
        let start = whole(before);
        return before[..start]
            .ends_with('<')
            .then(|| (&before[start..], None));
    }
    let before = before.trim_end_matches([' ', '\t']);
    let quote = before.chars().next_back().filter(|ch| QUOTES.contains(ch));
    let before = match quote {
        Some(mark) => before[..before.len() - mark.len_utf8()].trim_end_matches('\\'),
        None => before,
    };
    let start = whole(before);
    (start < before.len()).then(|| (&before[start..], quote))
}

/// How far a value goes whose opening quote stands before `text`.
fn quoted(text: &str, mark: char) -> usize {
    let close = text.find(mark).unwrap_or(text.len());
    text[..close].trim_end_matches('\\').len()
}

/// How far a value without quotes goes.
fn word(line: &str) -> usize {
    let ends = |ch: char| ch.is_whitespace() || ch == '&' || ch == '<' || QUOTES.contains(&ch);
    let end = line.find(ends).unwrap_or(line.len());
    let closing = |ch: char| ",;.:)]}".contains(ch);
    line[..end].trim_end_matches(closing).len()
}

/// The token behind `Bearer `.
fn bearer(text: &str, at: usize) -> Option<(usize, usize)> {
    const WORD: &str = "bearer ";
    let found = text.get(at..at + WORD.len())?;
    let start = at + WORD.len();
    let length = word(&text[start..]);
    (found.eq_ignore_ascii_case(WORD) && length >= TOKEN_MIN).then_some((start, start + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_secret_keys_are_masked_in_every_spelling() {
        for (text, expected) in [
            (
                "login failed: password=hush.",
                "login failed: password=******.",
            ),
            (
                "user=eve,password=a,b next",
                "user=eve,password=****** next",
            ),
            (
                "secret_key: hush, bucket: b",
                "secret_key: ******, bucket: b",
            ),
            (
                "PROPERTIES ('s3.secret.key' = 'it\"s', 'x' = 'y')",
                "PROPERTIES ('s3.secret.key' = '******', 'x' = 'y')",
            ),
            (
                r#"{"Password":"hu,sh","token": "t"}"#,
                r#"{"Password":"******","token": "******"}"#,
            ),
            (
                r#"said \"sas\":\"hush\" and"#,
                r#"said \"sas\":\"******\" and"#,
            ),
            (
                "<Code>No</Code><AWSAccessKeyId>AK</AWSAccessKeyId><SignatureProvided>s=</SignatureProvided>",
                "<Code>No</Code><AWSAccessKeyId>******</AWSAccessKeyId><SignatureProvided>******</SignatureProvided>",
            ),
            (
                "GET / HTTP/1.1\nAuthorization: AWS4 Credential=a/b, Signature=c\nHost: h",
                "GET / HTTP/1.1\nAuthorization: ******\nHost: h",
            ),
            ("Authorization: Basic dTpw", "Authorization: ******"),
            (
                "sent Bearer abcdefgh.ijklmnop, refused",
                "sent Bearer ******, refused",
            ),
            ("x-amz-security-token:hush", "x-amz-security-token:******"),
            ("ключ secret=ключ é", "ключ secret=****** é"),
            ("password='open", "password='******"),
        ] {
            assert_eq!(mask_values(text), expected);
            assert_eq!(mask_values(expected), expected, "twice is once");
        }
    }

    #[test]
    fn sentences_stay() {
        for text in [
            "the sealed key: it has 31 bytes",
            "property 'password': expected a text",
            "is it mounted? a = b",
            "at 2026-11-24 09:00:00: file:///b is a bearer of news",
            "password=",
            "password: \n",
            "a keyboard: x",
            "=:><",
            "",
        ] {
            assert!(
                matches!(mask_values(text), Cow::Borrowed(same) if same == text),
                "{text}"
            );
        }
    }
}
