//! The documents of a repository: markers, manifest parts and the plain ones, alone and through a
//! repository that holds them.

use std::sync::Arc;

use holdfast_broker::{Broker, BrokerExt, Context, MemoryBroker, ObjectName, PutMode};
use holdfast_repository::manifest::{Marker, NameGuard, Part, PartRef, Root, check_file_name};
use holdfast_repository::{ContentHash, ErrorKind, Mode, Repository, Writer};

use super::Fields;

/// Documents are compressed quickly here; how well does not matter.
const LEVEL: i32 = 1;

/// The first byte says what the rest is: 0 the text of a marker, 1 of a part, 2 a marker as stored,
/// 3 a part as stored, 4 the text of `__repo_info`, 5 of a claim, 6 of an intent, 7 of a list of
/// the condemned.
pub fn manifest(data: &[u8]) {
    let mut fields = Fields(data);
    let kind = fields.byte();
    let bytes = fields.0;
    match kind {
        0 => marker(&stored(bytes)),
        1 => part(&stored(bytes)),
        2 => marker(bytes),
        3 => part(bytes),
        4 => document("__repo_info", bytes),
        5 => document("__ss_nightly/claim.0", bytes),
        6 => document("intents/east-7", bytes),
        7 => document("condemned/east-7", &stored(bytes)),
        _ => {}
    }
}

fn stored(text: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(text, LEVEL).unwrap()
}

fn refused(error: &holdfast_repository::Error) {
    let kind = error.kind();
    let expected = matches!(kind, ErrorKind::Damaged | ErrorKind::NewerFormat);
    assert!(expected, "{kind:?}: {error}");
    assert!(!error.message().is_empty());
}

fn marker(bytes: &[u8]) {
    let root = match Root::decode(bytes) {
        Ok(root) => root,
        Err(error) => {
            refused(&error);
            return in_repository(None, bytes);
        }
    };
    // What passed the checks passes them when it is written.
    let again = Marker::build(root.clone()).unwrap();
    assert_eq!(again.root().unwrap(), root);
    assert_eq!(again.root_hash(), ContentHash::of(again.bytes()));
    in_repository(Some(&root), bytes);
}

/// Lays the marker where its content says that it belongs, and looks at it as every reader does.
fn in_repository(root: Option<&Root>, bytes: &[u8]) {
    let (ctx, broker) = (Context::new(), Arc::new(MemoryBroker::new()));
    let mode = Mode::ReadWrite { created_at_ms: 0 };
    let repository = Repository::open(&ctx, Arc::clone(&broker) as _, "north", mode).unwrap();
    let (label, timestamp, cluster, job) = match root {
        Some(root) => (
            root.label.as_str(),
            root.timestamp.as_str(),
            root.cluster.as_str(),
            root.job,
        ),
        None => ("nightly", "2025-01-01-00-00-00-000", "east", 7),
    };
    let hash = ContentHash::of(bytes);
    let path = format!("__ss_{label}/__info_{timestamp}.{cluster}.{job}.{hash}");
    put(&broker, &path, bytes);
    let listed = repository.labels(&ctx).unwrap();
    assert_eq!(listed.len(), 1);
    let read = repository.marker(&ctx, label, timestamp);
    assert_eq!(read.is_ok(), root.is_some(), "{read:?}");
    let mut findings = 0;
    let report = repository.verify(&ctx, None, &mut |_| findings += 1);
    let whole = root.is_some_and(|root| root.parts().next().is_none());
    if let Ok(report) = report {
        assert!(report.snapshots <= 1 && (root.is_none() || report.snapshots == 1));
        assert!(whole || findings > 0, "a damaged snapshot was found whole");
    }
}

fn put(broker: &MemoryBroker, path: &str, bytes: &[u8]) {
    let name = ObjectName::parse(format!("__holdfast_repository_north/{path}")).unwrap();
    let ctx = Context::new();
    let done = broker.put_bytes(&ctx, &name, bytes, PutMode::CreateIfAbsent);
    done.unwrap();
}

fn part(bytes: &[u8]) {
    let reference = |files, bytes_of| PartRef {
        hash: ContentHash::of(bytes),
        len: bytes.len() as u64,
        files,
        bytes: bytes_of,
    };
    // The counts are not known before the part is read; a refusal tells them.
    let (files, total) = counts(bytes).unwrap_or_default();
    let part = match Part::decode(&reference(files, total), bytes) {
        Ok(part) => part,
        Err(error) => return refused(&error),
    };
    let again = part.encode().unwrap();
    assert_eq!(
        (again.reference.files, again.reference.bytes),
        (files, total)
    );
    assert_eq!(Part::decode(&again.reference, &again.bytes).unwrap(), part);
    assert!(Part::decode(&reference(files + 1, total), bytes).is_err());
    for tablet in &part.tablets {
        let mut guard = NameGuard::default();
        for file in &tablet.files {
            check_file_name(&file.name).unwrap();
            guard.admit(&file.name).unwrap();
            assert_eq!(
                file.hashed_pieces()
                    .map(|(_, piece)| piece.len)
                    .sum::<u64>(),
                file.len
            );
            for (_, piece) in file.hashed_pieces() {
                let object = &part.objects[piece.object as usize];
                assert!(piece.offset + piece.len <= object.len);
            }
        }
    }
}

/// Files and bytes of a part, read without any check.
fn counts(stored: &[u8]) -> Option<(u64, u64)> {
    let text = zstd::bulk::decompress(stored, 1 << 20).ok()?;
    let value: serde_json::Value = serde_json::from_slice(&text).ok()?;
    let mut sums = (0_u64, 0_u64);
    for tablet in value.get("tablets")?.as_array()? {
        for file in tablet.get("files")?.as_array()? {
            sums.0 += 1;
            sums.1 = sums.1.checked_add(file.get("len")?.as_u64()?)?;
        }
    }
    Some(sums)
}

/// A plain document under its name: opening, listing, claiming and beginning answer.
fn document(path: &str, bytes: &[u8]) {
    let (ctx, broker) = (Context::new(), Arc::new(MemoryBroker::new()));
    put(&broker, path, bytes);
    let open = |mode| {
        let broker = Arc::clone(&broker) as Arc<dyn Broker>;
        Repository::open(&ctx, broker, "north", mode)
    };
    let writer = Writer::new("east", 8).unwrap();
    for mode in [Mode::ReadOnly, Mode::ReadWrite { created_at_ms: 0 }] {
        let Ok(repository) = open(mode) else {
            continue;
        };
        assert_eq!(repository.info().name, "north");
        let _ = repository.labels(&ctx);
        let _ = repository.intents(&ctx);
        let _ = repository.presence(&ctx);
        let _ = repository.verify(&ctx, None, &mut |_| {});
        if !repository.is_read_only() {
            let _ = repository.begin(&ctx, &writer);
            let first = repository.claim(&ctx, "nightly", &writer, &|_| false);
            let again = repository.claim(&ctx, "nightly", &writer, &|_| false);
            assert_eq!(first.is_ok(), again.is_ok(), "{first:?}, then {again:?}");
        }
    }
}
