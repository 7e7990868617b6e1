//! The memory broker is the local one without a disk: whatever is asked of both, in any order, they
//! answer the same.

#![allow(
    clippy::disallowed_methods,
    reason = "tests are outside the deterministic core"
)]
#![allow(clippy::expect_used, reason = "helpers of tests")]

use holdfast_broker::{
    Broker, BrokerExt, Context, Error, ErrorClass, LocalBroker, MemoryBroker, ObjectName,
    PageToken, PutMode,
};
use proptest::prelude::*;
use tempfile::TempDir;

/// Few names, so that they meet; some are folders of others, some sort between those.
const NAMES: [&str; 10] = [
    "a", "a b", "a-/x", "a/b", "a/b/c", "a/b/d", "a/c", "a0", "b/é", "b/e",
];

#[derive(Debug, Clone)]
enum Ask {
    Put {
        name: usize,
        len: usize,
        mode: PutMode,
    },
    Get {
        name: usize,
        start: u64,
        end: u64,
    },
    GetWhole {
        name: usize,
        max_len: u64,
    },
    Stat {
        name: usize,
    },
    List {
        prefix: usize,
        cut: usize,
        after: Option<usize>,
        limit: usize,
    },
    Delete {
        name: usize,
    },
    Settle {
        names: Vec<usize>,
    },
}

fn ask() -> impl Strategy<Value = Ask> {
    let name = 0..NAMES.len();
    let mode = prop_oneof![Just(PutMode::CreateIfAbsent), Just(PutMode::Overwrite)];
    let after = prop::option::of(name.clone());
    prop_oneof![
        4 => (name.clone(), 0..50usize, mode)
            .prop_map(|(name, len, mode)| Ask::Put { name, len, mode }),
        2 => (name.clone(), 0..60u64, 0..60u64)
            .prop_map(|(name, start, end)| Ask::Get { name, start, end }),
        1 => (name.clone(), 0..60u64).prop_map(|(name, max_len)| Ask::GetWhole { name, max_len }),
        1 => name.clone().prop_map(|name| Ask::Stat { name }),
        2 => (name.clone(), 0..5usize, after, 0..5usize)
            .prop_map(|(prefix, cut, after, limit)| Ask::List { prefix, cut, after, limit }),
        3 => name.clone().prop_map(|name| Ask::Delete { name }),
        1 => prop::collection::vec(name, 0..4).prop_map(|names| Ask::Settle { names }),
    ]
}

fn name(index: usize) -> ObjectName {
    ObjectName::parse(NAMES[index]).expect("name")
}

/// The answer as text, or a refusal by its class.
fn answer(broker: &dyn Broker, ask: &Ask) -> Result<String, ErrorClass> {
    let ctx = Context::new();
    let answer = || -> Result<String, Error> {
        Ok(match ask {
            Ask::Put { name: n, len, mode } => {
                let bytes = vec![*len as u8; *len];
                format!("{:?}", broker.put_bytes(&ctx, &name(*n), &bytes, *mode)?)
            }
            Ask::Get {
                name: n,
                start,
                end,
            } => {
                let mut bytes = Vec::new();
                broker.get_range(&ctx, &name(*n), *start..*end, &mut |piece| {
                    bytes.extend_from_slice(piece);
                    Ok(())
                })?;
                format!("{bytes:?}")
            }
            Ask::GetWhole { name: n, max_len } => {
                format!("{:?}", broker.get(&ctx, &name(*n), *max_len)?)
            }
            Ask::Stat { name: n } => format!("{:?}", broker.stat(&ctx, &name(*n))?),
            Ask::List {
                prefix,
                cut,
                after,
                limit,
            } => {
                let prefix: String = NAMES[*prefix].chars().take(*cut).collect();
                let after = after.map(|n| PageToken::new(NAMES[n]));
                format!("{:?}", broker.list(&ctx, &prefix, after.as_ref(), *limit)?)
            }
            Ask::Delete { name: n } => format!("{:?}", broker.delete(&ctx, &name(*n))?),
            Ask::Settle { names } => {
                let names: Vec<_> = names.iter().map(|n| name(*n)).collect();
                format!("{:?}", broker.settle(&ctx, &names)?)
            }
        })
    };
    answer().map_err(|error| error.class())
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 50,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]
    #[test]
    fn memory_and_local_answer_alike(asks in prop::collection::vec(ask(), 1..40)) {
        let folder = TempDir::new().expect("folder");
        let local = LocalBroker::open(&folder.path().join("root")).expect("open");
        let memory = MemoryBroker::new();
        for (n, ask) in asks.iter().enumerate() {
            prop_assert_eq!(answer(&local, ask), answer(&memory, ask), "ask {}: {:?}", n, ask);
        }
        let all = |broker: &dyn Broker| broker.list_all(&Context::new(), "").expect("list");
        prop_assert_eq!(all(&local), all(&memory));
    }
}
