//! JSON on the data path: exact numbers, member order kept, duplicates refused.
