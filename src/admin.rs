//! The admin listener: health and metrics.
