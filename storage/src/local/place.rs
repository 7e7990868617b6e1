//! stub
pub(crate) struct Place;
