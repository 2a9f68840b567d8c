//! Checks that the caller may do it.
