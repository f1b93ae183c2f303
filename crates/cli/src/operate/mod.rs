//! Commands that operate a deployment.

pub mod doctor;
pub mod reconcile;
pub mod redrive;
pub mod register;
pub mod sonotheia_api;
