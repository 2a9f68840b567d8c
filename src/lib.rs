//! Crossdock: an API gateway and policy-enforcement proxy for companies that sell, store and ship goods.

pub mod admin;
pub mod body;
pub mod cli;
pub mod config;
pub mod contract;
pub mod exchange;
pub mod json;
pub mod policy;
pub mod problem;
pub mod queue;
pub mod sandbox;
pub mod snapshot;
pub mod telemetry;
pub mod upstream;
