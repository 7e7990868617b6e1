//! The rules of pins and local snapshots.

use super::{Files, Outcome, Rule, Suite, refused, same, some_files};
use crate::ErrorKind;
use crate::model::{OpId, PinRequest, PinTable};

pub(super) const RULES: &[Rule] = &[
    ("a pin is made once", pin_is_made_once),
    ("a pin of what is absent names it", pin_of_the_absent),
    ("a pin outlives changes and reopening", pin_outlives_changes),
    (
        "a pin of chosen partitions holds only those",
        pin_of_partitions,
    ),
    ("an empty partition is pinned empty", pin_of_empty),
    ("retain_only ends other pins", retain_only),
];

fn pin_is_made_once(t: &mut Suite<'_>) -> Outcome {
    t.load("a", "p", &some_files("one"))?;
    let request = t.pin_request(&["a"]);
    let before = t.s()?.position();
    let pin = t.s()?.pin(t.op, &request)?;
    super::ensure(
        pin.position >= before,
        "a pin lies at or after the position before it",
    )?;
    t.load(
        "a",
        "p",
        &Files::from([("later".to_owned(), b"x".to_vec())]),
    )?;
    same(&t.s()?.pin(t.op, &request)?, &pin, "the repeated pin")?;
    let at = t.s()?.position();
    t.reopen()?;
    super::ensure(t.s()?.position() >= at, "the position never goes back")?;
    same(
        &t.s()?.pin(t.op, &request)?,
        &pin,
        "the repeated pin after reopening",
    )?;
    Ok(t.s()?.release(t.op)?)
}

fn pin_of_the_absent(t: &mut Suite<'_>) -> Outcome {
    t.load("a", "p", &some_files("one"))?;
    let s = t.s()?;
    let lost = PinRequest {
        database: "conformance_none".to_owned(),
        tables: Vec::new(),
    };
    refused(
        s.pin(t.op, &lost),
        ErrorKind::NotFound,
        "pin of an absent database",
    )?;
    let request = t.pin_request(&["a", "b"]);
    refused(
        s.pin(t.op, &request),
        ErrorKind::NotFound,
        "pin of an absent table",
    )?;
    let mut request = t.pin_request(&["a"]);
    request.tables[0].partitions = Some(vec!["p".to_owned(), "q".to_owned()]);
    refused(
        s.pin(t.op, &request),
        ErrorKind::NotFound,
        "pin of an absent partition",
    )?;
    refused(
        s.tables("conformance_none"),
        ErrorKind::NotFound,
        "tables of an absent database",
    )?;
    Ok(s.release(t.op)?)
}

fn pin_outlives_changes(t: &mut Suite<'_>) -> Outcome {
    let (first, second) = (some_files("one"), some_files("two"));
    t.load("a", "p", &first)?;
    t.load("a", "q", &second)?;
    let expected = t.read("a")?;
    let request = t.pin_request(&["a"]);
    let pin = t.s()?.pin(t.op, &request)?;
    t.load(
        "a",
        "p",
        &Files::from([("later".to_owned(), b"x".to_vec())]),
    )?;
    same(
        &t.read_pinned(t.op, &pin)?,
        &expected,
        "pinned data after a load",
    )?;
    t.reopen()?;
    t.harness.drop_table(&t.database, "a")?;
    t.reopen()?;
    same(
        &t.read_pinned(t.op, &pin)?,
        &expected,
        "pinned data after a drop and reopening",
    )?;
    let tablet = pin.tables[0].partitions[0].tablets[0].id;
    t.s()?.release(t.op)?;
    t.s()?.release(t.op)?;
    refused(
        t.s()?.pinned_files(t.op, tablet),
        ErrorKind::PinLost,
        "files of a released pin",
    )?;
    t.reopen()?;
    refused(
        t.s()?.pinned_files(t.op, tablet),
        ErrorKind::PinLost,
        "the same after reopening",
    )
}

fn pin_of_partitions(t: &mut Suite<'_>) -> Outcome {
    t.load("a", "p", &some_files("one"))?;
    t.load("a", "q", &some_files("two"))?;
    let tables = vec![PinTable {
        name: "a".to_owned(),
        partitions: Some(vec!["q".to_owned()]),
    }];
    let pin = t.s()?.pin(
        t.op,
        &PinRequest {
            database: t.database.clone(),
            tables,
        },
    )?;
    let mut expected = t.read("a")?;
    expected.remove("p");
    same(&t.read_pinned(t.op, &pin)?, &expected, "pinned partitions")?;
    Ok(t.s()?.release(t.op)?)
}

fn pin_of_empty(t: &mut Suite<'_>) -> Outcome {
    t.load("a", "p", &Files::new())?;
    let pin = t.s()?.pin(t.op, &t.pin_request(&["a"]))?;
    let expected = [("p".to_owned(), Files::new())].into();
    same(&t.read_pinned(t.op, &pin)?, &expected, "an empty partition")?;
    Ok(t.s()?.release(t.op)?)
}

fn retain_only(t: &mut Suite<'_>) -> Outcome {
    t.load("a", "p", &some_files("one"))?;
    let (kept, ended) = (t.op, OpId(t.op.0 + 1));
    let request = t.pin_request(&["a"]);
    let pin = t.s()?.pin(kept, &request)?;
    t.s()?.pin(ended, &request)?;
    t.s()?.retain_only(&[kept])?;
    t.s()?.retain_only(&[kept])?;
    let tablet = pin.tables[0].partitions[0].tablets[0].id;
    refused(
        t.s()?.pinned_files(ended, tablet),
        ErrorKind::PinLost,
        "a pin not retained",
    )?;
    let expected = t.read("a")?;
    same(&t.read_pinned(kept, &pin)?, &expected, "the pin retained")?;
    t.s()?.retain_only(&[])?;
    refused(
        t.s()?.pinned_files(kept, tablet),
        ErrorKind::PinLost,
        "the last pin",
    )
}
