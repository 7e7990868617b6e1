//! Makes the snapshot visible: manifest parts, a last look at what is condemned, and then the marker.

use holdfast_repository::manifest::{EncodedPart, Marker, PartRef};
use holdfast_repository::{ErrorKind, MarkerOutcome, ObjectEntry, ObjectKey, Repository};

use super::records::{MetaHead, Opened, References, open_meta, open_upload_at};
use crate::order::{Failure, Output};
use crate::work::{Task, parallel};

/// Puts the manifest parts, settles what was reused, and looks whether anything we rely on is condemned by now.
pub(crate) fn upload_info(task: &Task<'_>) -> Result<Output, Failure> {
    let plan = open_meta(task)?;
    let (repository, _) = super::repository(task)?;
    put_parts(task, &plan, &repository)?;
    let upload = open_upload_at(task, plan.head.upload)?;
    let reused: Vec<ObjectKey> = upload.list(upload.head.reused)?;
    repository.settle_reused(task.context, &reused)?;
    let condemned = repository.condemned(task.context)?;
    if condemned.is_empty() {
        return Ok(Output::InfoUploaded);
    }
    let objects: Vec<ObjectEntry> = upload.list(upload.head.objects)?;
    match condemned.first_of(objects.iter().map(|object| &object.key)) {
        None => Ok(Output::InfoUploaded),
        // Whoever condemned it looks for our intent next, and takes its list back.
        Some(key) => Err(Failure::retry(format!(
            "object {key}, which this snapshot relies on, is condemned by another writer"
        ))),
    }
}

fn put_parts(
    task: &Task<'_>,
    plan: &Opened<'_, MetaHead>,
    repository: &Repository,
) -> Result<(), Failure> {
    let label = &super::spec(task)?.label;
    let references: References = plan.record(plan.head.references)?;
    let parts: Vec<(u32, PartRef)> = plan.head.parts.range().zip(references).collect();
    task.progress.set_total(parts.len() as u64);
    parallel::each(
        task.context,
        &parts,
        &task.env.movers,
        |(record, reference)| {
            let part = EncodedPart {
                bytes: plan.bytes(*record)?,
                reference: *reference,
            };
            repository.put_part(task.context, label, &part)?;
            task.progress.add(1, reference.len);
            Ok(())
        },
    )
}

/// Puts the marker. Safe to repeat for ever: it deletes nothing, and the read-back decides.
pub(crate) fn put_marker(task: &Task<'_>) -> Result<Output, Failure> {
    let plan: Opened<'_, MetaHead> = open_meta(task)?;
    let marker: Marker = plan.record(plan.head.marker)?;
    let (repository, _) = super::repository(task)?;
    let label = &super::spec(task)?.label;
    let mut put = repository.put_marker(task.context, label, &marker);
    if matches!(&put, Err(error) if error.kind() == ErrorKind::NotFound) {
        // Somebody has deleted parts by hand. No other way leads out of here: the job can neither be
        // cancelled any more nor go back.
        put_parts(task, &plan, &repository)?;
        put = repository.put_marker(task.context, label, &marker);
    }
    match put? {
        MarkerOutcome::Ours => Ok(Output::MarkerDurable),
        MarkerOutcome::Anothers(message) => Ok(Output::MarkerLost { message }),
    }
}
