//! Text to statements, views to result tables. Pure: no I/O, no threads, no clock.
//!
//! [`parse()`], [`parse_one`] and [`statements`] read the grammar of StarRocks and Apache Doris for
//! backup and restore, and the statements around them. [`Backup::request`], [`Restore::request`]
//! and [`CreateRepository::request`] turn them into what the engine takes. The functions of
//! [`show`] make [`ResultTable`]s of what the engine and the storage show; [`Statement::arrange`]
//! applies LIKE, WHERE, ORDER BY and LIMIT; [`output`] writes the result.
//!
//! ```
//! use holdfast_sql::{Statement, parse_one};
//!
//! let parsed = parse_one("BACKUP SNAPSHOT shop.monday TO vault ON (orders PARTITION (p2024))")?;
//! let Statement::Backup(backup) = parsed.statement else { unreachable!() };
//! let request = backup.request(None)?;
//! assert_eq!(request.database, "shop");
//! # Ok::<(), holdfast_sql::SqlError>(())
//! ```
#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "tests are outside the deterministic core"
    )
)]

mod completion;
mod cursor;
mod ddl;
mod error;
mod filter;
mod lex;
mod moment;
mod names;
pub mod output;
mod parse;
pub mod privilege;
mod request;
pub mod secret;
pub mod show;
mod statement;

pub use completion::{Completion, complete};
pub use ddl::{
    DEFAULT_BUCKETS, DEFAULT_REPLICATION_NUM, MAX_BUCKETS, create_repository_text,
    create_table_text,
};
pub use error::{Code, SqlError};
pub use filter::{
    Comparison, Direction, Expr, Limit, Operand, OrderColumn, OrderKey, Pattern, Tail,
};
pub use lex::is_unfinished;
pub use moment::{AsOf, WrittenTime};
pub use parse::{Statements, parse, parse_one, statements};
pub use request::database_or_session;
pub use show::{Clock, Column, ResultTable};
pub use statement::{
    AddedPartition, Backup, CreateRepository, CreateTable, Object, ObjectKind, ObjectName, Objects,
    Parsed, PartitionValues, Properties, Reach, Restore, ShowJobs, ShowSnapshot, SnapshotPick,
    Statement, TableName, Width,
};
