//! Whole-node tests: the real binary, asked over HTTP, beside real peers where they are installed.

#![allow(unreachable_pub, reason = "nothing outside a binary reaches it anyway; `pub` says what a module offers")]

mod api;
mod bad_input;
mod cluster;
mod command_line;
mod crash;
mod documents;
mod features;
mod full_disk;
mod grafana;
mod harness;
mod histograms;
mod limits;
mod members;
mod pages;
mod peers;
