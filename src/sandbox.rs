//! The sandbox back ends.
