//! Raft groups and the log they share.
