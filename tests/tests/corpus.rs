//! The corpus of the fuzz targets, run through the same functions by the stable compiler.
//!
//! `HOLDFAST_WRITE_CORPUS=<folder>` writes the seeds below that folder, one folder a target.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::path::{Path, PathBuf};

use holdfast_tests::fuzzing::{TARGETS, seeds};

fn corpus(target: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    folder.join(target)
}

#[test]
fn every_seed_is_taken() {
    let to = std::env::var_os("HOLDFAST_WRITE_CORPUS").map(PathBuf::from);
    let all = seeds::all();
    for (name, body) in TARGETS {
        let mine = all.iter().filter(|(target, ..)| target == name);
        assert!(mine.clone().count() > 5, "{name} has too few seeds");
        for (_, seed, bytes) in mine {
            println!("{name}/{seed}");
            body(bytes);
            if let Some(to) = &to {
                std::fs::create_dir_all(to.join(name)).unwrap();
                std::fs::write(to.join(name).join(seed), bytes).unwrap();
            }
        }
    }
}

#[test]
fn every_input_of_the_corpus_is_taken() {
    for (name, body) in TARGETS {
        let mut count = 0;
        for entry in std::fs::read_dir(corpus(name)).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let done = std::panic::catch_unwind(|| body(&bytes));
            assert!(done.is_ok(), "{}", path.display());
            count += 1;
        }
        println!("{name}: {count} inputs");
        assert!(count > 20, "the corpus of {name} has only {count} inputs");
    }
}
