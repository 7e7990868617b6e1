//! The written format and the code say the same: the example of `docs/repository-format.md` is what
//! is written, and can be read.

use holdfast_broker::{Broker, BrokerExt, Context, MemoryBroker, PutMode};
use holdfast_repository::manifest::{Part, PartRef, Root};
use holdfast_repository::{ContentHash, limits};

use crate::harness::*;

const DOCUMENT: &str = include_str!("../../../docs/repository-format.md");

/// The text of the code block that follows the line `### <title>`.
fn block(title: &str) -> &'static str {
    let at = DOCUMENT.find(&format!("\n### {title}\n")).expect(title);
    let (_, rest) = DOCUMENT[at..].split_once("\n```").expect(title);
    let (_, rest) = rest.split_once('\n').expect(title);
    rest.split_once("\n```").expect(title).0
}

fn example() -> Data {
    data([
        ("a/one", b"one".as_slice()),
        ("a/two", b"two"),
        ("empty", b""),
    ])
}

#[test]
fn the_documented_example_is_what_is_written() {
    let (repository, broker) = in_memory();
    let ctx = Context::new();
    let job = Job::new(&repository, "nightly", NOON, 7);
    let uploaded = job.upload(&example()).unwrap();
    let intent = broker
        .get(&ctx, &object("intents/east-7"), 1 << 20)
        .unwrap();
    let marker = job.commit(&uploaded).unwrap();

    let pack = uploaded.plan.objects[0].key.to_string();
    let bytes = broker.get(&ctx, &object(&pack), 1 << 20).unwrap();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let shown: String = block("The pack").split_whitespace().collect();
    assert_eq!(shown, hex);
    assert!(DOCUMENT.contains(&pack), "{pack}");

    let written = |path: &str| broker.get(&ctx, &object(path), 1 << 20).unwrap();
    let same = |title: &str, text: &[u8]| {
        let written: serde_json::Value = serde_json::from_slice(text).unwrap();
        let shown: serde_json::Value = serde_json::from_str(block(title)).unwrap();
        assert_eq!(shown, written, "{title}");
    };
    same("The info object", &written("__repo_info"));
    same("The claim", &written("__ss_nightly/claim.0"));
    same("The intent", &intent);
    let root = marker.root().unwrap();
    let part = root.tables[0].partitions[0].parts[0];
    let stored = written(&format!("__ss_nightly/part.{}", part.hash));
    same(
        "The manifest part",
        &zstd::bulk::decompress(&stored, 1 << 20).unwrap(),
    );
    // The bytes of zstd may change with its version; what they hold may not.
    let mut text: serde_json::Value =
        serde_json::from_slice(&zstd::bulk::decompress(marker.bytes(), 1 << 20).unwrap()).unwrap();
    let reference = &mut text["tables"][0]["partitions"][0]["parts"][0];
    let shown: serde_json::Value = serde_json::from_str(block("The marker")).unwrap();
    let kept = &shown["tables"][0]["partitions"][0]["parts"][0];
    reference["hash"] = kept["hash"].clone();
    reference["len"] = kept["len"].clone();
    assert_eq!(shown, text);
}

#[test]
fn a_repository_made_from_the_document_alone_can_be_read() {
    let broker = MemoryBroker::new();
    let ctx = Context::new();
    let put = |path: &str, bytes: &[u8]| {
        broker
            .put_bytes(&ctx, &object(path), bytes, PutMode::CreateIfAbsent)
            .unwrap();
    };
    put("__repo_info", block("The info object").as_bytes());
    let hex: String = block("The pack").split_whitespace().collect();
    let digits: Vec<char> = hex.chars().collect();
    let bytes: Vec<u8> = digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap())
        .collect();
    let header = &bytes[..bytes.len() - 6];
    let name = ContentHash::of(header).to_string();
    put(&format!("packs/{}/{name}", &name[..2]), &bytes);

    let stored = zstd::bulk::compress(block("The manifest part").as_bytes(), 19).unwrap();
    let hash = ContentHash::of(&stored);
    put(&format!("__ss_nightly/part.{hash}"), &stored);
    let mut root: Root = serde_json::from_str(block("The marker")).unwrap();
    root.tables[0].partitions[0].parts = vec![PartRef {
        hash,
        len: stored.len() as u64,
        files: 3,
        bytes: 6,
    }];
    let stored = zstd::bulk::compress(&serde_json::to_vec(&root).unwrap(), 19).unwrap();
    let hash = ContentHash::of(&stored);
    put(
        &format!("__ss_nightly/__info_{NOON}.east.7.{hash}"),
        &stored,
    );

    let repository = open(broker);
    assert_eq!(restore(&repository, "nightly", NOON).unwrap(), example());
    assert_eq!(findings(&repository), []);
}

#[test]
fn the_documented_bounds_are_the_codes() {
    for (name, value) in [
        ("format version", u64::from(limits::FORMAT_VERSION)),
        ("longest object", limits::MAX_OBJECT_LEN),
        ("members of a pack", u64::from(limits::MAX_PACK_MEMBERS)),
        ("files of a part", limits::MAX_PART_FILES as u64),
        ("tablets of a part", limits::MAX_PART_TABLETS as u64),
        ("file name", limits::MAX_NAME_LEN as u64),
        ("stored document", limits::MAX_STORED_DOCUMENT),
        ("text of a document", limits::MAX_DOCUMENT_TEXT as u64),
        ("tables", limits::MAX_TABLES as u64),
        ("partitions", limits::MAX_PARTITIONS as u64),
        ("longest file", limits::MAX_FILE_LEN),
    ] {
        let row = format!("| {name} | {value} |");
        assert!(DOCUMENT.contains(&row), "{row}");
    }
    assert!(Part::default().encode().is_ok());
}
