//! Pharos: Prometheus, its long-term store and its Alertmanager as one cluster of equal nodes.

#![allow(unreachable_pub, reason = "nothing outside a binary reaches it anyway; `pub` says what a module offers")]

mod app;
mod build_info;
mod cli;
mod flags;
mod http;
mod log;
mod node;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    cli::run(std::env::args_os())
}
