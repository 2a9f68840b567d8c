//! The life of contract versions: which one a caller gets, whether it is served, and what every answer says of it.
//!
//! Decisions are plain functions of the caller and the time; the policies `choose` and `life` put them on the wire.

pub(crate) mod cohort;
mod fields;
mod life;
mod offering;
pub(crate) mod signals;
pub(crate) mod trial;

pub(crate) use fields::{ACCEPT_VERSION, Fields};
pub(crate) use life::{Life, Who};
pub(crate) use offering::{Offering, open};
pub(crate) use signals::Signals;
