//! The bodies of the fuzz targets. Each takes any bytes, does with them all that the product would
//! do, and asserts more than that nothing panics. `tests/fuzz` runs them under libFuzzer, and
//! `tests/tests/corpus.rs` runs them over the committed corpus with the stable compiler.

mod archive;
mod checkpoint;
mod event;
mod frame;
mod manifest;
pub mod seeds;
pub mod sql;

pub use archive::archive;
pub use checkpoint::checkpoint;
pub use event::event;
pub use frame::frame;
pub use manifest::manifest;

/// A fuzz target: its name, which is also that of its corpus, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("frame", frame),
    ("event", event),
    ("checkpoint", checkpoint),
    ("archive", archive),
    ("manifest", manifest),
    ("sql", sql::bytes),
];

/// Takes fields off the front of an input; what is missing counts as zero.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    fn u16(&mut self) -> u16 {
        let taken = self.take(2);
        u16::from_le_bytes([
            taken.first().copied().unwrap_or(0),
            taken.get(1).copied().unwrap_or(0),
        ])
    }

    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
