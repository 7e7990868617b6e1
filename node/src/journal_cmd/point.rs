//! A point in a journal as an operator names it: a sequence, or a time. Knows no journal.

use holdfast_journal::Seq;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// After which record: a sequence, or a wall time in ms since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// After this record.
    Seq(Seq),
    /// After the last record that bears this time or an earlier one.
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
        match parse_time(text) {
            Ok(ms) => Ok(Self::Time(ms)),
            Err(error) => Err(format!("{error}, or a sequence such as 120")),
        }
    }
}

/// A time in ms since 1970: RFC 3339, or `yyyy-MM-dd [HH:mm[:ss[.SSS]]]` in the zone of the
/// environment (`TZ`, else the system's). Where clocks were put back, the earlier of the two.
///
/// # Errors
/// What was found and what is expected.
pub(crate) fn parse_time(text: &str) -> Result<u64, String> {
    let zoned = |local: DateTime| {
        let at = local.to_zoned(TimeZone::system());
        let at = at.map(|at: Zoned| at.timestamp());
        // The last day of all reaches behind the last timestamp, in some zone.
        at.or_else(|error| match local.year() {
            9999 => Ok(Timestamp::MAX),
            _ => Err(error),
        })
    };
    let parsed = text
        .parse::<Timestamp>()
        .or_else(|_| text.parse::<DateTime>().and_then(zoned));
    let ms = parsed.ok().map(Timestamp::as_millisecond);
    ms.and_then(|ms| u64::try_from(ms).ok()).ok_or_else(|| {
        format!(
            "found '{text}', expected a time from 1970 on, such as '2026-11-22 09:00:00' or \
             2026-11-22T09:00:00Z"
        )
    })
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
            assert_eq!(Point::parse(text), Ok(Point::Time(nine)), "{text}");
        }
        assert_eq!(parse_time("2026-11-22T09:00:00.123Z"), Ok(nine + 123));
    }

    #[test]
    fn a_local_time_is_in_the_zone_of_the_environment() {
        let zoned = |text: &str| {
            let local: DateTime = text.parse().unwrap();
            local.to_zoned(TimeZone::system()).unwrap().timestamp()
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
