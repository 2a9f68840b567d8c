//! Contracts: OpenAPI versions and the mappings between them.
