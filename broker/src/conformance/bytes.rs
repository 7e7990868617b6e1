//! Checks of bytes: what is put is what is got, whole or not at all.

use super::{Check, Finding, Interrupted, Subject, class_of, pattern, same, truth};
use crate::{Atomicity, BytesSource, Error, ErrorClass, PutMode, PutOutcome, Source};

pub(super) const CHECKS: &[Check] = &[
    ("objects-of-every-size", objects_of_every_size),
    ("pieces-of-every-size", pieces_of_every_size),
    ("create-if-absent", create_if_absent),
    ("overwrite", overwrite),
    ("range-edges", range_edges),
    ("whole-reads-are-bounded", whole_reads_are_bounded),
    ("delete-twice", delete_twice),
    ("visitor-errors", visitor_errors),
    ("source-errors", source_errors),
    ("source-lengths", source_lengths),
    ("put-again-after-failure", put_again_after_failure),
    ("cancel", cancel),
    ("settle", settle),
];

const MIB: usize = 1 << 20;

fn objects_of_every_size(subject: &Subject) -> Result<(), Finding> {
    for len in [0, 1, 4095, 4096, 65_537, MIB, 9 * MIB + 1] {
        let name = subject.name(&format!("size/{len}"))?;
        let bytes = pattern(len, len as u64);
        subject.create(&name, &bytes)?;
        subject.expect(&name, &bytes)?;
    }
    Ok(())
}

fn pieces_of_every_size(subject: &Subject) -> Result<(), Finding> {
    let bytes = pattern(3 * MIB + 77, 1);
    for piece_bytes in [1000, 65_536, 300_000, 2 * MIB + 1] {
        let name = subject.name(&format!("pieces-{piece_bytes}"))?;
        let source = Interrupted {
            bytes: &bytes,
            piece_bytes,
            then: &|_| Ok(()),
        };
        let put = subject
            .broker
            .put(&subject.ctx, &name, &source, PutMode::CreateIfAbsent);
        same(
            "put",
            &put.map_err(|error| error.to_string()),
            &Ok(PutOutcome::Created),
        )?;
        subject.expect(&name, &bytes)?;
    }
    Ok(())
}

fn create_if_absent(subject: &Subject) -> Result<(), Finding> {
    let name = subject.name("a/b")?;
    subject.create(&name, b"first")?;
    for bytes in [b"other".as_slice(), b"a longer one", b"", b"first"] {
        let outcome = subject.put(&name, bytes, PutMode::CreateIfAbsent)?;
        same("put where one is", &outcome, &PutOutcome::Exists)?;
        subject.expect(&name, b"first")?;
    }
    Ok(())
}

fn overwrite(subject: &Subject) -> Result<(), Finding> {
    let name = subject.name("a/b")?;
    for bytes in [b"first".as_slice(), b"second, and longer", b"third", b""] {
        same(
            "overwrite",
            &subject.put(&name, bytes, PutMode::Overwrite)?,
            &PutOutcome::Created,
        )?;
        subject.expect(&name, bytes)?;
    }
    Ok(())
}

fn range_edges(subject: &Subject) -> Result<(), Finding> {
    let len = 5 * MIB + 3;
    let bytes = pattern(len, 2);
    let name = subject.name("ranged")?;
    subject.create(&name, &bytes)?;
    let ranges = [
        0..0,
        0..1,
        1..2,
        len - 1..len,
        len..len,
        0..len,
        MIB - 1..MIB + 1,
        MIB..2 * MIB,
        17..4 * MIB + 17,
        3..len - 3,
    ];
    for range in ranges {
        let got = subject
            .range(&name, range.start as u64..range.end as u64)
            .map_err(|error| error.to_string())?;
        truth(got == bytes[range.clone()], || {
            format!("range {range:?} gave {} other bytes", got.len())
        })?;
    }
    let len = len as u64;
    for range in [
        0..len + 1,
        len..len + 1,
        len + 1..len + 1,
        len + 1..len + 2,
        0..u64::MAX,
    ] {
        class_of(
            &format!("range {range:?} of {len} bytes"),
            subject.range(&name, range),
            ErrorClass::Corrupt,
        )?;
    }
    #[expect(clippy::reversed_empty_ranges, reason = "the wrong range is the point")]
    let reversed = 2..1;
    class_of(
        "a reversed range",
        subject.range(&name, reversed),
        ErrorClass::Invalid,
    )?;
    class_of(
        "an empty range of nothing",
        subject.range(&subject.name("nothing")?, 0..0),
        ErrorClass::Missing,
    )
}

fn whole_reads_are_bounded(subject: &Subject) -> Result<(), Finding> {
    let name = subject.name("small")?;
    subject.create(&name, b"12345")?;
    let get = |max_len| subject.broker.get(&subject.ctx, &name, max_len);
    class_of("get of 5 bytes bounded by 4", get(4), ErrorClass::Invalid)?;
    same(
        "get of 5 bytes bounded by 5",
        &get(5).map_err(|e| e.to_string()),
        &Ok(b"12345".to_vec()),
    )?;
    let nothing = subject.name("nothing")?;
    class_of(
        "get of nothing",
        subject.broker.get(&subject.ctx, &nothing, 5),
        ErrorClass::Missing,
    )
}

fn delete_twice(subject: &Subject) -> Result<(), Finding> {
    let (name, beside) = (subject.name("folder/a")?, subject.name("folder/b")?);
    subject.create(&name, b"1")?;
    subject.create(&beside, b"2")?;
    for _ in 0..2 {
        subject
            .broker
            .delete(&subject.ctx, &name)
            .map_err(|error| format!("delete: {error}"))?;
        subject.expect_nothing(&name)?;
    }
    subject.expect(&beside, b"2")?;
    subject.create(&name, b"3")?;
    subject.expect(&name, b"3")?;
    for name in [
        &name,
        &beside,
        &subject.name("never/was/there")?,
        &subject.name("folder/a/below")?,
    ] {
        subject
            .broker
            .delete(&subject.ctx, name)
            .map_err(|error| format!("delete: {error}"))?;
    }
    same("the rest", &subject.list(&subject.prefix, 10)?, &Vec::new())
}

fn visitor_errors(subject: &Subject) -> Result<(), Finding> {
    let name = subject.name("visited")?;
    subject.create(&name, &pattern(3 * MIB, 3))?;
    let mut calls = 0;
    let got = subject
        .broker
        .get_range(&subject.ctx, &name, 0..3 * MIB as u64, &mut |_| {
            calls += 1;
            Err(Error::new(ErrorClass::Full, "the visitor has no room"))
        });
    let error = got.err().ok_or("the visitor's error was swallowed")?;
    same("the visitor's class", &error.class(), &ErrorClass::Full)?;
    truth(error.message().contains("no room"), || {
        format!("the visitor's words are lost: {error}")
    })?;
    same("calls after the visitor's error", &calls, &1)
}

fn source_errors(subject: &Subject) -> Result<(), Finding> {
    let bytes = pattern(3 * MIB, 4);
    for (n, stop) in [1, MIB, 3 * MIB].into_iter().enumerate() {
        for mode in [PutMode::CreateIfAbsent, PutMode::Overwrite] {
            let name = subject.name(&format!("failing-{n}-{mode:?}"))?;
            let then = |given: usize| match given >= stop {
                true => Err(Error::new(ErrorClass::Corrupt, "the source changed")),
                false => Ok(()),
            };
            let source = Interrupted {
                bytes: &bytes,
                piece_bytes: 100_000,
                then: &then,
            };
            let put = subject.broker.put(&subject.ctx, &name, &source, mode);
            class_of("put of a failing source", put, ErrorClass::Corrupt)?;
            expect_nothing_torn(subject, &name)?;
        }
    }
    Ok(())
}

/// After a put that failed on its own side nothing is visible, where the remote can promise that.
fn expect_nothing_torn(subject: &Subject, name: &crate::ObjectName) -> Result<(), Finding> {
    match subject.broker.describe().atomic_put {
        Atomicity::Atomic => subject.expect_nothing(name),
        Atomicity::MayTear => Ok(()),
    }
}

/// A source that lies about its length.
struct Mislabelled(Vec<u8>, u64);

impl Source for Mislabelled {
    fn len(&self) -> u64 {
        self.1
    }

    fn read(&self, visit: &mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        visit(&self.0)
    }
}

fn source_lengths(subject: &Subject) -> Result<(), Finding> {
    for (given, told) in [(10, 11), (10, 9), (10, 0), (MIB, 2 * MIB as u64)] {
        let name = subject.name(&format!("length-{given}-{told}"))?;
        let source = Mislabelled(pattern(given, 5), told);
        let put = subject
            .broker
            .put(&subject.ctx, &name, &source, PutMode::CreateIfAbsent);
        class_of(
            &format!("put of {given} bytes told to be {told}"),
            put,
            ErrorClass::Corrupt,
        )?;
        expect_nothing_torn(subject, &name)?;
    }
    Ok(())
}

fn put_again_after_failure(subject: &Subject) -> Result<(), Finding> {
    let name = subject.name("again")?;
    let bytes = pattern(2 * MIB, 6);
    let then = |_| Err(Error::new(ErrorClass::Denied, "no"));
    let source = Interrupted {
        bytes: &bytes,
        piece_bytes: MIB,
        then: &then,
    };
    let put = subject
        .broker
        .put(&subject.ctx, &name, &source, PutMode::Overwrite);
    class_of("put of a failing source", put, ErrorClass::Denied)?;
    same(
        "put again",
        &subject.put(&name, &bytes, PutMode::Overwrite)?,
        &PutOutcome::Created,
    )?;
    subject.expect(&name, &bytes)?;
    // A failed overwrite leaves what was there.
    let put = subject
        .broker
        .put(&subject.ctx, &name, &source, PutMode::Overwrite);
    class_of("overwrite by a failing source", put, ErrorClass::Denied)?;
    match subject.broker.describe().atomic_put {
        Atomicity::Atomic => subject.expect(&name, &bytes),
        Atomicity::MayTear => Ok(()),
    }
}

fn cancel(subject: &Subject) -> Result<(), Finding> {
    let bytes = pattern(4 * MIB, 7);
    let name = subject.name("cancelled")?;
    let ctx = crate::Context::new();
    let then = |given: usize| {
        if given == 2 * MIB {
            ctx.cancel_token().cancel("half is enough");
        }
        Ok(())
    };
    let source = Interrupted {
        bytes: &bytes,
        piece_bytes: MIB,
        then: &then,
    };
    let put = subject
        .broker
        .put(&ctx, &name, &source, PutMode::CreateIfAbsent);
    class_of("a put cancelled half-way", put, ErrorClass::Cancelled)?;
    expect_nothing_torn(subject, &name)?;

    subject.put(&name, &bytes, PutMode::Overwrite)?;
    let reading = crate::Context::new();
    let mut got = 0;
    let read = subject
        .broker
        .get_range(&reading, &name, 0..bytes.len() as u64, &mut |piece| {
            got += piece.len();
            reading.cancel_token().cancel("one piece is enough");
            Ok(())
        });
    // One piece may be all there is; a broker that hands over more must look at the context in
    // between.
    truth(read.is_err() || got == bytes.len(), || {
        format!("a cancelled get ended well after {got} bytes")
    })?;

    let broker = &subject.broker;
    class_of(
        "put",
        broker.put(&ctx, &name, &BytesSource::from("x"), PutMode::Overwrite),
        ErrorClass::Cancelled,
    )?;
    class_of(
        "get_range",
        broker.get_range(&ctx, &name, 0..1, &mut |_| Ok(())),
        ErrorClass::Cancelled,
    )?;
    class_of(
        "get",
        broker.get(&ctx, &name, u64::MAX),
        ErrorClass::Cancelled,
    )?;
    class_of("stat", broker.stat(&ctx, &name), ErrorClass::Cancelled)?;
    class_of(
        "list",
        broker.list(&ctx, "", None, 1),
        ErrorClass::Cancelled,
    )?;
    class_of("delete", broker.delete(&ctx, &name), ErrorClass::Cancelled)?;
    subject.expect(&name, &bytes)
}

fn settle(subject: &Subject) -> Result<(), Finding> {
    let names = ["a/1", "a/2", "b/1", "a/3"].map(|text| subject.name(text));
    let names: Vec<_> = names.into_iter().collect::<Result<_, _>>()?;
    for name in &names {
        subject.create(name, b"x")?;
    }
    for names in [&names[..], &names[..1], &[]] {
        subject
            .broker
            .settle(&subject.ctx, names)
            .map_err(|error| format!("settle: {error}"))?;
    }
    names.iter().try_for_each(|name| subject.expect(name, b"x"))
}
