//! A point in a journal as an operator names it: a sequence, or a time. Knows no journal.

use holdfast_engine::Clock as _;
use holdfast_journal::Seq;
use holdfast_sql::{Clock, WrittenTime};

use crate::host::SystemClock;

/// After which record: a sequence, or a wall time in ms since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// After this record.
    Seq(Seq),
    /// After the last record that bears this time or an earlier one: the last ms that a text covers.
    Time(u64),
}

impl Point {
    /// Digits are a sequence, all else is a time.
    ///
    /// # Errors
    /// What was found and what is expected.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let seq = text.parse().map_err(|_| {
                format!(
                    "found '{text}', expected a sequence of at most {}",
                    u64::MAX
                )
            })?;
            return Ok(Self::Seq(Seq(seq)));
        }
        match parse_end(text) {
            Ok(ms) => Ok(Self::Time(ms)),
            Err(error) => Err(format!("{error}, or a sequence such as 120")),
        }
    }
}

/// The first ms since 1970 of a time as people write it, which is in the zone of the environment
/// (`TZ`, else the system's) where it names none. Statements read times the same way.
///
/// # Errors
/// What was found and what is expected.
pub(crate) fn parse_time(text: &str) -> Result<u64, String> {
    resolve(text, WrittenTime::start_ms)
}

/// The last ms since 1970 that a time covers: of a whole second where it has no fraction, and of a
/// whole day where it is a date alone.
///
/// # Errors
/// What was found and what is expected.
pub(crate) fn parse_end(text: &str) -> Result<u64, String> {
    resolve(text, WrittenTime::end_ms)
}

fn resolve(text: &str, which: fn(&WrittenTime, &Clock<'_>) -> u64) -> Result<u64, String> {
    let time = WrittenTime::parse(text).map_err(|_| {
        format!(
            "found '{text}', expected a time from 1970 on, such as '2026-11-22 09:00:00' or \
             2026-11-22T09:00:00Z"
        )
    })?;
    let system = SystemClock::new();
    let offset = |at_ms: u64| system.utc_offset_seconds(at_ms);
    let clock = Clock {
        now_ms: 0,
        offset_seconds: &offset,
    };
    Ok(which(&time, &clock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_a_sequence_and_all_else_is_a_time() {
        assert_eq!(Point::parse("120"), Ok(Point::Seq(Seq(120))));
        let nine = 1_795_338_000_000;
        for text in [
            "2026-11-22T09:00:00Z",
            "2026-11-22T10:00:00+01:00",
            "2026-11-22 09:00:00.000Z",
        ] {
            assert_eq!(parse_time(text), Ok(nine), "{text}");
        }
        let second = Point::parse("2026-11-22T09:00:00Z");
        assert_eq!(second, Ok(Point::Time(nine + 999)), "the whole second");
        let exact = Point::parse("2026-11-22T09:00:00.000Z");
        assert_eq!(exact, Ok(Point::Time(nine)));
        assert_eq!(parse_time("2026-11-22T09:00:00.123Z"), Ok(nine + 123));
    }

    #[test]
    fn a_local_time_is_in_the_zone_of_the_environment() {
        let zoned = |text: &str| {
            let local: jiff::civil::DateTime = text.parse().unwrap();
            let zone = jiff::tz::TimeZone::system();
            local.to_zoned(zone).unwrap().timestamp()
        };
        for text in ["2026-11-22 09:00:00.250", "2026-11-22 09:00", "2026-11-22"] {
            let expected = u64::try_from(zoned(text).as_millisecond()).unwrap();
            assert_eq!(parse_time(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn the_end_of_time_is_a_time() {
        assert!(parse_time("9999-12-31").unwrap() > parse_time("9999-12-01").unwrap());
    }

    #[test]
    fn what_is_neither_is_refused_with_what_is_expected() {
        for text in ["", "-1", "yesterday", "2026-13-01", "1960-01-01T00:00:00Z"] {
            let error = Point::parse(text).unwrap_err();
            assert!(error.contains("expected a time"), "{text}: {error}");
        }
        assert!(Point::parse("99999999999999999999999").is_err());
    }
}
