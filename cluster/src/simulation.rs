//! Whole clusters in one process, on simulated time: what happens in a run follows from its seed.
//!
//! ```text
//! faults (plan of a seed) -> run -> town (turmoil: hosts, network, clock) -> house: a Member, its disk, its clients
//!                             '---> checks: what clients saw, what replicas have
//! ```
//! Real here: members with all that belongs to them, the Raft library, HTTP/2 between them, the log. Simulated: time, the network (without
//! TLS), disks ([`crate::fs::sim`]). Left out: what `src/` adds.
//!
//! **What a seed fixes.** Everything, in a build with `--cfg tokio_unstable` (`make simulate`): plan, network, disks, clients, election
//! times ([`random`]), and what tokio itself draws (the order in which `select!` looks and a `watch` wakes), whose seed can only be set
//! there. Threads take turns with the tasks that wait for them ([`turns`], [`crate::blocking`]). Each seed has a process of its own, for
//! tokio numbers the tasks of a process. Real time is left in one place: HTTP/2 forgets streams that it reset after a second. In other
//! builds tokio draws by itself: two runs of a seed then have the same plan, and differ in what comes of it.
//!
//! `PHAROS_SIM_SEED` runs one seed and tells what happened, with `PHAROS_SIM_LOG=info` what nodes log too. `PHAROS_SIM_SEEDS` sets how
//! many are run, `PHAROS_SIM_FIRST` the first.

mod checks;
mod clients;
mod damage;
mod faults;
mod history;
mod house;
mod network;
pub(crate) mod random;
mod rest;
mod run;
mod store;
mod tests;
mod town;
pub(crate) mod turns;

pub(crate) use random::is_running;
