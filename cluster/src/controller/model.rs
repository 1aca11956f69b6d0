//! A simulated cluster that the controller works on, from a seed: nodes die, return, come, are drained and removed; what is observed is
//! old; steps come late, twice or never, which is what a crash of the controller between any two of them looks like.
//!
//! Checked all the time: [`world::World::check`]. Checked once faults have stopped: everything is where it should be, and no more was
//! copied than the changes of members asked for.

mod group;
mod world;

use super::Left;
use crate::fs::sim::Random;
use world::World;

/// Rounds with faults, then rounds to settle.
const FAULTY_ROUNDS: u64 = 120;
const CALM_ROUNDS: u64 = 600;

fn run(seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x1234_5678_9abc_def1));
    let zones = random.below(4);
    let partitions = 2 + random.below(5) as u16;
    let mut world = World::new(seed, partitions, zones);
    for _ in 0..random.below(5) {
        world.join();
    }
    // Half of the runs begin with a cluster that has settled.
    if random.below(2) == 0 {
        (0..200).for_each(|_| world.round(false));
    }
    for _ in 0..FAULTY_ROUNDS {
        world.change();
        world.round(true);
        world.check();
    }
    world.heal();
    let settled = (0..CALM_ROUNDS).any(|_| {
        world.round(false);
        world.check();
        world.is_settled()
    });
    assert!(settled, "seed {seed} does not settle:\n{}", world.describe());
    assert_eq!(world.left(), Left::default(), "seed {seed} has settled, and something is left");
    world.check_copies();
}

fn run_seeds(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let failed = std::panic::catch_unwind(|| run(seed));
        assert!(failed.is_ok(), "seed {seed}");
    }
}

#[test]
fn the_cluster_settles_and_loses_nothing_whatever_happens_on_the_way() {
    run_seeds(0..2000);
}
