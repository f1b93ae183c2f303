//! Commands that read the records.

pub mod reads;
pub mod results;
pub mod tail;
