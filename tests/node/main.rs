//! Whole-node tests: the real binary, asked over HTTP, beside real peers where they are installed.

mod api;
mod bad_input;
mod command_line;
mod crash;
mod grafana;
mod harness;
mod pages;
mod peers;
