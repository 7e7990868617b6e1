//! The rules of restores: targets, staging, fencing, the one commit.

use super::{Broken, Files, Outcome, Rule, Suite, ensure, entry, refused, same, some_files};
use crate::model::{Access, AllowLoad, Make, OpId, TargetTablet, Targets, Token};
use crate::{ErrorKind, Reuse, Staging};

pub(super) const RULES: &[Rule] = &[
    (
        "targets are made once and taken back whole",
        targets_are_taken_back,
    ),
    (
        "targets are checked against the catalog",
        targets_are_checked,
    ),
    ("marks refuse what would be lost", marks_refuse),
    ("only content that agrees counts", content_must_agree),
    ("an older attempt is fenced", older_attempts_are_fenced),
    ("bad names are refused", bad_names),
    (
        "a new table appears by the commit, whatever is repeated",
        create_with_reopening,
    ),
    (
        "an overwritten table is wholly old, then wholly new",
        overwrite_with_reopening,
    ),
    ("what may be reused agrees", reuse_agrees),
    ("drops are part of the commit", drops_with_the_commit),
    ("an empty table is restored", empty_table),
    ("retain_only ends what is not live", retain_only),
];

const FIRST: Token = Token {
    epoch: 1,
    attempt: 1,
};
const SECOND: Token = Token {
    epoch: 1,
    attempt: 2,
};
const NEXT_EPOCH: Token = Token {
    epoch: 2,
    attempt: 1,
};

fn a_tablet(targets: &Targets) -> Outcome<&TargetTablet> {
    let mut all = targets
        .tables
        .iter()
        .flat_map(|t| &t.partitions)
        .flat_map(|p| &p.tablets);
    all.next()
        .ok_or_else(|| Broken("the restore has no target tablet".to_owned()))
}

fn targets_are_taken_back(t: &mut Suite<'_>) -> Outcome {
    let files = some_files("old");
    t.load("a", "p", &files)?;
    let like = t.table("a")?;
    let before = t.s()?.tables(&t.database)?;
    let mut spec = t.spec(&like, "b", Make::Create);
    spec.tables
        .extend(t.spec(&like, "a", Make::Overwrite).tables);
    let targets = t.s()?.create_targets(t.op, &spec)?;
    same(
        &t.s()?.create_targets(t.op, &spec)?,
        &targets,
        "the repeated targets",
    )?;
    t.reopen()?;
    same(
        &t.s()?.create_targets(t.op, &spec)?,
        &targets,
        "the same after reopening",
    )?;
    same(
        &t.table("b")?.access,
        &Access::Restoring(t.op),
        "the mark of a table that was made",
    )?;
    same(
        &t.table("a")?.access,
        &Access::Overwriting(t.op),
        "the mark of one to be overwritten",
    )?;
    t.fill(t.op, FIRST, &targets, &some_files("new"))?;
    t.s()?.abort(t.op)?;
    t.s()?.abort(t.op)?;
    same(
        &t.s()?.tables(&t.database)?,
        &before,
        "the tables after the abort",
    )?;
    t.reopen()?;
    same(
        &t.s()?.tables(&t.database)?,
        &before,
        "the tables after the abort and reopening",
    )?;
    same(&t.read("a")?["p"], &files, "the data after the abort")?;

    let mut elsewhere = t.spec(&like, "b", Make::Create);
    elsewhere.database = format!("{}_new", t.database);
    let targets = t.s()?.create_targets(t.op, &elsewhere)?;
    ensure(
        targets.created_database,
        "the operation says that it made the database",
    )?;
    ensure(
        t.s()?.databases()?.contains(&elsewhere.database),
        "the database is there",
    )?;
    t.s()?.abort(t.op)?;
    ensure(
        !t.s()?.databases()?.contains(&elsewhere.database),
        "the database went with the abort",
    )
}

fn targets_are_checked(t: &mut Suite<'_>) -> Outcome {
    t.load("a", "p", &some_files("old"))?;
    let like = t.table("a")?;
    let create = t.spec(&like, "a", Make::Create);
    refused(
        t.s()?.create_targets(t.op, &create),
        ErrorKind::Exists,
        "making an existing table",
    )?;
    let overwrite = t.spec(&like, "b", Make::Overwrite);
    let absent = t.s()?.create_targets(t.op, &overwrite);
    refused(absent, ErrorKind::NotFound, "overwriting an absent table")?;
    let mut many = t.spec(&like, "b", Make::Create);
    many.tables[0].partitions[0].meta.replication_num = t.s()?.backends()?.len() as u32 + 1;
    let refusal = t.s()?.create_targets(t.op, &many);
    refused(refusal, ErrorKind::Invalid, "more replicas than backends")?;
    same(
        &t.s()?.tables(&t.database)?.len(),
        &1,
        "tables after refused targets",
    )?;
    let spec = t.spec(&like, "a", Make::Overwrite);
    t.s()?.create_targets(t.op, &spec)?;
    let other = OpId(t.op.0 + 1);
    refused(
        t.s()?.create_targets(other, &spec),
        ErrorKind::Busy,
        "targets of two operations",
    )?;
    Ok(t.s()?.abort(t.op)?)
}

fn marks_refuse(t: &mut Suite<'_>) -> Outcome {
    let old = some_files("old");
    t.load("a", "p", &old)?;
    t.load("a", "q", &old)?;
    let like = t.table("a")?;
    let mut spec = t.spec(&like, "b", Make::Create);
    let mut over = t.spec(&like, "a", Make::Overwrite);
    over.tables[0].partitions.retain(|p| p.meta.name == "p");
    spec.tables.append(&mut over.tables);
    let later = Files::from([("later".to_owned(), b"x".to_vec())]);
    for (i, allow) in [AllowLoad::No, AllowLoad::UntouchedPartitions]
        .into_iter()
        .enumerate()
    {
        spec.allow_load = allow;
        let op = OpId(t.op.0 + i as u64);
        t.s()?.create_targets(op, &spec)?;
        let load = |table, partition| t.harness.load(&t.database, table, partition, &later);
        refused(
            load("b", "p"),
            ErrorKind::Busy,
            "a load into a table being made",
        )?;
        refused(
            load("a", "p"),
            ErrorKind::Busy,
            "a load into a partition to be overwritten",
        )?;
        match allow {
            AllowLoad::No => refused(load("a", "q"), ErrorKind::Busy, "a load beside it")?,
            AllowLoad::UntouchedPartitions => load("a", "q")?,
        }
        refused(
            t.harness.read(&t.database, "b"),
            ErrorKind::Busy,
            "a read of a table being made",
        )?;
        same(
            &t.read("a")?["p"],
            &old,
            "a read of what will be overwritten",
        )?;
        let drop = t.harness.drop_table(&t.database, "a");
        refused(drop, ErrorKind::Busy, "a drop of what will be overwritten")?;
        let pin = t.s()?.pin(OpId(t.op.0 + 50), &t.pin_request(&["a"]));
        refused(pin, ErrorKind::Busy, "a pin of a table being restored")?;
        t.s()?.abort(op)?;
    }
    t.load("a", "p", &later)
}

fn content_must_agree(t: &mut Suite<'_>) -> Outcome {
    t.load("a", "p", &some_files("old"))?;
    let spec = t.spec(&t.table("a")?, "b", Make::Create);
    let targets = t.s()?.create_targets(t.op, &spec)?;
    let tablet = a_tablet(&targets)?;
    let backend = tablet.replicas[0];
    let right = entry("f", b"right bytes");
    refused(
        t.s()?
            .stage_file(t.op, FIRST, backend, tablet.id, &right)
            .map(|_| ()),
        ErrorKind::NotFound,
        "writing before staging",
    )?;
    t.s()?.stage(
        t.op,
        FIRST,
        backend,
        tablet.id,
        std::slice::from_ref(&right),
    )?;
    for wrong in [b"wrong bytes".as_slice(), b"right", b""] {
        let Staging::Write(mut file) =
            t.s()?.stage_file(t.op, FIRST, backend, tablet.id, &right)?
        else {
            return Err(Broken(
                "a file counts that was never written whole".to_owned(),
            ));
        };
        file.write(wrong)?;
        refused(file.finish(), ErrorKind::Invalid, "content that differs")?;
    }
    let stranger = entry("g", b"right bytes");
    let result = t
        .s()?
        .stage_file(t.op, FIRST, backend, tablet.id, &stranger)
        .map(|_| ());
    refused(
        result,
        ErrorKind::NotFound,
        "a file that is not in the list",
    )?;
    refused(
        t.s()?.prepare(t.op),
        ErrorKind::Invalid,
        "prepare of incomplete staging",
    )?;
    refused(
        t.s()?.commit(t.op),
        ErrorKind::NotFound,
        "commit of what was never prepared",
    )?;
    t.fill(t.op, SECOND, &targets, &some_files("new"))?;
    t.s()?.prepare(t.op)?;
    t.s()?.commit(t.op)?;
    same(&t.read("b")?["p"], &some_files("new"), "the data after all")?;
    Ok(t.s()?.forget(t.op)?)
}

fn older_attempts_are_fenced(t: &mut Suite<'_>) -> Outcome {
    t.load("a", "p", &some_files("old"))?;
    let spec = t.spec(&t.table("a")?, "b", Make::Create);
    let targets = t.s()?.create_targets(t.op, &spec)?;
    let tablet = a_tablet(&targets)?;
    let (op, id, backend) = (t.op, tablet.id, tablet.replicas[0]);
    let list = [entry("f", b"one"), entry("g", b"two")];
    let s = t.s()?;
    s.stage(op, FIRST, backend, id, &list)?;
    let Staging::Write(mut slow) = s.stage_file(op, FIRST, backend, id, &list[0])? else {
        return Err(Broken("a file counts that nobody wrote".to_owned()));
    };
    slow.write(b"one")?;
    if let Staging::Write(mut file) = s.stage_file(op, FIRST, backend, id, &list[1])? {
        file.write(b"two")?;
        file.finish()?;
    }
    s.stage(op, NEXT_EPOCH, backend, id, &list)?;
    refused(
        slow.finish(),
        ErrorKind::Fenced,
        "the end of an older attempt's file",
    )?;
    let stage = s.stage(op, SECOND, backend, id, &list);
    refused(stage, ErrorKind::Fenced, "staging by an older attempt")?;
    let file = s.stage_file(op, FIRST, backend, id, &list[0]).map(|_| ());
    refused(file, ErrorKind::Fenced, "writing by an older attempt")?;
    let reuse = s.reuse(op, FIRST, backend, id, &list[0]);
    refused(reuse, ErrorKind::Fenced, "reuse by an older attempt")?;
    let settle = s.settle(op, FIRST, backend, &[id]);
    refused(settle, ErrorKind::Fenced, "settling by an older attempt")?;
    match s.stage_file(op, NEXT_EPOCH, backend, id, &list[1])? {
        Staging::Done => {}
        Staging::Write(_) => return Err(Broken("what an attempt finished is lost".to_owned())),
    }
    ensure(
        matches!(
            s.stage_file(op, NEXT_EPOCH, backend, id, &list[0])?,
            Staging::Write(_)
        ),
        "what an older attempt did not finish does not count",
    )?;
    t.fill(op, NEXT_EPOCH, &targets, &some_files("new"))?;
    t.s()?.prepare(op)?;
    let late = t
        .s()?
        .stage_file(op, NEXT_EPOCH, backend, id, &list[0])
        .map(|_| ());
    refused(late, ErrorKind::Fenced, "writing into sealed staging")?;
    let late = t.s()?.stage(
        op,
        Token {
            epoch: 9,
            attempt: 9,
        },
        backend,
        id,
        &list,
    );
    refused(late, ErrorKind::Fenced, "staging again after prepare")?;
    t.s()?.abort(op)?;
    same(
        &t.s()?.tables(&t.database)?.len(),
        &1,
        "tables after the abort of a prepared restore",
    )
}

fn bad_names(t: &mut Suite<'_>) -> Outcome {
    t.load("a", "p", &some_files("old"))?;
    let spec = t.spec(&t.table("a")?, "b", Make::Create);
    let targets = t.s()?.create_targets(t.op, &spec)?;
    let tablet = a_tablet(&targets)?;
    for name in ["", "/x", "../x", "a/../../x", "a//b", "a/", ".", "x\0y"] {
        let list = [entry(name, b"1")];
        let stage = t
            .s()?
            .stage(t.op, FIRST, tablet.replicas[0], tablet.id, &list);
        refused(stage, ErrorKind::Invalid, &format!("file name {name:?}"))?;
    }
    Ok(t.s()?.abort(t.op)?)
}

fn create_with_reopening(t: &mut Suite<'_>) -> Outcome {
    t.load("a", "p", &some_files("old"))?;
    t.load("a", "q", &some_files("old"))?;
    let spec = t.spec(&t.table("a")?, "b", Make::Create);
    let new = some_files("new");
    let targets = t.s()?.create_targets(t.op, &spec)?;
    t.reopen()?;
    t.fill(t.op, FIRST, &targets, &new)?;
    t.reopen()?;
    t.fill(t.op, NEXT_EPOCH, &targets, &new)?;
    t.s()?.prepare(t.op)?;
    t.s()?.prepare(t.op)?;
    t.reopen()?;
    t.s()?.prepare(t.op)?;
    let read = t.harness.read(&t.database, "b");
    refused(
        read,
        ErrorKind::Busy,
        "a read of a table that is prepared, not committed",
    )?;
    t.s()?.commit(t.op)?;
    t.s()?.commit(t.op)?;
    t.reopen()?;
    let expected = [("p".to_owned(), new.clone()), ("q".to_owned(), new)].into();
    same(&t.read("b")?, &expected, "the restored table")?;
    same(&t.table("b")?.access, &Access::Normal, "its mark")?;
    same(
        &t.table("b")?.partitions[0].visible_version,
        &1,
        "the version of a new partition",
    )?;
    t.harness.drop_table(&t.database, "b")?;
    t.s()?.commit(t.op)?;
    same(
        &t.s()?.tables(&t.database)?.len(),
        &1,
        "tables after a late repeated commit",
    )?;
    t.s()?.forget(t.op)?;
    Ok(t.s()?.forget(t.op)?)
}

fn overwrite_with_reopening(t: &mut Suite<'_>) -> Outcome {
    let (old, new) = (some_files("old"), some_files("new"));
    t.load("a", "p", &old)?;
    t.load("a", "q", &old)?;
    let like = t.table("a")?;
    let mut spec = t.spec(&like, "a", Make::Overwrite);
    spec.tables[0].partitions.retain(|p| p.meta.name == "p");
    let targets = t.s()?.create_targets(t.op, &spec)?;
    t.fill(t.op, FIRST, &targets, &new)?;
    same(&t.read("a")?["p"], &old, "the data before prepare")?;
    t.s()?.prepare(t.op)?;
    t.reopen()?;
    same(&t.read("a")?["p"], &old, "the data before the commit")?;
    t.s()?.commit(t.op)?;
    same(&t.read("a")?["p"], &new, "the data after the commit")?;
    same(&t.read("a")?["q"], &old, "the partition beside it")?;
    t.reopen()?;
    same(
        &t.read("a")?["p"],
        &new,
        "the data after the commit and reopening",
    )?;
    let partition = &t.table("a")?.partitions[0];
    let version = like.partitions[0].visible_version + 1;
    same(
        &partition.visible_version,
        &version,
        "the version of an overwritten partition",
    )?;
    let later = Files::from([("later".to_owned(), b"x".to_vec())]);
    t.load("a", "p", &later)?;
    t.s()?.commit(t.op)?;
    ensure(
        t.read("a")?["p"].contains_key("later"),
        "a repeated commit takes no load back",
    )?;
    refused(
        t.s()?.abort(t.op),
        ErrorKind::Invalid,
        "abort after the commit",
    )?;
    t.s()?.forget(t.op)?;
    t.s()?.forget(t.op)?;
    t.reopen()?;
    let mut expected = new;
    expected.extend(later);
    same(&t.read("a")?["p"], &expected, "the data at the end")
}

fn reuse_agrees(t: &mut Suite<'_>) -> Outcome {
    let files = some_files("same");
    t.load("a", "p", &files)?;
    let spec = t.spec(&t.table("a")?, "a", Make::Overwrite);
    let targets = t.s()?.create_targets(t.op, &spec)?;
    let tablet = a_tablet(&targets)?;
    let (id, backend) = (tablet.id, tablet.replicas[0]);
    let known = entry("long", &files["long"]);
    let unknown = entry("unknown", b"not there");
    t.s()?
        .stage(t.op, FIRST, backend, id, &[known.clone(), unknown.clone()])?;
    let absent = t.s()?.reuse(t.op, FIRST, backend, id, &unknown)?;
    same(&absent, &Reuse::Absent, "reuse of unknown content")?;
    if t.s()?.reuse(t.op, FIRST, backend, id, &known)? == Reuse::Linked {
        let staged = t.s()?.stage_file(t.op, FIRST, backend, id, &known)?;
        ensure(
            matches!(staged, Staging::Done),
            "a reused file counts as staged",
        )?;
    }
    let stranger = t
        .s()?
        .reuse(t.op, FIRST, backend, id, &entry("stranger", b"1"));
    refused(
        stranger,
        ErrorKind::NotFound,
        "reuse of a file that is not in the list",
    )?;
    t.fill(t.op, SECOND, &targets, &files)?;
    t.s()?.prepare(t.op)?;
    t.s()?.commit(t.op)?;
    t.s()?.forget(t.op)?;
    same(
        &t.read("a")?["p"],
        &files,
        "the data after a restore of the same",
    )
}

fn drops_with_the_commit(t: &mut Suite<'_>) -> Outcome {
    let old = some_files("old");
    for (table, partition) in [("a", "p"), ("a", "q"), ("gone", "p"), ("kept", "p")] {
        t.load(table, partition, &old)?;
    }
    let mut spec = t.spec(&t.table("a")?, "a", Make::Overwrite);
    spec.tables[0].partitions.retain(|p| p.meta.name == "p");
    spec.drop_tables = vec!["gone".to_owned()];
    spec.drop_partitions = vec![("a".to_owned(), "q".to_owned())];
    let before = t.s()?.tables(&t.database)?;
    t.s()?.create_targets(t.op, &spec)?;
    same(&t.read("gone")?["p"], &old, "a table that will be dropped")?;
    t.s()?.abort(t.op)?;
    same(
        &t.s()?.tables(&t.database)?,
        &before,
        "the tables after an abort",
    )?;
    let op = OpId(t.op.0 + 1);
    let targets = t.s()?.create_targets(op, &spec)?;
    t.fill(op, FIRST, &targets, &some_files("new"))?;
    t.s()?.prepare(op)?;
    same(
        &t.s()?.tables(&t.database)?.len(),
        &3,
        "tables before the commit",
    )?;
    t.s()?.commit(op)?;
    t.reopen()?;
    let names: Vec<String> = t
        .s()?
        .tables(&t.database)?
        .into_iter()
        .map(|t| t.name)
        .collect();
    same(
        &names,
        &vec!["a".to_owned(), "kept".to_owned()],
        "tables after the commit",
    )?;
    let expected = [("p".to_owned(), some_files("new"))].into();
    same(&t.read("a")?, &expected, "partitions after the commit")?;
    Ok(t.s()?.forget(op)?)
}

fn empty_table(t: &mut Suite<'_>) -> Outcome {
    t.load("a", "p", &some_files("old"))?;
    let spec = t.spec(&t.table("a")?, "a", Make::Overwrite);
    let targets = t.s()?.create_targets(t.op, &spec)?;
    t.fill(t.op, FIRST, &targets, &Files::new())?;
    t.s()?.prepare(t.op)?;
    t.s()?.commit(t.op)?;
    t.s()?.forget(t.op)?;
    let expected = [("p".to_owned(), Files::new())].into();
    same(&t.read("a")?, &expected, "a table restored empty")
}

fn retain_only(t: &mut Suite<'_>) -> Outcome {
    let (old, new) = (some_files("old"), some_files("new"));
    for table in ["a", "b", "c"] {
        t.load(table, "p", &old)?;
    }
    let [live, dead, done] = [0, 1, 2].map(|i| OpId(t.op.0 + i));
    for (op, table) in [(live, "a"), (dead, "b"), (done, "c")] {
        let spec = t.spec(&t.table(table)?, table, Make::Overwrite);
        let targets = t.s()?.create_targets(op, &spec)?;
        t.fill(op, FIRST, &targets, &new)?;
    }
    t.s()?.prepare(dead)?;
    t.s()?.prepare(done)?;
    t.s()?.commit(done)?;
    t.reopen()?;
    t.s()?.retain_only(&[live])?;
    t.s()?.retain_only(&[live])?;
    same(
        &t.table("b")?.access,
        &Access::Normal,
        "the mark of an operation not live",
    )?;
    same(
        &t.read("b")?["p"],
        &old,
        "the data of an operation not live",
    )?;
    same(
        &t.read("c")?["p"],
        &new,
        "the data of a committed operation",
    )?;
    same(
        &t.table("a")?.access,
        &Access::Overwriting(live),
        "the mark of the live operation",
    )?;
    t.s()?.prepare(live)?;
    t.s()?.commit(live)?;
    t.s()?.forget(live)?;
    same(&t.read("a")?["p"], &new, "the data of the live operation")
}
