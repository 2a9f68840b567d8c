"""Measures what a request costs in Crossdock and in its peers."""
