//! Which records a command shows.

use holdfast_engine::Event;
use holdfast_journal::{Event as _, Record, Seq};

use crate::cli::FilterArgs;
use crate::exit::Failure;

/// What a record must be to be shown. Each part that is given must agree.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    args: FilterArgs,
}

impl Filter {
    /// The filter that the arguments ask for.
    ///
    /// # Errors
    /// A usage error where no record could ever agree.
    pub(crate) fn new(args: &FilterArgs) -> Result<Self, Failure> {
        if let (Some(from), Some(to)) = (args.from, args.to)
            && from > to
        {
            return Err(Failure::usage(format!(
                "--from {from} lies behind --to {to}: nothing is between them"
            )));
        }
        if let (Some(since), Some(until)) = (args.since, args.until)
            && since > until
        {
            return Err(Failure::usage(
                "--since is later than --until: nothing is between them",
            ));
        }
        Ok(Self { args: args.clone() })
    }

    /// The first record that may agree.
    pub(crate) fn from(&self) -> Seq {
        self.args.from.map_or(Seq::FIRST, Seq)
    }

    /// The last record that may agree.
    pub(crate) fn to(&self) -> Seq {
        self.args.to.map_or(Seq(u64::MAX), Seq)
    }

    /// Whether a record agrees.
    pub(crate) fn takes(&self, record: &Record<Event>) -> bool {
        let FilterArgs {
            job,
            kind,
            since,
            until,
            ..
        } = &self.args;
        let written = Event::kinds()
            .iter()
            .find(|(number, _)| *number == record.kind.get())
            .map(|(_, name)| *name);
        let named = |name: &String| {
            name.eq_ignore_ascii_case(record.event.kind_name())
                || written.is_some_and(|written| name.eq_ignore_ascii_case(written))
        };
        (self.from()..=self.to()).contains(&record.seq)
            && (job.is_empty() || job.contains(&record.stream.get()))
            && (kind.is_empty() || kind.iter().any(named))
            && since.is_none_or(|since| record.at_ms >= since)
            && until.is_none_or(|until| record.at_ms <= until)
    }

    /// Whether anything is asked for at all.
    pub(crate) fn is_narrow(&self) -> bool {
        let FilterArgs {
            job,
            kind,
            since,
            until,
            from,
            to,
        } = &self.args;
        !job.is_empty()
            || !kind.is_empty()
            || [since, until, from, to].iter().any(|part| part.is_some())
    }
}
