//! Long random histories of one repository: whatever two clusters back up, cancel and delete by hand,
//! each snapshot that nobody deleted from can be restored.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_broker::{Broker, Context, MemoryBroker};
use holdfast_repository::ObjectKey;
use proptest::prelude::*;

use crate::harness::*;

#[derive(Debug, Clone)]
enum Step {
    /// A cluster backs up some of the files.
    Backup { west: bool, files: u16 },
    /// The same, cancelled when all is uploaded.
    Cancelled { west: bool, files: u16 },
    /// The same, never heard of again.
    Abandoned { files: u16 },
    /// A label's folder is deleted by hand.
    DropLabel(prop::sample::Index),
    /// A data object is deleted by hand.
    DropObject(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<bool>(), any::<u16>()).prop_map(|(west, files)| Step::Backup { west, files }),
        3 => (any::<bool>(), any::<u16>()).prop_map(|(west, files)| Step::Cancelled { west, files }),
        1 => any::<u16>().prop_map(|files| Step::Abandoned { files }),
        1 => any::<prop::sample::Index>().prop_map(Step::DropLabel),
        1 => any::<prop::sample::Index>().prop_map(Step::DropObject),
    ]
}

/// The files whose bits are set.
fn chosen(files: u16) -> Data {
    let numbers = (0..16_u8).filter(|bit| files & (1 << bit) != 0);
    let file = |number: u8| {
        let place = (
            "t".to_owned(),
            format!("p{}", number % 3),
            u32::from(number % 2),
            format!("f{number}"),
        );
        (place, noise(number, 10 + usize::from(number)))
    };
    numbers.map(file).collect()
}

/// What a history has led to.
#[derive(Default)]
struct World {
    broker: MemoryBroker,
    /// Visible snapshots by label.
    snapshots: BTreeMap<String, Data>,
    /// Objects that were deleted by hand and not written since.
    dropped: BTreeSet<String>,
    jobs: u64,
}

impl World {
    fn take(&mut self, step: &Step) {
        let ctx = Context::new();
        let repository = open(self.broker.clone());
        self.jobs += 1;
        let label = format!("l{}", self.jobs);
        let job = |west: bool| {
            Job::new(&repository, &label, NOON, self.jobs).of(if west { "west" } else { "east" })
        };
        match step {
            Step::Backup { west, files } => {
                let uploaded = job(*west).run(&chosen(*files));
                for key in &uploaded.created {
                    self.dropped.remove(&key.to_string());
                }
                self.snapshots.insert(label.clone(), chosen(*files));
            }
            Step::Cancelled { west, files } => {
                let job = job(*west);
                let uploaded = job.upload(&chosen(*files)).unwrap();
                job.marker(&uploaded).unwrap();
                repository
                    .discard(&ctx, &job.writer, &label, &uploaded.created)
                    .unwrap();
            }
            Step::Abandoned { files } => drop(job(true).upload(&chosen(*files)).unwrap()),
            Step::DropLabel(index) if !self.snapshots.is_empty() => {
                let labels: Vec<_> = self.snapshots.keys().cloned().collect();
                let label = index.get(&labels);
                self.snapshots.remove(label);
                let folder = format!("__ss_{label}/");
                for path in paths(&self.broker)
                    .iter()
                    .filter(|path| path.starts_with(&folder))
                {
                    self.broker.delete(&ctx, &object(path)).unwrap();
                }
            }
            Step::DropObject(index) => {
                let mut objects = paths(&self.broker);
                objects.retain(|path| ObjectKey::parse(path).is_ok());
                if !objects.is_empty() {
                    let path = index.get(&objects).clone();
                    self.broker.delete(&ctx, &object(&path)).unwrap();
                    self.dropped.insert(path);
                }
            }
            Step::DropLabel(_) => {}
        }
    }

    fn check(&self) {
        let repository = open(self.broker.clone());
        let labels = repository.labels(&Context::new()).unwrap();
        let visible: Vec<_> = labels.iter().map(|entry| entry.label.clone()).collect();
        assert_eq!(visible, self.snapshots.keys().cloned().collect::<Vec<_>>());
        let found = findings(&repository);
        let hurt: BTreeSet<_> = found.iter().map(|finding| finding.label.as_str()).collect();
        for finding in &found {
            assert!(self.dropped.contains(&finding.object), "{finding}");
        }
        for (label, data) in &self.snapshots {
            if !hurt.contains(label.as_str()) {
                assert_eq!(&restore(&repository, label, NOON).unwrap(), data, "{label}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_snapshot_survives_what_others_do(steps in prop::collection::vec(step(), 1..14)) {
        let mut world = World::default();
        for step in &steps {
            world.take(step);
            world.check();
            if let Step::Backup { files, .. } = step {
                // A fresh snapshot is whole whatever was deleted before it.
                let repository = open(world.broker.clone());
                let label = format!("l{}", world.jobs);
                prop_assert_eq!(restore(&repository, &label, NOON).unwrap(), chosen(*files));
            }
        }
    }
}
