//! The only writer of the catalog's state: what each event does. It checks that an event can
//! follow, nothing more; whether a change is allowed was decided before the event was appended.

use holdfast_journal::{Projection, Record, Seq};

use super::events::{
    CatalogEvent, Chunk, ChunksAdded, PartitionAdded, PinTableTaken, TableCreated,
};
use super::state::{
    Backend, ChunkState, Database, Freed, ListRef, Partition, PinPartitionState, PinState,
    PinTableState, PinTabletState, State, Table, Tablet, broken,
};
use crate::Error;
use crate::model::{Access, Bounds, PartitionMeta};

impl Projection<CatalogEvent> for State {
    fn apply(&mut self, record: &Record<CatalogEvent>) -> Result<(), holdfast_journal::Error> {
        self.apply_event(record.seq.get(), record.at_ms, &record.event)
            .map_err(|e| {
                holdfast_journal::Error::rejected(format!("catalog event {}: {e}", record.seq))
            })
    }

    fn position(&self) -> Seq {
        Seq(self.position)
    }
}

impl State {
    /// Takes in the event at `seq`, appended at `at_ms`.
    pub(crate) fn apply_event(
        &mut self,
        seq: u64,
        at_ms: u64,
        event: &CatalogEvent,
    ) -> Result<(), Error> {
        match event {
            CatalogEvent::BackendAdded(e) => {
                self.saw_id(e.id);
                let backend = Backend {
                    name: e.name.clone(),
                    replicas: 0,
                    bytes: 0,
                };
                self.backends.insert(e.id, backend);
            }
            CatalogEvent::BackendDropped(e) => self.drop_backend(e.id),
            CatalogEvent::DatabaseCreated(e) => {
                self.saw_id(e.id);
                let database = Database {
                    name: e.name.clone(),
                    tables: Default::default(),
                };
                self.databases.insert(e.id, database);
                self.database_names.insert(e.name.clone(), e.id);
            }
            CatalogEvent::DatabaseDropped(e) => self.drop_database(e.id)?,
            CatalogEvent::TableCreated(e) => self.create_table(e)?,
            CatalogEvent::TableDropped(e) => {
                let held = self.drop_table(e.id)?;
                self.let_go(held)?;
            }
            CatalogEvent::PartitionAdded(e) => self.add_partition(e, at_ms)?,
            CatalogEvent::PartitionDropped(e) => {
                let held = self.drop_partition(e.id)?;
                self.let_go(held)?;
            }
            CatalogEvent::PartitionLoaded(e) => self.publish(e.partition, e.version, at_ms)?,
            CatalogEvent::PartitionTruncated(e) => {
                self.publish(e.partition, e.version, at_ms)?;
                let held = self.empty_partition(e.partition)?;
                self.let_go(held)?;
            }
            CatalogEvent::ChunksAdded(e) => self.add_chunks(e)?,
            CatalogEvent::PinStarted(e) => {
                let pin = PinState {
                    database: e.database,
                    position: seq,
                    tables: Vec::new(),
                    tablets: Default::default(),
                };
                self.pins.insert(e.op, pin);
            }
            CatalogEvent::PinTableTaken(e) => self.pin_table(e)?,
            CatalogEvent::PinReleased(e) => {
                if let Some(pin) = self.pins.remove(&e.op) {
                    self.let_go(pin.tablets.into_values().flat_map(|t| t.chunks).collect())?;
                }
            }
            _ => self.apply_restore(at_ms, event)?,
        }
        self.position = seq;
        Ok(())
    }

    pub(super) fn saw_id(&mut self, id: u64) {
        self.next_id = self.next_id.max(id.saturating_add(1));
    }

    fn drop_backend(&mut self, id: u64) {
        if self.backends.remove(&id).is_some() {
            for tablet in self.tablets.values_mut() {
                tablet.replicas.retain(|r| *r != id);
            }
        }
    }

    pub(super) fn drop_database(&mut self, id: u64) -> Result<(), Error> {
        let database = self
            .databases
            .remove(&id)
            .ok_or_else(|| broken("database", id))?;
        self.database_names.remove(&database.name);
        for table in database.tables.values() {
            let held = self.drop_table(*table)?;
            self.let_go(held)?;
        }
        Ok(())
    }

    fn create_table(&mut self, e: &TableCreated) -> Result<(), Error> {
        self.saw_id(e.id);
        let database = self
            .databases
            .get_mut(&e.database)
            .ok_or_else(|| broken("database", e.database))?;
        database.tables.insert(e.name.clone(), e.id);
        let table = Table {
            database: e.database,
            name: e.name.clone(),
            schema: from_json("schema", &e.schema)?,
            access: Access::Normal,
            partitions: Vec::new(),
            by_name: Default::default(),
        };
        self.tables.insert(e.id, table);
        Ok(())
    }

    /// Removes a table; returns the chunks that its tablets held.
    pub(super) fn drop_table(&mut self, id: u64) -> Result<Vec<u64>, Error> {
        let partitions = self.table(id)?.partitions.clone();
        let mut held = Vec::new();
        for partition in partitions {
            held.append(&mut self.drop_partition(partition)?);
        }
        if let Some(table) = self.tables.remove(&id)
            && let Some(database) = self.databases.get_mut(&table.database)
        {
            database.tables.remove(&table.name);
        }
        Ok(held)
    }

    fn add_partition(&mut self, e: &PartitionAdded, at_ms: u64) -> Result<(), Error> {
        self.saw_id(e.id);
        let behind = e.first_tablet.checked_add(u64::from(e.buckets));
        let behind = behind.ok_or_else(|| beyond("tablets of partition", e.id))?;
        if e.replicas.len() as u64 > u64::from(e.buckets) * u64::from(e.replication_num.max(1)) {
            return Err(beyond("replicas of partition", e.id));
        }
        let bounds: Bounds = from_json("bounds", &e.bounds)?;
        let table = self
            .tables
            .get_mut(&e.table)
            .ok_or_else(|| broken("table", e.table))?;
        table.partitions.push(e.id);
        table.by_name.insert(e.name.clone(), e.id);
        let meta = PartitionMeta {
            name: e.name.clone(),
            bounds,
            buckets: e.buckets,
            replication_num: e.replication_num,
        };
        let per_tablet = (e.replication_num as usize).max(1);
        for (bucket, replicas) in e.replicas.chunks(per_tablet).enumerate() {
            for id in replicas {
                if let Some(backend) = self.backends.get_mut(id) {
                    backend.replicas += 1;
                }
            }
            let tablet = Tablet {
                partition: e.id,
                replicas: replicas.to_vec(),
                chunks: Vec::new(),
                files: 0,
                bytes: 0,
            };
            self.tablets.insert(e.first_tablet + bucket as u64, tablet);
        }
        self.saw_id(behind);
        let partition = Partition {
            table: e.table,
            meta,
            access: Access::Normal,
            version: 1,
            since_ms: at_ms,
            first_tablet: e.first_tablet,
            files: 0,
            bytes: 0,
        };
        self.partitions.insert(e.id, partition);
        Ok(())
    }

    /// Removes a partition; returns the chunks that its tablets held.
    pub(super) fn drop_partition(&mut self, id: u64) -> Result<Vec<u64>, Error> {
        let held = self.empty_partition(id)?;
        let partition = self
            .partitions
            .remove(&id)
            .ok_or_else(|| broken("partition", id))?;
        for tablet in partition.tablets() {
            let Some(tablet) = self.tablets.remove(&tablet) else {
                continue;
            };
            for replica in tablet.replicas {
                if let Some(backend) = self.backends.get_mut(&replica) {
                    backend.replicas = backend.replicas.saturating_sub(1);
                }
            }
        }
        if let Some(table) = self.tables.get_mut(&partition.table) {
            table.partitions.retain(|p| *p != id);
            table.by_name.remove(&partition.meta.name);
        }
        Ok(held)
    }

    /// Takes all chunks out of the visible version; returns them, still held.
    pub(super) fn empty_partition(&mut self, id: u64) -> Result<Vec<u64>, Error> {
        let partition = self
            .partitions
            .get_mut(&id)
            .ok_or_else(|| broken("partition", id))?;
        (partition.files, partition.bytes) = (0, 0);
        let mut held = Vec::new();
        for id in partition.tablets() {
            let tablet = self
                .tablets
                .get_mut(&id)
                .ok_or_else(|| broken("tablet", id))?;
            for replica in &tablet.replicas {
                if let Some(backend) = self.backends.get_mut(replica) {
                    backend.bytes = backend.bytes.saturating_sub(tablet.bytes);
                }
            }
            (tablet.files, tablet.bytes) = (0, 0);
            held.append(&mut tablet.chunks);
        }
        Ok(held)
    }

    pub(super) fn publish(&mut self, id: u64, version: u64, at_ms: u64) -> Result<(), Error> {
        // Whoever makes the next version adds one.
        if version == u64::MAX {
            return Err(beyond("version of partition", id));
        }
        let partition = self
            .partitions
            .get_mut(&id)
            .ok_or_else(|| broken("partition", id))?;
        (partition.version, partition.since_ms) = (version, at_ms);
        Ok(())
    }

    fn add_chunks(&mut self, e: &ChunksAdded) -> Result<(), Error> {
        for chunk in &e.chunks {
            self.insert_chunk(e.list, chunk);
            self.attach(chunk.tablet, chunk.id)?;
        }
        Ok(())
    }

    /// Makes a chunk known, held once.
    pub(super) fn insert_chunk(&mut self, list: u64, chunk: &Chunk) {
        self.saw_id(chunk.id);
        self.saw_id(list);
        *self.lists.entry(list).or_insert(0) += 1;
        let place = ListRef {
            list,
            offset: chunk.offset,
            len: chunk.len,
            hash: chunk.hash,
        };
        let state = ChunkState {
            tablet: chunk.tablet,
            list: place,
            files: chunk.files,
            bytes: chunk.bytes,
            holders: 1,
        };
        self.chunks.insert(chunk.id, state);
    }

    /// Adds a known chunk to its tablet's visible version; the hold passes to the tablet.
    pub(super) fn attach(&mut self, tablet_id: u64, chunk: u64) -> Result<(), Error> {
        let (files, bytes) = {
            let chunk = self.chunk(chunk)?;
            (chunk.files, chunk.bytes)
        };
        let tablet = self
            .tablets
            .get_mut(&tablet_id)
            .ok_or_else(|| broken("tablet", tablet_id))?;
        let id = tablet.partition;
        let partition = self
            .partitions
            .get_mut(&id)
            .ok_or_else(|| broken("partition", id))?;
        // A tablet and a backend hold no more than all that is in the catalog.
        let sums = partition.files.checked_add(files);
        let sums = sums.zip(partition.bytes.checked_add(bytes));
        (partition.files, partition.bytes) = sums.ok_or_else(|| beyond("chunk", chunk))?;
        tablet.chunks.push(chunk);
        tablet.files = tablet.files.saturating_add(files);
        tablet.bytes = tablet.bytes.saturating_add(bytes);
        for replica in &tablet.replicas {
            if let Some(backend) = self.backends.get_mut(replica) {
                backend.bytes = backend.bytes.saturating_add(bytes);
            }
        }
        Ok(())
    }

    /// Ends one hold on each of these chunks; what nobody holds any more is set free.
    pub(super) fn let_go(&mut self, chunks: Vec<u64>) -> Result<(), Error> {
        for id in chunks {
            let chunk = self
                .chunks
                .get_mut(&id)
                .ok_or_else(|| broken("chunk", id))?;
            chunk.holders = chunk.holders.saturating_sub(1);
            if chunk.holders > 0 {
                continue;
            }
            let (tablet, list) = (chunk.tablet, chunk.list.list);
            self.chunks.remove(&id);
            self.freed.push(Freed::Chunk { id, tablet });
            let left = self
                .lists
                .get_mut(&list)
                .ok_or_else(|| broken("list", list))?;
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.lists.remove(&list);
                self.freed.push(Freed::List(list));
            }
        }
        Ok(())
    }

    fn pin_table(&mut self, e: &PinTableTaken) -> Result<(), Error> {
        let table = self.table(e.table)?;
        let (name, schema) = (table.name.clone(), table.schema.clone());
        let mut pin = self.pins.remove(&e.op).ok_or_else(|| broken("pin", e.op))?;
        if pin.tables.last().is_none_or(|t| t.id != e.table) {
            let partitions = Vec::new();
            pin.tables.push(PinTableState {
                id: e.table,
                name,
                schema,
                partitions,
            });
        }
        for id in &e.partitions {
            let partition = self
                .partitions
                .get(id)
                .ok_or_else(|| broken("partition", *id))?;
            for tablet_id in partition.tablets() {
                let tablet = self
                    .tablets
                    .get(&tablet_id)
                    .ok_or_else(|| broken("tablet", tablet_id))?;
                for chunk in &tablet.chunks {
                    let held = self.chunks.get_mut(chunk);
                    held.ok_or_else(|| broken("chunk", *chunk))?.holders += 1;
                }
                let state = PinTabletState {
                    replicas: tablet.replicas.clone(),
                    chunks: tablet.chunks.clone(),
                    files: tablet.files,
                    bytes: tablet.bytes,
                };
                pin.tablets.insert(tablet_id, state);
            }
            if let Some(table) = pin.tables.last_mut() {
                table.partitions.push(PinPartitionState {
                    meta: partition.meta.clone(),
                    version: partition.version,
                    first_tablet: partition.first_tablet,
                });
            }
        }
        self.pins.insert(e.op, pin);
        Ok(())
    }
}

/// An event has a number that would leave the range of its sum.
pub(super) fn beyond(what: &str, id: u64) -> Error {
    Error::new(
        crate::ErrorKind::Damaged,
        format!("{what} {id} in the catalog has numbers that cannot be counted"),
    )
}

fn from_json<T: serde::de::DeserializeOwned>(what: &str, text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|e| {
        Error::new(
            crate::ErrorKind::Damaged,
            format!("{what} in the catalog is not readable: {e}"),
        )
    })
}
