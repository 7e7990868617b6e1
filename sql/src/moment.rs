//! `AS OF EVENT n` and `AS OF TIMESTAMP '…'`: an earlier moment that SHOW BACKUP and SHOW RESTORE are asked about.
//! Reads the text and turns a local time into milliseconds; looks nothing up.

use sqlparser::tokenizer::Token;

use crate::cursor::Cursor;
use crate::error::{Code, SqlError};
use crate::show::Clock;

const SECOND_MS: u64 = 1_000;
const DAY_MS: u64 = 86_400_000;
const EXPECTED: &str = "expected 'yyyy-MM-dd HH:mm:ss' with or without .SSS, as SHOW prints times";

/// An earlier moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsOf {
    /// Behind the record with this sequence.
    Event(u64),
    /// Behind the last record that is not later than this time.
    Timestamp(LocalTime),
}

/// A time of day in the zone in which times are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// Milliseconds from 1970-01-01 00:00:00 of the same clock.
    local_ms: u64,
    /// How many milliseconds the text leaves open: 1000 where it names a second.
    unit_ms: u64,
}

impl LocalTime {
    /// Reads `yyyy-MM-dd HH:mm:ss[.SSS]`.
    ///
    /// # Errors
    /// `BAD_TIMESTAMP` with the text and the form expected.
    pub fn parse(text: &str) -> Result<Self, SqlError> {
        read(text).ok_or_else(|| {
            let text = format!("'{}' is no timestamp, {EXPECTED}", text.escape_debug());
            SqlError::new(Code::BadTimestamp, text)
        })
    }

    /// The last millisecond since the epoch that the text covers. SHOW prints whole seconds, so that a time without
    /// a fraction covers its whole second: what SHOW prints is then in the answer for the time that it prints.
    pub fn end_ms(&self, clock: &Clock<'_>) -> u64 {
        self.start_ms(clock).saturating_add(self.unit_ms - 1)
    }

    /// The first millisecond since the epoch that the text covers.
    pub fn start_ms(&self, clock: &Clock<'_>) -> u64 {
        // The offset holds at a moment in UTC, which is what is sought: the second guess is right but for the hour
        // that a change of the clocks leaves out or has twice.
        let guess = shifted(self.local_ms, (clock.offset_seconds)(self.local_ms));
        shifted(self.local_ms, (clock.offset_seconds)(guess))
    }
}

fn shifted(local_ms: u64, offset_seconds: i32) -> u64 {
    let offset_ms = u64::from(offset_seconds.unsigned_abs()) * SECOND_MS;
    if offset_seconds < 0 {
        local_ms.saturating_add(offset_ms)
    } else {
        local_ms.saturating_sub(offset_ms)
    }
}

fn read(text: &str) -> Option<LocalTime> {
    let text = text.trim();
    let (date, time) = text.split_once([' ', 'T'])?;
    let (time, fraction) = match time.split_once('.') {
        Some((time, fraction)) => (time, Some(fraction)),
        None => (time, None),
    };
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let fraction_ms = match fraction {
        Some(digits) => numbers(digits, '.', [3])?[0],
        None => 0,
    };
    let real = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    real.then(|| LocalTime {
        local_ms: days_since_1970(year, month, day) * DAY_MS
            + (hour * 3600 + minute * 60 + second) * SECOND_MS
            + fraction_ms,
        unit_ms: if fraction.is_some() { 1 } else { SECOND_MS },
    })
}

/// Numbers of exactly so many digits each.
fn numbers<const N: usize>(text: &str, between: char, digits: [usize; N]) -> Option<[u64; N]> {
    let mut parts = text.split(between);
    let mut found = [0; N];
    for (number, digits) in found.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != digits || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(found)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of(year: u64, month: u64) -> u64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    let years = (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969);
    let months: u64 = (1..month).map(|month| days_of(year, month)).sum();
    years + months + day - 1
}

/// `[AS OF {EVENT n | TIMESTAMP '…'}]`
pub(crate) fn as_of(cursor: &mut Cursor<'_>) -> Result<Option<AsOf>, SqlError> {
    if !cursor.eat("AS") {
        return Ok(None);
    }
    cursor.expect("OF")?;
    if cursor.eat("EVENT") {
        let seq = cursor.integer("the sequence of an event")?;
        return Ok(Some(AsOf::Event(seq)));
    }
    if cursor.eat("TIMESTAMP") {
        let quoted = matches!(
            cursor.peek(),
            Some(Token::SingleQuotedString(_) | Token::DoubleQuotedString(_))
        );
        if !quoted {
            return Err(cursor.unexpected("a timestamp between quotes"));
        }
        let text = cursor.string("a timestamp")?;
        return LocalTime::parse(&text).map(|time| Some(AsOf::Timestamp(time)));
    }
    Err(cursor.unexpected("EVENT or TIMESTAMP"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc_ms(text: &str) -> u64 {
        let clock = Clock {
            now_ms: 0,
            offset_seconds: &|_| 0,
        };
        LocalTime::parse(text).unwrap().start_ms(&clock)
    }

    #[test]
    fn what_show_prints_is_read_back_on_any_day() {
        let clock = Clock {
            now_ms: 0,
            offset_seconds: &|_| -5 * 3600,
        };
        for day in 0..60_000 {
            let at = day * DAY_MS + 18_000_000 + (day * 7_919 % 86_400) * SECOND_MS;
            let time = LocalTime::parse(&clock.time(at)).unwrap();
            assert_eq!(time.start_ms(&clock), at, "{}", clock.time(at));
        }
    }

    #[test]
    fn a_time_without_a_fraction_covers_its_second() {
        let clock = Clock {
            now_ms: 0,
            offset_seconds: &|_| 0,
        };
        let end = |text| LocalTime::parse(text).unwrap().end_ms(&clock);
        assert_eq!(end("1970-01-01 00:00:01"), 1_999);
        assert_eq!(end("1970-01-01 00:00:01.250"), 1_250);
    }

    #[test]
    fn a_change_of_the_clocks_is_followed() {
        // Summer time, an hour more, from ms 10 000 000 on.
        let zone = |at: u64| if at < 10_000_000 { 3_600 } else { 7_200 };
        let clock = Clock {
            now_ms: 0,
            offset_seconds: &zone,
        };
        for at in [0, 9_999_000, 10_000_000, 17_200_000] {
            let time = LocalTime::parse(&clock.time(at)).unwrap();
            assert_eq!(time.start_ms(&clock), at);
        }
    }

    #[test]
    fn days_that_are_none_are_refused() {
        assert_eq!(utc_ms("2024-02-29 00:00:00"), 1_709_164_800_000);
        for text in [
            "",
            "2024-02-30 00:00:00",
            "2023-02-29 00:00:00",
            "2024-13-01 00:00:00",
            "2024-01-00 00:00:00",
            "2024-01-01 24:00:00",
            "2024-01-01 00:60:00",
            "2024-1-1 00:00:00",
            "2024-01-01",
            "2024-01-01 00:00",
            "2024-01-01 00:00:00.5",
            "2024-01-01 00:00:00Z",
            "1969-12-31 23:59:59",
            "+024-01-01 00:00:00",
        ] {
            let error = LocalTime::parse(text).unwrap_err();
            assert_eq!(error.symbol, "BAD_TIMESTAMP", "{text}");
        }
    }
}
