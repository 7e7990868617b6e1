//! The events of the catalog: every durable change of what tables, versions, pins and restores
//! there are.
//!
//! Payloads are frozen: a changed one is a new kind with an upcast. What is open-ended (a schema, a
//! partition's bounds) is carried as JSON text of the model type, so that a field added there needs
//! no new kind. No rule is checked here; `State` says what each event means.

use holdfast_journal::{StreamId, events};

macro_rules! payloads {
    ($(
        $(#[$meta:meta])*
        $name:ident { $( $(#[$field_meta:meta])* $field:ident : $type:ty, )* }
    )*) => { $(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        #[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
        pub struct $name { $( $(#[$field_meta])* pub $field: $type, )* }
    )* };
}

payloads! {
    /// A backend was added.
    BackendAdded {
        /// Its id.
        id: u64,
        /// Its name, also its folder's.
        name: String,
    }
    /// A backend and its replicas were dropped.
    BackendDropped {
        /// Its id.
        id: u64,
    }
    /// A database was created.
    DatabaseCreated {
        /// Its id.
        id: u64,
        /// Its name.
        name: String,
    }
    /// A database was dropped with all its tables.
    DatabaseDropped {
        /// Its id.
        id: u64,
    }
    /// A table was created, without partitions.
    TableCreated {
        /// Its id.
        id: u64,
        /// The id of its database.
        database: u64,
        /// Its name.
        name: String,
        /// Its schema as JSON.
        schema: String,
    }
    /// A table was dropped.
    TableDropped {
        /// Its id.
        id: u64,
    }
    /// A partition was added, empty, at version 1.
    PartitionAdded {
        /// Its id.
        id: u64,
        /// The id of its table.
        table: u64,
        /// Its name.
        name: String,
        /// The rows it takes, as JSON.
        bounds: String,
        /// Its number of tablets.
        buckets: u32,
        /// Replicas of each tablet.
        replication_num: u32,
        /// The id of the tablet of bucket 0; the others follow.
        first_tablet: u64,
        /// Backend ids: `replication_num` for each bucket in turn.
        replicas: Vec<u64>,
    }
    /// A partition was dropped.
    PartitionDropped {
        /// Its id.
        id: u64,
    }
    /// A load became visible; its chunks follow in the same transaction.
    PartitionLoaded {
        /// The partition.
        partition: u64,
        /// Its new visible version.
        version: u64,
    }
    /// A partition was emptied.
    PartitionTruncated {
        /// The partition.
        partition: u64,
        /// Its new visible version.
        version: u64,
    }
    /// One immutable set of data files of one tablet.
    Chunk {
        /// Its id, also the name of its folder.
        id: u64,
        /// Its tablet.
        tablet: u64,
        /// Where its list of files starts in the list file, in bytes.
        offset: u64,
        /// Length of its list of files in bytes.
        len: u64,
        /// BLAKE3 of its list of files.
        hash: [u8; 32],
        /// Number of data files.
        files: u64,
        /// Their bytes.
        bytes: u64,
    }
    /// Chunks were added to the visible version of their tablets.
    ChunksAdded {
        /// The list file that holds their lists.
        list: u64,
        /// The chunks.
        chunks: Vec<Chunk>,
    }
    /// An operation pinned one point of time; its tables follow in the same transaction.
    PinStarted {
        /// The operation.
        op: u64,
        /// The database.
        database: u64,
    }
    /// The visible versions of these partitions belong to the pin.
    PinTableTaken {
        /// The operation.
        op: u64,
        /// The table.
        table: u64,
        /// Partitions in order; a further event for the same table adds to them.
        partitions: Vec<u64>,
    }
    /// A pin ended.
    PinReleased {
        /// The operation.
        op: u64,
    }
    /// A restore made its metadata; what it made and marked follows in the same transaction.
    RestoreStarted {
        /// The operation.
        op: u64,
        /// The target database.
        database: u64,
        /// Whether the operation made the database.
        created_database: bool,
        /// Whether loads into untouched partitions go on.
        allow_load: bool,
    }
    /// One target partition.
    RestorePartition {
        /// Its id.
        id: u64,
        /// Whether the operation made it.
        created: bool,
    }
    /// A target table with its target partitions; both are marked with the operation.
    RestoreTablePlanned {
        /// The operation.
        op: u64,
        /// The table.
        table: u64,
        /// Whether the operation made it.
        created: bool,
        /// Partitions in order; a further event for the same table adds to them.
        partitions: Vec<RestorePartition>,
        /// The id of the chunk that the first tablet of these partitions will get; the others
        /// follow.
        first_chunk: u64,
    }
    /// A table or partition that the commit drops; marked with the operation.
    RestoreDropPlanned {
        /// The operation.
        op: u64,
        /// The table.
        table: u64,
        /// The partition; 0 = the whole table.
        partition: u64,
    }
    /// Restored chunks lie proved, synced and under their final names.
    RestoreChunksPlaced {
        /// The operation.
        op: u64,
        /// The list file that holds their lists.
        list: u64,
        /// The chunks.
        chunks: Vec<Chunk>,
    }
    /// All of an operation's chunks are placed; it may be committed.
    RestorePrepared {
        /// The operation.
        op: u64,
    }
    /// All targets became visible, all planned drops happened, all marks were opened.
    RestoreCommitted {
        /// The operation.
        op: u64,
    }
    /// What a committed operation replaced was freed.
    RestoreForgotten {
        /// The operation.
        op: u64,
    }
    /// An uncommitted operation was taken back.
    RestoreAborted {
        /// The operation.
        op: u64,
    }
}

events! {
    /// Every change of the catalog. The stream of an event is the operation it belongs to, else the
    /// owner's.
    pub enum CatalogEvent: family 0x4341_5431 {
        /// See [`BackendAdded`].
        1 => BackendAdded(BackendAdded),
        /// See [`BackendDropped`].
        2 => BackendDropped(BackendDropped),
        /// See [`DatabaseCreated`].
        3 => DatabaseCreated(DatabaseCreated),
        /// See [`DatabaseDropped`].
        4 => DatabaseDropped(DatabaseDropped),
        /// See [`TableCreated`].
        5 => TableCreated(TableCreated),
        /// See [`TableDropped`].
        6 => TableDropped(TableDropped),
        /// See [`PartitionAdded`].
        7 => PartitionAdded(PartitionAdded),
        /// See [`PartitionDropped`].
        8 => PartitionDropped(PartitionDropped),
        /// See [`PartitionLoaded`].
        9 => PartitionLoaded(PartitionLoaded),
        /// See [`PartitionTruncated`].
        10 => PartitionTruncated(PartitionTruncated),
        /// See [`ChunksAdded`].
        11 => ChunksAdded(ChunksAdded),
        /// See [`PinStarted`].
        12 => PinStarted(PinStarted) in |e| StreamId(e.op),
        /// See [`PinTableTaken`].
        13 => PinTableTaken(PinTableTaken) in |e| StreamId(e.op),
        /// See [`PinReleased`].
        14 => PinReleased(PinReleased) in |e| StreamId(e.op),
        /// See [`RestoreStarted`].
        15 => RestoreStarted(RestoreStarted) in |e| StreamId(e.op),
        /// See [`RestoreTablePlanned`].
        16 => RestoreTablePlanned(RestoreTablePlanned) in |e| StreamId(e.op),
        /// See [`RestoreDropPlanned`].
        17 => RestoreDropPlanned(RestoreDropPlanned) in |e| StreamId(e.op),
        /// See [`RestoreChunksPlaced`].
        18 => RestoreChunksPlaced(RestoreChunksPlaced) in |e| StreamId(e.op),
        /// See [`RestorePrepared`].
        19 => RestorePrepared(RestorePrepared) in |e| StreamId(e.op),
        /// See [`RestoreCommitted`].
        20 => RestoreCommitted(RestoreCommitted) in |e| StreamId(e.op),
        /// See [`RestoreForgotten`].
        21 => RestoreForgotten(RestoreForgotten) in |e| StreamId(e.op),
        /// See [`RestoreAborted`].
        22 => RestoreAborted(RestoreAborted) in |e| StreamId(e.op),
    }
}
