//! What tools print of words that were recorded: without the secrets that a location in them may
//! hold. It goes into tickets.

use holdfast_sql::secret::mask_text;
use serde::Serialize;
use serde_json::Value;

use crate::exit::Failure;

/// A value as one line of JSON, every text in it masked.
pub(super) fn json_line(value: &impl Serialize) -> Result<String, Failure> {
    let value = serde_json::to_value(value)
        .map_err(|error| Failure::failed("OUTPUT_FAILED", format!("cannot be JSON: {error}")))?;
    Ok(format!("{}\n", masked(value)))
}

fn masked(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(mask_text(&text).into_owned()),
        Value::Array(items) => Value::Array(items.into_iter().map(masked).collect()),
        Value::Object(map) => {
            let map = map.into_iter().map(|(key, value)| (key, masked(value)));
            Value::Object(map.collect())
        }
        other => other,
    }
}
