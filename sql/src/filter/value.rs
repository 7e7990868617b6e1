//! How two texts of a result compare: as numbers where both are numbers, else as texts.

use std::cmp::Ordering;

/// A text that is a number.
#[derive(Clone, Copy, Debug)]
enum Number {
    Whole(i128),
    Real(f64),
}

impl Number {
    fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let fine = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
            && digits
                .bytes()
                .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
        if !fine {
            return None;
        }
        if let Ok(whole) = text.parse() {
            return Some(Self::Whole(whole));
        }
        text.parse::<f64>()
            .ok()
            .filter(|real| real.is_finite())
            .map(Self::Real)
    }

    fn real(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Real(real) => real,
        }
    }

    fn compare(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => a.cmp(&b),
            _ => self.real().total_cmp(&other.real()),
        }
    }
}

/// Compares as numbers where both are numbers, else as texts.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    match (Number::parse(a), Number::parse(b)) {
        (Some(a), Some(b)) => a.compare(b),
        _ => a.cmp(b),
    }
}

/// The order of ORDER BY, a total one: NULL, then numbers by value, then texts.
pub(super) fn order(a: Option<&str>, b: Option<&str>) -> Ordering {
    let (Some(a), Some(b)) = (a, b) else {
        return a.is_some().cmp(&b.is_some());
    };
    match (Number::parse(a), Number::parse(b)) {
        // Reals stand for both: wholes and reals in one column must not order in two ways.
        (Some(Number::Whole(x)), Some(Number::Whole(y))) => x.cmp(&y),
        (Some(x), Some(y)) => x.real().total_cmp(&y.real()),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}
