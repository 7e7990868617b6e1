//! How large the inputs are and how often each measurement is made.

/// Sizes of all measurements. The environment may change the full ones: `HOLDFAST_BENCH_BYTES`,
/// `HOLDFAST_BENCH_FILES`, `HOLDFAST_BENCH_EVENTS` and `HOLDFAST_BENCH_ROUNDS`.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Bytes of the tree of big files.
    pub big_bytes: u64,
    /// Bytes of each of its files.
    pub big_file_bytes: u64,
    /// Files of the tree of small files.
    pub small_files: u64,
    /// Bytes of each of them.
    pub small_file_bytes: u64,
    /// Events in the log that is replayed.
    pub events: u64,
    /// How often a whole job is measured.
    pub rounds: usize,
    /// Appends by each caller in one round.
    pub appends: usize,
}

impl Scale {
    /// The sizes that the figures in `docs/performance.md` are of.
    #[must_use]
    pub fn full() -> Self {
        Self {
            big_bytes: from_environment("BYTES", 1 << 30),
            big_file_bytes: 64 << 20,
            small_files: from_environment("FILES", 20_000),
            small_file_bytes: 4096,
            events: from_environment("EVENTS", 200_000),
            rounds: usize::try_from(from_environment("ROUNDS", 5)).unwrap_or(5),
            appends: 64,
        }
    }

    /// Sizes at which everything takes a few seconds and shows only that it works.
    #[must_use]
    pub fn tiny() -> Self {
        Self {
            big_bytes: 3 << 20,
            big_file_bytes: 1 << 20,
            small_files: 40,
            small_file_bytes: 4096,
            events: 2_000,
            rounds: 1,
            appends: 3,
        }
    }

    /// The full sizes where `cargo bench` runs the program, the tiny ones otherwise.
    #[must_use]
    pub fn of_this_run() -> Self {
        if std::env::args().any(|argument| argument == "--bench") {
            Self::full()
        } else {
            Self::tiny()
        }
    }
}

fn from_environment(name: &str, default: u64) -> u64 {
    let name = format!("HOLDFAST_BENCH_{name}");
    match std::env::var(&name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|e| panic!("{name} is '{text}', expected a number: {e}")),
        Err(_) => default,
    }
}
