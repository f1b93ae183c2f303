//! Commands that act as the sender: they sign, verify and send deliveries.

pub mod send;
pub mod sign;
