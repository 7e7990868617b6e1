//! The works of a backup, one after the other, over twins.
