//! Results as text: JSON and CSV for programs, tables for people. Pure functions; nothing is
//! printed here.

mod csv;
mod json;
mod table;

pub use csv::{csv, csv_record};
pub use json::json;
pub(crate) use json::string as json_string;
pub use table::{table, vertical};

#[cfg(test)]
mod tests;
