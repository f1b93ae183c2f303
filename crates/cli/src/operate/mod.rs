//! Commands that operate a deployment.

mod api_list;
pub mod doctor;
pub mod erase;
pub mod reconcile;
pub mod redrive;
pub mod register;
mod retention;
mod sonotheia_api;
mod walk;
