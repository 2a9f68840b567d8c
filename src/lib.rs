//! Crossdock: an API gateway and policy-enforcement proxy for companies that sell, store and ship goods.

pub mod admin;
mod alarm;
pub mod audit;
pub mod body;
pub mod cli;
mod client;
pub mod config;
pub mod contract;
pub mod edge;
pub mod exchange;
pub mod expression;
mod files;
pub mod gateway;
pub mod json;
mod lifecycle;
pub mod path;
pub mod pipeline;
pub mod policy;
pub mod problem;
pub mod queue;
pub mod sandbox;
pub mod server;
pub mod shared;
pub mod snapshot;
pub mod telemetry;
pub mod upstream;
pub mod webhook;
