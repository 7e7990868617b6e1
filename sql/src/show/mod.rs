//! Result tables: columns and rows of text, made from what readers see of the engine and the storage. Pure: time
//! and zone come in with the call.

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name, as StarRocks spells it where StarRocks has it.
    pub name: String,
}

/// What a SHOW answers. Every value is a text; NULL is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResultTable {
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows, one value per column each.
    pub rows: Vec<Vec<Option<String>>>,
}

impl ResultTable {
    /// A table of these columns without rows.
    pub fn new<S: AsRef<str>>(columns: &[S]) -> Self {
        let columns = columns
            .iter()
            .map(|name| Column {
                name: name.as_ref().to_owned(),
            })
            .collect();
        Self {
            columns,
            rows: Vec::new(),
        }
    }
}

/// The moment of the call, and the zone that times are shown in.
#[derive(Clone, Copy)]
pub struct Clock<'a> {
    /// Now, in ms since the epoch.
    pub now_ms: u64,
    /// The zone's offset from UTC in seconds at a moment given in ms since the epoch.
    pub offset_seconds: &'a dyn Fn(u64) -> i32,
}
