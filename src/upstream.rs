//! Back-end systems: endpoints, pools, breakers.
