//! A simulator of the receiver: the real router and the real SDK clients on a simulated network and clock, in one thread.
//!
//! [`simulation::run`] plays the sender, the environments, DynamoDB, Secrets Manager and the network between them. All
//! that is random comes from the seed, so a seed gives the same trace each time. The ledger keeps the history of the
//! table, and every write, answer and page is checked against the contract at once.

#![forbid(unsafe_code)]

mod answer;
mod clock;
mod condition;
mod delivery;
mod environment;
mod eraser;
mod event;
mod fleet;
mod front;
mod ledger;
mod network;
pub mod options;
mod reads;
pub mod simulation;
mod sonotheia;
mod table;
mod vault;
mod world;
