//! What of an event leaves the node: values of users' data and secrets never do, names only where
//! they may.

use holdfast_engine::event::{ObjectV1, RepositoryCreated};
use holdfast_engine::story::without_values;
use holdfast_engine::{Event, Views};
use holdfast_sql::secret::{mask_location, mask_text};

use super::names::{Name, Names};

/// What a text of an event is.
enum Text {
    /// The name of something that users named.
    Named(Name),
    /// Where a repository lies.
    Location,
    /// Words for people, with anything in them.
    Words,
}

/// An event without what must not leave.
pub(crate) struct Redacted {
    pub(crate) event: Event,
    /// Whether what was taken out could be guessed by trying, with the hash of the whole event at
    /// hand: names, passwords and values can, sealed bytes cannot.
    pub(crate) guessable: bool,
}

/// Takes out of events what must not leave the node.
#[derive(Debug, Default)]
pub(crate) struct Redactor {
    /// The pseudonyms, where names must not leave either.
    names: Option<Names>,
}

impl Redactor {
    /// One that takes secrets out and leaves names.
    pub(crate) fn secrets() -> Self {
        Self::default()
    }

    /// One that also replaces names. It must [`learn`](Redactor::learn) from every event first.
    pub(crate) fn names() -> Self {
        Self {
            names: Some(Names::default()),
        }
    }

    /// Whether names are replaced.
    pub(crate) fn anonymizes(&self) -> bool {
        self.names.is_some()
    }

    /// Takes in the names of an event, so that they are known in every message.
    pub(crate) fn learn(&mut self, event: &Event) {
        let Some(names) = &mut self.names else { return };
        texts(&mut event.clone(), &mut |kind, text| match kind {
            Text::Named(name) => names.learn(name, text),
            Text::Location => names.learn_location(text),
            Text::Words => {}
        });
    }

    /// Takes in the names that a state knows: of records that are not at hand.
    pub(crate) fn learn_state(&mut self, views: &Views) {
        let Some(names) = &mut self.names else { return };
        for repository in views.repositories.values() {
            names.learn(Name::Repository, &repository.name);
            names.learn_location(&repository.location);
        }
        for job in views.jobs.values().map(|view| view.common()) {
            names.learn(Name::Database, &job.database);
            names.learn(Name::Label, &job.label);
            names.learn(Name::Repository, &job.repository);
            for object in &job.objects {
                names.learn(Name::Table, &object.table);
            }
        }
    }

    /// The event as it may leave the node; `None` where it may as it is.
    pub(crate) fn redact(&mut self, event: &Event) -> Option<Redacted> {
        let mut redacted = event.clone();
        texts(&mut redacted, &mut |kind, text| {
            let left = match (&mut self.names, kind) {
                (None, Text::Named(_)) => return,
                (None, Text::Location) => mask_location(text),
                (None, Text::Words) => shown(text),
                (Some(names), Text::Named(name)) => names.pseudonym(name, text),
                (Some(names), Text::Location) => names.location(text),
                (Some(names), Text::Words) => names.words(&shown(text)),
            };
            *text = left;
        });
        let guessable = redacted != *event;
        if let Event::RepositoryCreated(RepositoryCreated { properties, .. }) = &mut redacted {
            properties.clear();
        }
        (redacted != *event).then_some(Redacted {
            event: redacted,
            guessable,
        })
    }

    /// Words that stand beside the events, such as what was found at the end of a log.
    pub(crate) fn words(&mut self, text: &str) -> String {
        match &mut self.names {
            Some(names) => names.words(&shown(text)),
            None => shown(text),
        }
    }
}

/// Words without values of users' data and without secrets.
fn shown(text: &str) -> String {
    mask_text(&without_values(text)).into_owned()
}

/// Visits every text of an event. An event that is added must say here what its texts are.
fn texts(event: &mut Event, visit: &mut dyn FnMut(Text, &mut String)) {
    use Name::{Broker, Database, Label, Repository};
    match event {
        // The cluster's id and the names of markers are made of random numbers, ids and hashes.
        Event::EngineStarted(_)
        | Event::HistoryArchived(_)
        | Event::RepositoryDropped(_)
        | Event::StateEntered(_)
        | Event::TaskStarted(_)
        | Event::TaskFinished(_)
        | Event::WorkerFenced(_)
        | Event::TaskStopped(_)
        | Event::BackupPinned(_)
        | Event::UploadPlanned(_)
        | Event::BackupMetaSaved(_)
        | Event::BackupCommitStarted(_)
        | Event::DownloadPlanned(_)
        | Event::RestoreCommitStarted(_)
        | Event::CleanupStarted(_)
        | Event::BackupFinished(_)
        | Event::RestoreFinished(_)
        | Event::JobCancelled(_) => {}
        Event::RepositoryCreated(e) => {
            visit(Text::Named(Repository), &mut e.name);
            visit(Text::Location, &mut e.location);
            if let Some(broker) = &mut e.broker {
                visit(Text::Named(Broker), broker);
            }
        }
        Event::BackupSubmitted(e) => {
            visit(Text::Named(Database), &mut e.database);
            visit(Text::Named(Label), &mut e.label);
            visit(Text::Named(Repository), &mut e.repository_name);
            objects(&mut e.objects, visit);
        }
        Event::RestoreSubmitted(e) => {
            visit(Text::Named(Database), &mut e.database);
            if let Some(database) = &mut e.source_database {
                visit(Text::Named(Database), database);
            }
            visit(Text::Named(Label), &mut e.label);
            visit(Text::Named(Repository), &mut e.repository_name);
            objects(&mut e.objects, visit);
            objects(&mut e.existed, visit);
        }
        Event::RestoreMetaPrepared(e) => {
            objects(&mut e.objects, visit);
            objects(&mut e.drops, visit);
            if let Some(note) = &mut e.note {
                visit(Text::Words, note);
            }
        }
        Event::TaskFailed(e) => visit(Text::Words, &mut e.message),
        Event::PinLost(e) => visit(Text::Words, &mut e.message),
        Event::JobStopping(e) => visit(Text::Words, &mut e.message),
        Event::JobReleased(e) => visit(Text::Words, &mut e.leftovers),
    }
}

fn objects(objects: &mut [ObjectV1], visit: &mut dyn FnMut(Text, &mut String)) {
    for object in objects {
        visit(Text::Named(Name::Table), &mut object.table);
        if let Some(alias) = &mut object.alias {
            visit(Text::Named(Name::Table), alias);
        }
        for partition in &mut object.partitions {
            visit(Text::Named(Name::Partition), partition);
        }
    }
}
