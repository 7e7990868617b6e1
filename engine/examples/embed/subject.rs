//! The example's node as a subject of the simulator: a folder of tables in redb, and a user's hands on them.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_engine::simulation::Subject;
use holdfast_storage::conformance::{Files, Harness};
use holdfast_storage::{Error, ErrorKind, Storage};
use parking_lot::Mutex;

use crate::pocket::{Form, Pocket};

/// One node's tables: a folder, and the store as the running process has it open.
pub(crate) struct Tables {
    folder: tempfile::TempDir,
    open: Mutex<Option<Arc<Pocket>>>,
}

impl Tables {
    /// Empty tables in a folder of their own, which goes with them.
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            open: Mutex::new(None),
        }
    }

    fn node(&self) -> Result<Arc<Pocket>, Error> {
        let open = self.open.lock().clone();
        match open {
            Some(node) => Ok(node),
            // Users load before the first start of the engine.
            None => self.start(),
        }
    }

    fn start(&self) -> Result<Arc<Pocket>, Error> {
        let mut open = self.open.lock();
        // The row store is locked by whoever has it open.
        *open = None;
        let node = Arc::new(Pocket::open(self.folder.path())?);
        *open = Some(Arc::clone(&node));
        Ok(node)
    }
}

impl Harness for Tables {
    fn open(&self) -> Result<Arc<dyn Storage>, Error> {
        Ok(self.start()?)
    }

    fn load(&self, db: &str, table: &str, partition: &str, files: &Files) -> Result<(), Error> {
        let node = self.node()?;
        match node.create_table(db, table, Form::Loose) {
            Err(e) if e.kind() != ErrorKind::Exists => return Err(e),
            _ => {}
        }
        let rows = files
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
        node.insert(db, table, partition, rows)
    }

    fn read(&self, db: &str, table: &str) -> Result<BTreeMap<String, Files>, Error> {
        self.node()?.scan(db, table)
    }

    fn drop_table(&self, db: &str, table: &str) -> Result<(), Error> {
        self.node()?.drop_table(db, table)
    }
}

/// Nothing more than the conformance suite's harness is needed.
impl Subject for Tables {}
