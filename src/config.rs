//! What operators write: one Rust type per kind of policy file, with its defaults.
//!
//! The doc comments of these types become the JSON Schemas that editors use, so they speak to operators.

mod api;
mod candidate;
mod channel;
mod database;
mod diagnostic;
mod edit;
mod gateway;
mod issuer;
mod load;
mod signature;
mod upstream;
mod values;
mod version;
mod webhook;
pub mod yaml;

pub use api::*;
pub use candidate::*;
pub use channel::*;
pub use database::*;
pub use diagnostic::*;
pub use edit::with_state;
pub use gateway::*;
pub use issuer::*;
pub use load::*;
pub use serde_saphyr::Spanned;
pub use signature::*;
pub use upstream::*;
pub use values::*;
pub use version::*;
pub use webhook::*;
