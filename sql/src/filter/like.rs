//! LIKE: `%` stands for any text, `_` for one character, an escape takes the next character as it
//! is.

/// A pattern ready to match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Vec<Step>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Any,
    One,
    Exactly(char),
}

impl Pattern {
    /// The pattern of `text`; `escape` = `None` gives no character a special meaning but `%` and
    /// `_`.
    pub fn new(text: &str, escape: Option<char>) -> Self {
        let mut steps = Vec::new();
        let mut chars = text.chars();
        while let Some(ch) = chars.next() {
            let step = match ch {
                _ if Some(ch) == escape => match chars.next() {
                    Some(next) => Step::Exactly(next),
                    // An escape at the end stands for itself.
                    None => Step::Exactly(ch),
                },
                '%' => Step::Any,
                '_' => Step::One,
                _ => Step::Exactly(ch),
            };
            if step != Step::Any || steps.last() != Some(&Step::Any) {
                steps.push(step);
            }
        }
        Self(steps)
    }

    /// Whether the whole of `text` matches. Letters differ by case.
    pub fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut step, mut at) = (0, 0);
        // Where to go on after the last `%`: it takes one character more each time the rest does
        // not fit.
        let mut retry: Option<(usize, usize)> = None;
        while at < text.len() {
            match self.0.get(step) {
                Some(Step::Any) => {
                    retry = Some((step + 1, at));
                    step += 1;
                    continue;
                }
                Some(Step::One) => {
                    (step, at) = (step + 1, at + 1);
                    continue;
                }
                Some(Step::Exactly(ch)) if *ch == text[at] => {
                    (step, at) = (step + 1, at + 1);
                    continue;
                }
                _ => {}
            }
            match retry {
                Some((after, taken)) => {
                    (step, at) = (after, taken + 1);
                    retry = Some((after, taken + 1));
                }
                None => return false,
            }
        }
        self.0[step..].iter().all(|rest| *rest == Step::Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn like(pattern: &str, text: &str) -> bool {
        Pattern::new(pattern, Some('\\')).matches(text)
    }

    #[test]
    fn wildcards_match_as_in_sql() {
        assert!(like("%", "") && like("", "") && !like("", "a") && !like("_", ""));
        assert!(like("a%c", "abbbc") && like("a%c", "ac") && !like("a%c", "acd"));
        assert!(like("%b%c", "abbxc") && like("_é_", "aéb") && !like("__", "a"));
        assert!(like("%ab%ab", "abxabyab") && !like("%ab%ab", "ab"));
        assert!(!like("A", "a"));
    }

    #[test]
    fn an_escape_takes_the_next_character_as_it_is() {
        assert!(like("50\\%", "50%") && !like("50\\%", "500"));
        assert!(like("a\\_b", "a_b") && !like("a\\_b", "axb"));
        assert!(like("a\\", "a\\"));
        assert!(Pattern::new("a|%", Some('|')).matches("a%"));
        assert!(Pattern::new("a\\%", None).matches("a\\xyz"));
    }

    #[test]
    fn a_hostile_pattern_costs_no_more_than_its_product() {
        let text = "a".repeat(5_000);
        assert!(!like(
            &"%a"
                .repeat(200)
                .to_string()
                .replace("%a", "%a%")
                .to_string()
                .replace('%', "%_"),
            "b"
        ));
        assert!(!like(&format!("{}b", "a%".repeat(500)), &text));
    }
}
