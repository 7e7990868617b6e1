//! Writing objects from sources that fail, and reading many pieces at once.

use std::sync::Arc;

use holdfast_broker::{Calls, Context, ErrorClass, MemoryBroker, Record, Request};
use holdfast_repository::plan::{Content, FileNo, Limits, Plan, Planner};
use holdfast_repository::{
    ContentHash, Error, ErrorKind, MemberRead, MemberSource, ObjectKind, PieceEvent, Presence,
    Repository, Visit, WantedPiece,
};

use crate::harness::*;

fn plan(files: &[Vec<u8>]) -> Plan {
    let presence = Presence::default();
    let mut planner = Planner::new(&presence, Default::default(), Limits::default()).unwrap();
    for (number, bytes) in files.iter().enumerate() {
        let file = planner.add(0, &Content::of(bytes)).unwrap();
        assert_eq!(file, FileNo(number as u32));
    }
    planner.finish().unwrap()
}

struct Failing(ErrorClass);

impl MemberSource for Failing {
    fn read(&self, _: &MemberRead, visit: &mut Visit<'_>) -> Result<(), holdfast_broker::Error> {
        visit(b"x")?;
        Err(holdfast_broker::Error::new(self.0, "bad sector"))
    }
}

#[test]
fn a_source_that_differs_from_the_plan_is_blamed_and_nothing_becomes_visible() {
    let (repository, broker) = in_memory();
    let ctx = Context::new();
    let before = paths(&broker);
    let whole = noise(9, 1 << 20);
    let good = vec![b"first".to_vec(), b"second".to_vec(), whole.clone()];
    let plan = plan(&good);
    let swap = |index: usize, bytes: Vec<u8>| {
        let mut files = good.clone();
        files[index] = bytes;
        Files(files)
    };
    let mut flipped = whole.clone();
    flipped[77] ^= 1;
    let put = |kind: ObjectKind, source: &dyn MemberSource| -> Error {
        let object = plan
            .objects
            .iter()
            .find(|object| object.key.kind() == kind)
            .unwrap();
        let error = repository.put_object(&ctx, object, source).unwrap_err();
        assert_eq!(paths(&broker), before, "{error}");
        error
    };
    let error = put(ObjectKind::Pack, &swap(1, b"sEcond".to_vec()));
    assert_eq!(error.kind(), ErrorKind::MemberMismatch);
    let fault = error.member().unwrap();
    assert_eq!(
        (fault.index, fault.found),
        (1, Some(ContentHash::of(b"sEcond")))
    );
    assert_eq!(fault.expected, ContentHash::of(b"second"));

    let error = put(ObjectKind::Whole, &swap(2, flipped.clone()));
    assert_eq!(error.kind(), ErrorKind::MemberMismatch);
    assert_eq!(
        error.member().unwrap().found,
        Some(ContentHash::of(&flipped))
    );

    let error = put(ObjectKind::Pack, &swap(0, b"fi".to_vec()));
    assert_eq!(error.kind(), ErrorKind::MemberUnreadable);
    assert_eq!(error.member().unwrap().index, 0);

    let error = put(ObjectKind::Whole, &Failing(ErrorClass::Retry));
    assert_eq!(error.kind(), ErrorKind::MemberUnreadable);
    assert!(error.to_string().contains("bad sector"), "{error}");
    let error = put(ObjectKind::Whole, &Failing(ErrorClass::Cancelled));
    assert_eq!(error.kind(), ErrorKind::Remote(ErrorClass::Cancelled));
}

struct Long;

impl MemberSource for Long {
    fn read(
        &self,
        member: &MemberRead,
        visit: &mut Visit<'_>,
    ) -> Result<(), holdfast_broker::Error> {
        visit(&vec![0; member.len as usize + 1])
    }
}

struct Short;

impl MemberSource for Short {
    fn read(
        &self,
        member: &MemberRead,
        visit: &mut Visit<'_>,
    ) -> Result<(), holdfast_broker::Error> {
        visit(&vec![0; member.len as usize - 1])
    }
}

#[test]
fn a_source_that_gives_too_much_or_too_little_is_blamed() {
    let (repository, broker) = in_memory();
    let plan = plan(&[b"first".to_vec()]);
    for source in [&Long as &dyn MemberSource, &Short] {
        let put = repository.put_object(&Context::new(), &plan.objects[0], source);
        let error = put.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MemberMismatch);
        assert_eq!(error.member().unwrap().found, None);
    }
    assert_eq!(paths(&broker), ["__repo_info"]);
}

#[test]
fn a_plan_that_contradicts_itself_is_refused() {
    let (repository, broker) = in_memory();
    let good = plan(&[b"first".to_vec()]).objects.remove(0);
    let mut longer = good.clone();
    longer.len += 1;
    let mut renamed = good.clone();
    renamed.key = holdfast_repository::ObjectKey::new(ObjectKind::Pack, ContentHash::of(b"x"));
    let mut other = good.clone();
    other.key = holdfast_repository::ObjectKey::new(ObjectKind::Whole, *good.key.hash());
    for bad in [longer, renamed, other] {
        let put = repository.put_object(&Context::new(), &bad, &Files(vec![b"first".to_vec()]));
        assert_eq!(put.unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert_eq!(paths(&broker), ["__repo_info"]);
}

fn pieces_of(plan: &Plan, files: &[Vec<u8>]) -> Vec<WantedPiece> {
    let placements = plan.placements.iter().zip(files);
    placements
        .map(|(placement, bytes)| WantedPiece {
            offset: placement.pieces[0].offset,
            len: placement.pieces[0].len,
            hash: ContentHash::of(bytes),
        })
        .collect()
}

fn read_all(
    repository: &Repository,
    plan: &Plan,
    pieces: &[WantedPiece],
) -> Result<Vec<Vec<u8>>, Error> {
    let mut read = vec![Vec::new(); pieces.len()];
    let mut proved = 0;
    let key = plan.objects[0].key;
    repository.read_pieces(&Context::new(), &key, pieces, &mut |event| {
        match event {
            PieceEvent::Bytes { index, bytes } => read[index].extend_from_slice(bytes),
            PieceEvent::Proved { index } => {
                assert_eq!(index, proved);
                proved += 1;
            }
        }
        Ok(())
    })?;
    assert_eq!(proved, pieces.len());
    Ok(read)
}

#[test]
fn many_pieces_of_a_pack_come_by_few_requests() {
    let broker = MemoryBroker::new();
    let record = Arc::new(Record::new(broker.clone(), Calls::Counted));
    let recorder = record.recorder();
    let repository = open(record);
    let files: Vec<_> = (0..40_u8)
        .map(|seed| noise(seed, 10_000 + usize::from(seed)))
        .collect();
    let plan = plan(&files);
    assert_eq!(plan.objects.len(), 1);
    repository
        .put_object(&Context::new(), &plan.objects[0], &Files(files.clone()))
        .unwrap();
    let pieces = pieces_of(&plan, &files);
    let gets = |pieces: &[WantedPiece], expected: &[Vec<u8>]| {
        let before = recorder.figures().requests(Request::Get);
        assert_eq!(read_all(&repository, &plan, pieces).unwrap(), expected);
        recorder.figures().requests(Request::Get) - before
    };
    assert_eq!(gets(&pieces, &files), 1);
    assert_eq!(gets(&[], &[]), 0);
    // A small gap is read over, a large one is not.
    let (near, near_files) = ([pieces[0], pieces[3]], [files[0].clone(), files[3].clone()]);
    assert_eq!(gets(&near, &near_files), 1);
    let (far, far_files) = (
        [pieces[0], pieces[30]],
        [files[0].clone(), files[30].clone()],
    );
    assert_eq!(gets(&far, &far_files), 2);

    let backwards = [pieces[1], pieces[0]];
    let error = read_all(&repository, &plan, &backwards).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let name = object(&plan.objects[0].key.to_string());
    broker
        .damage(&name, |bytes| bytes[pieces[7].offset as usize] ^= 1)
        .unwrap();
    let error = read_all(&repository, &plan, &pieces).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(
        error.message().contains(&plan.objects[0].key.to_string()),
        "{error}"
    );
    broker
        .damage(&name, |bytes| bytes.truncate(20_000))
        .unwrap();
    let error = read_all(&repository, &plan, &pieces[..5]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
}

#[test]
fn an_error_of_the_receiver_ends_a_read_and_comes_back() {
    let (repository, _) = in_memory();
    let files = vec![b"first".to_vec(), b"second".to_vec()];
    let plan = plan(&files);
    let ctx = Context::new();
    repository
        .put_object(&ctx, &plan.objects[0], &Files(files.clone()))
        .unwrap();
    let pieces = pieces_of(&plan, &files);
    let mut events = 0;
    let read = repository.read_pieces(&ctx, &plan.objects[0].key, &pieces, &mut |_| {
        events += 1;
        Err(holdfast_broker::Error::new(ErrorClass::Full, "no space"))
    });
    assert_eq!(
        read.unwrap_err().kind(),
        ErrorKind::Remote(ErrorClass::Full)
    );
    assert_eq!(events, 1);
}
