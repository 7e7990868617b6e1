//! Proof of what is stored: every byte of every object that snapshots refer to is read and hashed.
//! Owns the findings; repairs nothing and writes nothing.

use std::collections::BTreeMap;
use std::fmt;

use holdfast_broker::{Context, ErrorClass};

use crate::limits::MAX_OBJECT_LEN;
use crate::manifest::{NameGuard, Part, PartFile, PartRef, Root};
use crate::names::{Layout, PART_PREFIX};
use crate::plan::Location;
use crate::read::ObjectProof;
use crate::{
    ContentHash, Error, ErrorKind, LabelEntry, MarkerRef, ObjectEntry, ObjectKey, ObjectKind,
    Repository,
};

/// Something that is not as it should be, and all that suffers from it. A damaged object gives one
/// finding for each file that has bytes in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The snapshot's label.
    pub label: String,
    /// The snapshot's timestamp, where a marker is known.
    pub timestamp: Option<String>,
    /// The table, where one is known.
    pub table: Option<String>,
    /// The partition, where one is known.
    pub partition: Option<String>,
    /// The bucket, where a file is known.
    pub bucket: Option<u32>,
    /// The file's name, where one is known.
    pub file: Option<String>,
    /// The path of the marker, manifest part or data object below the repository's folder.
    pub object: String,
    /// What was found and what was expected.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "snapshot {}", self.label)?;
        for (word, value) in [
            ("timestamp", &self.timestamp),
            ("table", &self.table),
            ("partition", &self.partition),
        ] {
            if let Some(value) = value {
                write!(f, " {word} {value}")?;
            }
        }
        if let Some(bucket) = self.bucket {
            write!(f, " bucket {bucket}")?;
        }
        if let Some(file) = &self.file {
            write!(f, " file {file:?}")?;
        }
        write!(f, " object {}: {}", self.object, self.what)
    }
}

/// How much was proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VerifyReport {
    /// Snapshots looked at.
    pub snapshots: u64,
    /// Manifest parts read.
    pub parts: u64,
    /// Files checked, those of equal content counted each.
    pub files: u64,
    /// Distinct data objects read.
    pub objects: u64,
    /// Bytes of data objects read.
    pub bytes: u64,
    /// Findings.
    pub findings: u64,
}

impl Repository {
    /// Reads every object of all snapshots, or of those of one label, and hands each finding to
    /// `sink`. Each object is read once, however many snapshots share it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where the label bears no snapshot; the remote's failure where it
    /// ends the work. What is damaged or gone is a finding, not an error.
    pub fn verify(
        &self,
        ctx: &Context,
        label: Option<&str>,
        sink: &mut dyn FnMut(Finding),
    ) -> Result<VerifyReport, Error> {
        let mut labels = match label {
            None => self.labels(ctx)?,
            Some(label) => {
                let folder = self.folder(ctx, label)?;
                if folder.markers.is_empty() && folder.problem.is_none() {
                    return Err(Error::not_found(format!("snapshot {label} does not exist")));
                }
                vec![LabelEntry {
                    label: label.to_owned(),
                    snapshots: folder.markers,
                    problem: folder.problem,
                }]
            }
        };
        let mut work = Verification {
            repository: self,
            ctx,
            sink,
            report: VerifyReport::default(),
            objects: BTreeMap::new(),
        };
        for entry in &mut labels {
            if let Some(problem) = entry.problem.take() {
                let finding =
                    Place::label(&entry.label).finding(Layout::label(&entry.label), problem);
                work.tell(finding);
            }
            for marker in &entry.snapshots {
                work.snapshot(&entry.label, marker)?;
            }
        }
        Ok(work.report)
    }
}

/// Where in a snapshot the work is.
#[derive(Clone, Copy)]
struct Place<'a> {
    label: &'a str,
    timestamp: Option<&'a str>,
    table: Option<&'a str>,
    partition: Option<&'a str>,
    bucket: Option<u32>,
    file: Option<&'a str>,
}

impl<'a> Place<'a> {
    fn label(label: &'a str) -> Self {
        Place {
            label,
            timestamp: None,
            table: None,
            partition: None,
            bucket: None,
            file: None,
        }
    }

    fn finding(&self, object: impl Into<String>, what: impl Into<String>) -> Finding {
        Finding {
            label: self.label.to_owned(),
            timestamp: self.timestamp.map(str::to_owned),
            table: self.table.map(str::to_owned),
            partition: self.partition.map(str::to_owned),
            bucket: self.bucket,
            file: self.file.map(str::to_owned),
            object: object.into(),
            what: what.into(),
        }
    }
}

/// What is known of an object after it was read.
enum Judged {
    /// Nothing in it can be relied on.
    Bad(String),
    Whole {
        len: u64,
    },
    Pack {
        len: u64,
        proof: Box<ObjectProof>,
    },
}

struct Verification<'a> {
    repository: &'a Repository,
    ctx: &'a Context,
    sink: &'a mut dyn FnMut(Finding),
    report: VerifyReport,
    objects: BTreeMap<ObjectKey, Judged>,
}

impl Verification<'_> {
    fn tell(&mut self, finding: Finding) {
        self.report.findings += 1;
        (self.sink)(finding);
    }

    fn snapshot(&mut self, label: &str, marker: &MarkerRef) -> Result<(), Error> {
        self.report.snapshots += 1;
        let place = Place {
            timestamp: Some(&marker.timestamp),
            ..Place::label(label)
        };
        let root: Root = match self.repository.root(self.ctx, label, marker) {
            Ok(root) => root,
            Err(error) => {
                let what = finding_text(error)?;
                let object = format!("{}{}", Layout::label(label), marker.file_name());
                self.tell(place.finding(object, what));
                return Ok(());
            }
        };
        for table in &root.tables {
            for partition in &table.partitions {
                let place = Place {
                    table: Some(&table.name),
                    partition: Some(&partition.name),
                    ..place
                };
                self.partition(place, &partition.parts)?;
            }
        }
        Ok(())
    }

    fn partition(&mut self, place: Place<'_>, parts: &[PartRef]) -> Result<(), Error> {
        let mut names: BTreeMap<u32, NameGuard> = BTreeMap::new();
        for reference in parts {
            let object = format!(
                "{}{PART_PREFIX}{}",
                Layout::label(place.label),
                reference.hash
            );
            let part = match self.repository.part(self.ctx, place.label, reference) {
                Ok(part) => part,
                Err(error) => {
                    let what = finding_text(error)?;
                    self.tell(place.finding(object, what));
                    continue;
                }
            };
            self.report.parts += 1;
            for entry in &part.objects {
                self.judge(entry)?;
            }
            for tablet in &part.tablets {
                let guard = names.entry(tablet.bucket).or_default();
                for file in &tablet.files {
                    let place = Place {
                        bucket: Some(tablet.bucket),
                        file: Some(&file.name),
                        ..place
                    };
                    // Within one part the names were checked when it was read.
                    if parts.len() > 1
                        && let Err(error) = guard.admit(&file.name)
                    {
                        self.tell(place.finding(object.as_str(), error.message()));
                    }
                    self.file(place, &part, file);
                }
            }
        }
        Ok(())
    }

    /// Reads an object that was not read before.
    fn judge(&mut self, entry: &ObjectEntry) -> Result<(), Error> {
        if self.objects.contains_key(&entry.key) {
            return Ok(());
        }
        let judged = match self.read(entry) {
            Ok(judged) => judged,
            Err(error) => Judged::Bad(finding_text(error)?),
        };
        self.objects.insert(entry.key, judged);
        Ok(())
    }

    fn read(&mut self, entry: &ObjectEntry) -> Result<Judged, Error> {
        let key = &entry.key;
        let name = self.repository.name(key)?;
        let stat = self.repository.broker().stat(self.ctx, &name);
        let found = stat.map_err(|cause| Error::remote(format!("looking for {name}"), cause))?;
        let Some(info) = found else {
            return Err(Error::not_found(format!("object {key} does not exist")));
        };
        // Judged by what is there, since another manifest may rightly expect another length of it.
        let len = info.len;
        let wrong = || {
            let expected = entry.len;
            Error::damaged(format!("object {key} has {len} bytes, expected {expected}"))
        };
        if len > MAX_OBJECT_LEN {
            return Err(wrong());
        }
        self.report.objects += 1;
        self.report.bytes += len;
        let actual = ObjectEntry { key: *key, len };
        let proof = match self.repository.prove_object(self.ctx, &actual) {
            Err(error) if error.kind() == ErrorKind::Damaged && len != entry.len => {
                return Err(wrong());
            }
            other => other?,
        };
        Ok(match key.kind() {
            ObjectKind::Whole => Judged::Whole { len },
            ObjectKind::Pack => Judged::Pack {
                len,
                proof: Box::new(proof),
            },
        })
    }

    fn file(&mut self, place: Place<'_>, part: &Part, file: &PartFile) {
        self.report.files += 1;
        for (hash, piece) in file.hashed_pieces() {
            let Some(entry) = part.objects.get(piece.object as usize) else {
                continue;
            };
            let judged = self.objects.get(&entry.key);
            if let Some(what) = judged.and_then(|judged| fault(judged, entry, &hash, &piece)) {
                self.tell(place.finding(entry.key.to_string(), what));
            }
        }
    }
}

/// What is wrong with one piece of a file.
fn fault(
    judged: &Judged,
    entry: &ObjectEntry,
    hash: &ContentHash,
    piece: &Location,
) -> Option<String> {
    let (len, proof) = match judged {
        Judged::Bad(what) => return Some(what.clone()),
        Judged::Whole { len } => (*len, None),
        Judged::Pack { len, proof } => (*len, Some(proof)),
    };
    if len != entry.len {
        return Some(format!(
            "the object has {len} bytes, expected {}",
            entry.len
        ));
    }
    let proof = proof?;
    let member = proof
        .header
        .as_ref()
        .and_then(|header| header.member_at(piece.offset));
    if member.is_none_or(|member| member.len != piece.len || member.hash != *hash) {
        return Some(format!(
            "the pack has no member of {} bytes at {} with hash {hash}",
            piece.len, piece.offset
        ));
    }
    let bad = proof.bad.iter().find(|(offset, _)| *offset == piece.offset);
    bad.map(|(_, found)| {
        format!(
            "{} bytes at {} hash to {found}, expected {hash}",
            piece.len, piece.offset
        )
    })
}

/// What an error tells of the stored bytes; an error that tells nothing of them is passed on.
fn finding_text(error: Error) -> Result<String, Error> {
    match error.kind() {
        ErrorKind::Damaged
        | ErrorKind::NotFound
        | ErrorKind::NewerFormat
        | ErrorKind::Invalid
        | ErrorKind::Remote(ErrorClass::Invalid) => Ok(error.to_string()),
        _ => Err(error),
    }
}
