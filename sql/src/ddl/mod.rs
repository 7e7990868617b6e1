//! What tables are: CREATE TABLE and ADD PARTITION from text to the storage's model with every
//! check that needs no catalog, and back to text. The storage judges last.

mod columns;
mod create;
mod keys;
mod partition;
mod print;
mod types;

pub(crate) use create::{added_partition, create_table};
pub(crate) use print::quoted_name;
pub use print::{create_repository_text, create_table_text};

/// Buckets of a partition where the statement gives no number.
pub const DEFAULT_BUCKETS: u32 = 1;
/// Replicas of a tablet where the statement gives no number.
pub const DEFAULT_REPLICATION_NUM: u32 = 1;
/// Buckets of one partition at most.
pub const MAX_BUCKETS: u32 = 100_000;

/// Keeps the bucket count of a table that has no partition yet; not for users.
const BUCKETS_KEY: &str = "default_buckets";
/// Keeps the replica count of a table that has no partition yet; not for users.
const REPLICATION_KEY: &str = "default_replication_num";

#[cfg(test)]
mod tests;
