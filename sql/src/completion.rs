//! Completion.
/// A candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Where the word that it replaces begins, in bytes.
    pub start: usize,
    /// The words to choose from.
    pub candidates: Vec<String>,
}
/// What may follow `text`.
pub fn complete(text: &str) -> Completion {
    Completion {
        start: text.len(),
        candidates: Vec::new(),
    }
}
