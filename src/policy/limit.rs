//! Limits how many requests are allowed.
