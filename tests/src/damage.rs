//! Damage to files, case by case: which cases there are, how a file is damaged, how cases are run
//! and counted. What a case must come to is the tests' own business.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::dice::Dice;

/// Files up to this length are damaged at every byte in a full run.
const SMALL: u64 = 32 << 10;
/// So many bytes are zeroed.
const ZEROED: u64 = 16;

/// What is done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Delete,
    /// Cut to so many bytes.
    Truncate(u64),
    /// Sixteen bytes from there become zero.
    Zero(u64),
    /// This bit of this byte is turned over.
    Flip(u64, u8),
}

impl Action {
    fn word(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Truncate(_) => "truncate",
            Self::Zero(_) => "zero",
            Self::Flip(..) => "flip",
        }
    }

    /// The damaged bytes; `None` where there is no file any more.
    fn applied(self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = bytes.to_vec();
        let at = |offset: u64| usize::try_from(offset).unwrap();
        match self {
            Self::Delete => return None,
            Self::Truncate(len) => bytes.truncate(at(len)),
            Self::Zero(from) => {
                let end = bytes.len().min(at(from + ZEROED));
                bytes[at(from)..end].fill(0);
            }
            Self::Flip(offset, bit) => bytes[at(offset)] ^= 1 << bit,
        }
        Some(bytes)
    }
}

/// One file and what is done to it.
#[derive(Clone, Debug)]
pub struct Case {
    /// The row of the table.
    pub place: &'static str,
    /// Relative to the root of a copy.
    pub file: PathBuf,
    pub action: Action,
    /// Counts over all cases of a run.
    pub number: usize,
}

impl Case {
    /// Damages the file below `root`, and gives its bytes from before. Other names of the file keep
    /// what they had.
    pub fn damage(&self, root: &Path) -> Vec<u8> {
        let path = root.join(&self.file);
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        if let Some(damaged) = self.action.applied(&bytes) {
            assert_ne!(damaged, bytes, "no damage");
            fs::write(&path, damaged).unwrap();
        }
        bytes
    }

    /// Puts a file back as it was.
    pub fn repair(&self, root: &Path, bytes: &[u8]) {
        let path = root.join(&self.file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&path);
        fs::write(path, bytes).unwrap();
    }

    /// The file's last name.
    pub fn name(&self) -> String {
        self.file
            .file_name()
            .unwrap()
            .to_string_lossy()
            .into_owned()
    }
}

/// Survived and refused cases by place and action.
type Counts<'a> = BTreeMap<(&'a str, &'static str), (u64, u64)>;

/// How a case ended well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is right.
    Survived,
    /// Nothing wrong was served; these words told of it.
    Refused(String),
}

/// Whether every byte is wanted.
pub fn is_full() -> bool {
    std::env::var("HOLDFAST_DAMAGE").is_ok_and(|value| value == "full")
}

/// The cases for one file: deleted, and the other actions at `sample` offsets each; in a full run at
/// every byte of a small file and at sixteen times as many offsets of a large one.
pub fn cases(root: &Path, place: &'static str, file: &Path, sample: u64) -> Vec<Case> {
    let bytes = fs::read(root.join(file)).unwrap();
    let len = bytes.len() as u64;
    let seed = file.as_os_str().as_encoded_bytes();
    let mut dice = Dice::new(seed.iter().map(|byte| u64::from(*byte)).sum());
    let mut actions = vec![Action::Delete];
    let every = is_full() && len <= SMALL;
    let count = match (every, is_full()) {
        (true, _) => len,
        (false, true) => sample * 16,
        (false, false) => sample.min(len),
    };
    for n in 0..count {
        let mut at = || match (every, n) {
            (true, _) => n,
            (false, 0) if count > 1 => 0,
            (false, 1) => len - 1,
            _ => dice.below(len),
        };
        actions.extend([Action::Truncate(at()), Action::Zero(at())]);
        let at = at();
        actions.push(Action::Flip(at, u8::try_from(dice.below(8)).unwrap()));
    }
    // What is zero already is not damaged by zeros.
    actions.retain(|action| action.applied(&bytes).as_ref() != Some(&bytes));
    let case = |action| Case {
        place,
        file: file.to_owned(),
        action,
        number: 0,
    };
    actions.into_iter().map(case).collect()
}

/// Runs all cases on so many threads, each with a worker of its own (made anew after a failure), prints
/// the table, and fails where a case failed. A case fails by a panic, by a refusal that speaks of
/// one, and by a refusal that contains none of the words that `names` gives for it.
pub fn sweep<W>(
    (title, threads): (&str, usize),
    mut cases: Vec<Case>,
    worker: impl Fn() -> W + Sync,
    run: impl Fn(&mut W, &Case) -> Outcome + Sync,
    names: impl Fn(&Case) -> Vec<String> + Sync,
) {
    for (number, case) in cases.iter_mut().enumerate() {
        case.number = number;
    }
    let counts: Mutex<Counts<'_>> = Mutex::default();
    let failures: Mutex<Vec<String>> = Mutex::default();
    let next = AtomicUsize::new(0);
    let one = || {
        let mut made = None;
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let ended = catch_unwind(AssertUnwindSafe(|| {
                run(made.get_or_insert_with(&worker), case)
            }));
            let mut counts = counts.lock();
            let count = counts.entry((case.place, case.action.word())).or_default();
            let failure = match ended {
                Ok(Outcome::Survived) => {
                    count.0 += 1;
                    None
                }
                Ok(Outcome::Refused(words)) => {
                    count.1 += 1;
                    let named = names(case).iter().any(|name| words.contains(name));
                    let panicked = words.contains("panicked");
                    (!named || panicked).then(|| format!("does not name it: {words}"))
                }
                Err(panic) => {
                    made = None;
                    Some(said(&*panic))
                }
            };
            if let Some(failure) = failure {
                let text = format!(
                    "{} {:?} {:?}: {failure}",
                    case.place, case.file, case.action
                );
                failures.lock().push(text);
            }
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(one)).collect();
        one();
        for other in others {
            other.join().unwrap();
        }
    });
    println!("{}", table(title, &counts.into_inner()));
    let failures = failures.into_inner();
    let count = failures.len();
    let shown: Vec<_> = failures.into_iter().take(40).collect();
    assert!(count == 0, "{count} cases failed:\n{}", shown.join("\n"));
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "a panic without words".to_owned())
}

fn table(title: &str, counts: &Counts<'_>) -> String {
    let actions = ["delete", "truncate", "zero", "flip"];
    let mut text = format!(
        "\n{title}: survived/refused\n| place | {} |",
        actions.join(" | ")
    );
    let places: std::collections::BTreeSet<_> = counts.keys().map(|key| key.0).collect();
    for place in places {
        write!(text, "\n| {place} |").unwrap();
        for action in actions {
            let (survived, refused) = counts.get(&(place, action)).copied().unwrap_or_default();
            write!(text, " {survived}/{refused} |").unwrap();
        }
    }
    text
}
