//! Medians, and the table that a measurement prints.

use std::fmt::Write as _;
use std::time::Duration;

/// What one contender took, round by round.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// Adds a round.
    pub fn add(&mut self, took: Duration) {
        self.0.push(took);
    }

    /// How many rounds there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The middle round in seconds; of an even number the mean of the middle two; 0 of none.
    #[must_use]
    pub fn median(&self) -> f64 {
        median(self.0.iter().map(Duration::as_secs_f64).collect())
    }

    /// The median over the rounds of this contender's time divided by the other's in the same
    /// round.
    #[must_use]
    pub fn ratio_to(&self, other: &Self) -> f64 {
        let pairs = self.0.iter().zip(&other.0);
        median(
            pairs
                .map(|(a, b)| a.as_secs_f64() / b.as_secs_f64().max(1e-9))
                .collect(),
        )
    }

    /// The fastest and the slowest round in seconds.
    #[must_use]
    pub fn range(&self) -> (f64, f64) {
        let seconds = self.0.iter().map(Duration::as_secs_f64);
        (
            seconds.clone().fold(f64::INFINITY, f64::min),
            seconds.fold(0.0, f64::max),
        )
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match (values.len(), values.len() / 2) {
        (0, _) => 0.0,
        (n, half) if n % 2 == 1 => values[half],
        (_, half) => f64::midpoint(values[half - 1], values[half]),
    }
}

/// A table as Markdown, so that a result can be kept as it is.
#[derive(Clone, Debug)]
pub struct Table {
    title: String,
    columns: usize,
    text: String,
}

impl Table {
    /// An empty table under a title that names machine and input.
    #[must_use]
    pub fn new(title: &str, columns: &[&str]) -> Self {
        let mut text = String::new();
        let _ = writeln!(text, "| {} |", columns.join(" | "));
        let _ = writeln!(text, "|{}", "---|".repeat(columns.len()));
        Self {
            title: title.to_owned(),
            columns: columns.len(),
            text,
        }
    }

    /// Adds a row of as many cells as there are columns.
    pub fn row(&mut self, cells: &[String]) {
        assert_eq!(
            cells.len(),
            self.columns,
            "a row has a cell for each column"
        );
        let _ = writeln!(self.text, "| {} |", cells.join(" | "));
    }

    /// Prints it.
    pub fn print(&self) {
        println!("\n{}\n\n{}", self.title, self.text);
    }

    /// The rows as Markdown.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Seconds in a unit that reads well.
#[must_use]
pub fn seconds(value: f64) -> String {
    if value >= 1.0 {
        format!("{value:.2} s")
    } else if value >= 0.001 {
        format!("{:.1} ms", value * 1e3)
    } else {
        format!("{:.1} µs", value * 1e6)
    }
}

/// A count a second in a unit that reads well.
#[must_use]
pub fn rate(count: u64, seconds: f64) -> String {
    let value = count as f64 / seconds.max(1e-9);
    if value >= 1e6 {
        format!("{:.2} M/s", value / 1e6)
    } else if value >= 1e4 {
        format!("{:.0} k/s", value / 1e3)
    } else if value >= 1e3 {
        format!("{:.1} k/s", value / 1e3)
    } else {
        format!("{value:.0} /s")
    }
}

/// A ratio.
#[must_use]
pub fn times(value: f64) -> String {
    format!("{value:.2} ×")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_and_a_ratio_is_of_the_same_round() {
        let (mut a, mut b) = (Samples::default(), Samples::default());
        for (x, y) in [(1, 2), (8, 4), (30, 10)] {
            a.add(Duration::from_secs(x));
            b.add(Duration::from_secs(y));
        }
        assert!((a.median() - 8.0).abs() < 1e-9);
        assert!((a.ratio_to(&b) - 2.0).abs() < 1e-9);
        assert_eq!(a.range(), (1.0, 30.0));
    }

    #[test]
    fn units_read_well() {
        assert_eq!(seconds(0.0123), "12.3 ms");
        assert_eq!(rate(2_000_000, 1.0), "2.00 M/s");
        assert_eq!(rate(500, 1.0), "500 /s");
    }
}
