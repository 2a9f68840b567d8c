//! The proof of a mapping before it goes live: documents drawn from both versions' schemas, sent through the engine
//! that serves requests, held against the other version, and back.

mod generate;
mod sample;
