//! `AS OF EVENT n` and `AS OF TIMESTAMP '…'`: an earlier moment that SHOW BACKUP and SHOW RESTORE are asked about.
//! Times as people write them, for statements and tools alike. Reads the text and turns a local time into
//! milliseconds; looks nothing up.

use sqlparser::tokenizer::Token;

use crate::cursor::Cursor;
use crate::error::{Code, SqlError};
use crate::show::Clock;

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 86_400_000;
const EXPECTED: &str = "expected 'yyyy-MM-dd HH:mm:ss' with or without .SSS, as SHOW prints times, or a time with a zone \
                        such as 2026-11-22T09:00:00Z";

/// An earlier moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsOf {
    /// Behind the record with this sequence.
    Event(u64),
    /// Behind the last record that is not later than this time.
    Timestamp(WrittenTime),
}

/// A time as people write it. It covers all that its text names: `2026-11-22` a day, `09:00` a minute, `09:00:00` a
/// second, `09:00:00.123` a millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenTime {
    /// Milliseconds from 1970-01-01 00:00:00 of the same clock.
    local_ms: u64,
    /// How many milliseconds the text covers.
    unit_ms: u64,
    /// The offset from UTC in seconds that it names; else it is in the zone in which times are shown.
    offset_seconds: Option<i32>,
}

impl WrittenTime {
    /// Reads `yyyy-MM-dd[{ |T}HH:mm[:ss[.S…]]]`, with `Z` or `±HH:mm` behind a time of day or without. Years are 1970
    /// to 9999, what is finer than a millisecond is left out.
    ///
    /// # Errors
    /// `BAD_TIMESTAMP` with the text and the form expected.
    pub fn parse(text: &str) -> Result<Self, SqlError> {
        read(text.trim()).ok_or_else(|| {
            let text = format!("'{}' is no timestamp, {EXPECTED}", text.escape_debug());
            SqlError::new(Code::BadTimestamp, text)
        })
    }

    /// The last millisecond since the epoch that the text covers. SHOW prints whole seconds: so what it shows is in the
    /// answer for the time that it prints.
    pub fn end_ms(&self, clock: &Clock<'_>) -> u64 {
        // A day of a change of the clocks is longer or shorter.
        let end = match self.unit_ms {
            DAY_MS => self.resolve(self.local_ms + DAY_MS, clock),
            shorter => self.start_ms(clock).saturating_add(shorter),
        };
        end.saturating_sub(1)
    }

    /// The first millisecond since the epoch that the text covers. In the hour that clocks have twice it is the earlier
    /// one; in the hour that they leave out it is as far behind the change as the text says.
    pub fn start_ms(&self, clock: &Clock<'_>) -> u64 {
        self.resolve(self.local_ms, clock)
    }

    fn resolve(&self, local_ms: u64, clock: &Clock<'_>) -> u64 {
        if let Some(offset) = self.offset_seconds {
            return shifted(local_ms, offset);
        }
        // No zone changes its clocks twice within two days.
        let before = (clock.offset_seconds)(local_ms.saturating_sub(DAY_MS));
        let after = (clock.offset_seconds)(local_ms.saturating_add(DAY_MS));
        let of = |offset| {
            let at = shifted(local_ms, offset);
            ((clock.offset_seconds)(at) == offset).then_some(at)
        };
        match (of(before), of(after)) {
            (Some(one), Some(other)) => one.min(other),
            (Some(at), None) | (None, Some(at)) => at,
            (None, None) => shifted(local_ms, before),
        }
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

fn read(text: &str) -> Option<WrittenTime> {
    let (date, time) = match text.split_once([' ', 'T']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let real = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day);
    if !real {
        return None;
    }
    let midnight_ms = days_since_1970(year, month, day) * DAY_MS;
    let Some(time) = time else {
        return Some(WrittenTime {
            local_ms: midnight_ms,
            unit_ms: DAY_MS,
            offset_seconds: None,
        });
    };
    let (time, offset_seconds) = zone(time)?;
    let (ms, unit_ms) = time_of_day(time)?;
    Some(WrittenTime {
        local_ms: midnight_ms + ms,
        unit_ms,
        offset_seconds,
    })
}

/// The time of day without the zone behind it, and the zone's offset in seconds.
fn zone(time: &str) -> Option<(&str, Option<i32>)> {
    if let Some(time) = time.strip_suffix(['Z', 'z']) {
        return Some((time, Some(0)));
    }
    let Some(at) = time.find(['+', '-']) else {
        return Some((time, None));
    };
    let [hours, minutes] = numbers(&time[at + 1..], ':', [2, 2])?;
    let seconds = i32::try_from(hours * 3_600 + minutes * 60).ok()?;
    let offset = if time[at..].starts_with('-') {
        -seconds
    } else {
        seconds
    };
    (hours < 24 && minutes < 60).then_some((&time[..at], Some(offset)))
}

/// Milliseconds since midnight, and how many the text covers.
fn time_of_day(time: &str) -> Option<(u64, u64)> {
    let (whole, fraction) = match time.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (time, None),
    };
    let ([hour, minute, second], unit_ms) = match (numbers(whole, ':', [2, 2, 2]), fraction) {
        (Some(found), _) => (found, SECOND_MS),
        (None, None) => {
            let [hour, minute] = numbers(whole, ':', [2, 2])?;
            ([hour, minute, 0], MINUTE_MS)
        }
        (None, Some(_)) => return None,
    };
    let (fraction_ms, unit_ms) = match fraction {
        Some(digits) => milliseconds(digits)?,
        None => (0, unit_ms),
    };
    let ms = (hour * 3_600 + minute * 60 + second) * SECOND_MS + fraction_ms;
    (hour < 24 && minute < 60 && second < 60).then_some((ms, unit_ms))
}

/// A fraction of a second of up to nine digits, and how many milliseconds it covers.
fn milliseconds(digits: &str) -> Option<(u64, u64)> {
    let good = (1..=9).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let shown = digits.get(..digits.len().min(3))?;
    let unit_ms = [100, 10, 1].get(shown.len().checked_sub(1)?)?;
    let number: u64 = shown.parse().ok()?;
    good.then_some((number * unit_ms, *unit_ms))
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
        return WrittenTime::parse(&text).map(|time| Some(AsOf::Timestamp(time)));
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
        WrittenTime::parse(text).unwrap().start_ms(&clock)
    }

    #[test]
    fn what_show_prints_is_read_back_on_any_day() {
        let clock = Clock {
            now_ms: 0,
            offset_seconds: &|_| -5 * 3600,
        };
        for day in 0..60_000 {
            let at = day * DAY_MS + 18_000_000 + (day * 7_919 % 86_400) * SECOND_MS;
            let time = WrittenTime::parse(&clock.time(at)).unwrap();
            assert_eq!(time.start_ms(&clock), at, "{}", clock.time(at));
        }
    }

    #[test]
    fn a_time_covers_all_that_its_text_names() {
        let clock = Clock {
            now_ms: 0,
            offset_seconds: &|_| 3_600,
        };
        for (text, start, end) in [
            ("1970-01-02 01:00:01", 86_401_000, 86_401_999),
            ("1970-01-02 01:00:01.250", 86_401_250, 86_401_250),
            ("1970-01-02 01:00:01.2", 86_401_200, 86_401_299),
            ("1970-01-02 01:00:01.250999999", 86_401_250, 86_401_250),
            ("1970-01-02T01:00", 86_400_000, 86_459_999),
            ("1970-01-02", 82_800_000, 169_199_999),
            ("1970-01-02T00:00:01Z", 86_401_000, 86_401_999),
            ("1970-01-02 00:00:01.5z", 86_401_500, 86_401_599),
            ("1970-01-01T19:00:01-05:00", 86_401_000, 86_401_999),
            ("1970-01-02 02:00:01+02:00", 86_401_000, 86_401_999),
        ] {
            let time = WrittenTime::parse(text).unwrap();
            assert_eq!(
                (time.start_ms(&clock), time.end_ms(&clock)),
                (start, end),
                "{text}"
            );
        }
    }

    #[test]
    fn an_hour_that_clocks_have_twice_is_the_earlier_and_one_left_out_lies_behind_the_change() {
        const HOUR: u64 = 3_600_000;
        let clock = |zone| Clock {
            now_ms: 0,
            offset_seconds: zone,
        };
        // At 01:00 UTC of the third day clocks go back from +2 to +1.
        let back = |at: u64| if at < 49 * HOUR { 7_200 } else { 3_600 };
        let parse = |text: &str| WrittenTime::parse(text).unwrap();
        for (text, start, end) in [
            ("1970-01-03 01:59:59", 48 * HOUR - 1_000, 48 * HOUR - 1),
            ("1970-01-03 02:00:00", 48 * HOUR, 48 * HOUR + 999),
            ("1970-01-03 02:59:59", 49 * HOUR - 1_000, 49 * HOUR - 1),
            ("1970-01-03 03:00:00", 50 * HOUR, 50 * HOUR + 999),
            // A day of 25 hours.
            ("1970-01-03", 46 * HOUR, 71 * HOUR - 1),
        ] {
            let time = parse(text);
            let clock = clock(&back);
            assert_eq!(
                (time.start_ms(&clock), time.end_ms(&clock)),
                (start, end),
                "{text}"
            );
        }
        // At 01:00 UTC clocks go on from +1 to +2: there is no 02:30.
        let on = |at: u64| if at < 49 * HOUR { 3_600 } else { 7_200 };
        let half = parse("1970-01-03 02:30:00").start_ms(&clock(&on));
        assert_eq!(half, 49 * HOUR + HOUR / 2);
        assert_eq!(clock(&on).time(half), "1970-01-03 03:30:00");
    }

    #[test]
    fn a_change_of_the_clocks_is_followed() {
        // Summer time, an hour more, from that ms on.
        let zone = |at: u64| if at < 10_000_000 { 3_600 } else { 7_200 };
        let clock = Clock {
            now_ms: 0,
            offset_seconds: &zone,
        };
        for at in [0, 9_999_000, 10_000_000, 17_200_000] {
            let time = WrittenTime::parse(&clock.time(at)).unwrap();
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
            "2024-01-01 00",
            "2024-01-01 00:00.5",
            "2024-01-01 00:00:00.",
            "2024-01-01 00:00:00.1234567890",
            "2024-01-01 00:00:00.é",
            "2024-01-01 00:00:00+1:00",
            "2024-01-01 00:00:00+24:00",
            "2024-01-01Z",
            "1969-12-31 23:59:59",
            "+024-01-01 00:00:00",
        ] {
            let error = WrittenTime::parse(text).unwrap_err();
            assert_eq!(error.symbol, "BAD_TIMESTAMP", "{text}");
        }
    }
}
