//! Commands that read the records.

pub mod event;
pub mod inspect;
pub mod listen;
pub mod listing;
pub mod prefix;
pub mod reads;
pub mod results;
mod seen;
pub mod tail;
pub mod times;
