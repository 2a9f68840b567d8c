//! Establishes who calls.
