//! The local broker from outside and on a real folder.
