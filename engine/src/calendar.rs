//! Wall time as the text of a snapshot's timestamp. Pure arithmetic; the zone's offset comes from the clock seam.

/// `yyyy-MM-dd-HH-mm-ss-SSS` of `wall_ms` in a zone `offset_seconds` east of UTC.
pub(crate) fn snapshot_timestamp(wall_ms: u64, offset_seconds: i32) -> String {
    let local_ms = i128::from(wall_ms) + i128::from(offset_seconds) * 1000;
    let days = local_ms.div_euclid(86_400_000);
    let in_day = local_ms.rem_euclid(86_400_000);
    let (year, month, day) = civil_from_days(days);
    let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
    let (second, milli) = (in_day / 1000 % 60, in_day % 1000);
    format!("{year:04}-{month:02}-{day:02}-{hour:02}-{minute:02}-{second:02}-{milli:03}")
}

/// Days since 1970-01-01 as year, month and day of the proleptic Gregorian calendar. The year is counted from March,
/// so that the leap day is a year's last.
fn civil_from_days(days: i128) -> (i128, i128, i128) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i128::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_read_as_they_should() {
        assert_eq!(snapshot_timestamp(0, 0), "1970-01-01-00-00-00-000");
        assert_eq!(
            snapshot_timestamp(951_782_400_123, 0),
            "2000-02-29-00-00-00-123"
        );
        assert_eq!(
            snapshot_timestamp(1_767_225_599_999, 0),
            "2025-12-31-23-59-59-999"
        );
        assert_eq!(
            snapshot_timestamp(1_767_225_599_999, 3600),
            "2026-01-01-00-59-59-999"
        );
        assert_eq!(snapshot_timestamp(0, -3600), "1969-12-31-23-00-00-000");
    }
}
