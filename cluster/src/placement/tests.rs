//! The promises of the module, for every number of nodes from 1 to 20 and many seeds.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const PARTITIONS: [u16; 3] = [24, 64, 128];
const NODES_MAX: usize = 20;

/// How nodes are told zones.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Zones {
    None,
    /// So many, in turn.
    Even(usize),
    /// One of four, by the hash of the node.
    Random,
}

const ZONES: [Zones; 5] = [Zones::None, Zones::Even(2), Zones::Even(3), Zones::Even(5), Zones::Random];

fn host(seed: u64, at: usize, zones: Zones) -> Host {
    let node = mix(seed.wrapping_mul(1_000_003) + at as u64 + 1);
    let zone = match zones {
        Zones::None => String::new(),
        Zones::Even(count) => format!("zone-{}", at % count),
        Zones::Random => format!("zone-{}", mix(node) % 4),
    };
    Host { node, zone }
}

fn hosts(seed: u64, count: usize, zones: Zones) -> Vec<Host> {
    (0..count).map(|at| host(seed, at, zones)).collect()
}

fn place(hosts: &[Host], partitions: u16, current: &[Replicas]) -> Vec<Replicas> {
    let placed = target(hosts, partitions, replication_factor(hosts.len()), current);
    check_rules(hosts, partitions, &placed);
    placed
}

/// Every partition has its replicas on different nodes, in zones as even as they can be.
fn check_rules(hosts: &[Host], partitions: u16, placed: &[Replicas]) {
    let zone_of: BTreeMap<NodeId, &str> = hosts.iter().map(|host| (host.node, host.zone.as_str())).collect();
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    hosts.iter().for_each(|host| *sizes.entry(&host.zone).or_default() += 1);
    assert_eq!(placed.len(), usize::from(partitions));
    for replicas in placed {
        assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), replication_factor(hosts.len()));
        assert_eq!(replicas.len(), replication_factor(hosts.len()));
        let mut used: BTreeMap<&str, usize> = BTreeMap::new();
        replicas.iter().for_each(|node| *used.entry(zone_of[node]).or_default() += 1);
        assert!(used.len() >= sizes.len().min(replicas.len()), "{replicas:?} in {used:?} of {sizes:?}");
        for (zone, count) in &used {
            let room_elsewhere = |other: &&str| used.get(*other).copied().unwrap_or(0) < sizes[*other].min(*count - 1);
            assert!(!sizes.keys().any(|other| other != zone && room_elsewhere(other)), "{used:?} of {sizes:?}");
        }
    }
}

fn loads(hosts: &[Host], placed: &[Replicas], counted: fn(&Replicas) -> &[NodeId]) -> Vec<usize> {
    let has = |host: &&Host| placed.iter().filter(|replicas| counted(replicas).contains(&host.node)).count();
    hosts.iter().map(|host| has(&host)).collect()
}

fn replica_loads(hosts: &[Host], placed: &[Replicas]) -> Vec<usize> {
    loads(hosts, placed, |replicas| replicas)
}

fn leader_loads(hosts: &[Host], placed: &[Replicas]) -> Vec<usize> {
    loads(hosts, placed, |replicas| &replicas[..replicas.len().min(1)])
}

/// Replicas that a node did not have before.
fn copies(before: &[Replicas], after: &[Replicas]) -> usize {
    let new = |(before, after): (&Replicas, &Replicas)| after.iter().filter(|node| !before.contains(node)).count();
    before.iter().zip(after).map(new).sum()
}

/// Within one of the mean where zones are no hindrance. Zones of uneven sizes hold what they must.
fn check_balance(hosts: &[Host], partitions: u16, placed: &[Replicas]) {
    let n = hosts.len();
    let mean = |total: usize| (total / n, total.div_ceil(n));
    let (least, most) = mean(usize::from(partitions) * replication_factor(n));
    let leads = mean(usize::from(partitions));
    let sizes = hosts.iter().fold(BTreeMap::new(), |mut sizes: BTreeMap<&str, usize>, host| {
        *sizes.entry(&host.zone).or_default() += 1;
        sizes
    });
    let same_size = sizes.values().collect::<BTreeSet<_>>().len() <= 1;
    let loads = replica_loads(hosts, placed);
    if same_size {
        assert!(loads.iter().all(|load| (least..=most).contains(load)), "{loads:?} of {n}");
        let loads = leader_loads(hosts, placed);
        assert!(loads.iter().all(|load| (leads.0.saturating_sub(1)..=leads.1 + 1).contains(load)), "{loads:?} of {n}");
    }
    for zone in sizes.keys() {
        let in_zone = hosts.iter().zip(&loads).filter(|(host, _)| host.zone == *zone).map(|(_, load)| *load);
        let (min, max) = in_zone.fold((usize::MAX, 0), |(min, max), load| (min.min(load), max.max(load)));
        assert!(max - min <= 1, "{loads:?} in {zone}");
    }
}

fn each_case(mut check: impl FnMut(u64, usize, Zones, u16)) {
    for zones in ZONES {
        for partitions in PARTITIONS {
            for nodes in 1..=NODES_MAX {
                for seed in 0..if partitions == 24 { 12 } else { 3 } {
                    check(seed, nodes, zones, partitions);
                }
            }
        }
    }
}

#[test]
fn a_first_placement_is_even_and_stays_as_it_is() {
    each_case(|seed, nodes, zones, partitions| {
        let hosts = hosts(seed, nodes, zones);
        let placed = place(&hosts, partitions, &[]);
        check_balance(&hosts, partitions, &placed);
        assert_eq!(place(&hosts, partitions, &placed), placed);
        let reversed: Vec<Host> = hosts.iter().rev().cloned().collect();
        assert_eq!(place(&reversed, partitions, &[]), placed, "the order of the nodes does not matter");
    });
}

#[test]
fn a_node_that_comes_gets_its_share_and_nothing_else_moves() {
    each_case(|seed, nodes, zones, partitions| {
        let before_hosts = hosts(seed, nodes, zones);
        let before = place(&before_hosts, partitions, &[]);
        let after_hosts = hosts(seed, nodes + 1, zones);
        let after = place(&after_hosts, partitions, &before);
        check_balance(&after_hosts, partitions, &after);

        let copied = copies(&before, &after);
        let own = replica_loads(&after_hosts, &after)[nodes];
        let all = usize::from(partitions) * replication_factor(nodes + 1);
        // Zones of random sizes may ask more of a node than its share.
        if zones != Zones::Random {
            let most = 1.2 * all as f64 / (nodes + 1) as f64;
            assert!(copied as f64 <= most, "{copied} of {all} for node {nodes} in {zones:?}, seed {seed}");
        }
        let extra = copied.saturating_sub(own);
        assert!(extra == 0 || zones != Zones::None, "{extra} moved between the others");
        assert!(extra <= all.div_ceil(JOIN_EXTRA_SHARE), "{extra} of {all} beside {own} for node {nodes} in {zones:?}");
    });
}

#[test]
fn when_a_node_goes_little_moves_but_what_was_on_it() {
    each_case(|seed, nodes, zones, partitions| {
        let all = hosts(seed, nodes + 1, zones);
        let before = place(&all, partitions, &[]);
        let gone = mix(seed) as usize % all.len();
        let left: Vec<Host> =
            all.iter().enumerate().filter(|(at, _)| *at != gone).map(|(_, host)| host.clone()).collect();
        let after = place(&left, partitions, &before);
        check_balance(&left, partitions, &after);

        let was_there = replica_loads(&all, &before)[gone];
        let extra = copies(&before, &after).saturating_sub(was_there);
        let replicas = usize::from(partitions) * replication_factor(nodes);
        assert!(
            extra <= replicas.div_ceil(LEAVE_EXTRA_SHARE),
            "{extra} of {replicas} beside {was_there}, {nodes} in {zones:?}, seed {seed}"
        );
    });
}

#[test]
fn a_node_that_goes_and_comes_back_leaves_no_trace_in_the_balance() {
    each_case(|seed, nodes, zones, partitions| {
        let all = hosts(seed, nodes + 1, zones);
        let before = place(&all, partitions, &[]);
        let without = place(&all[1..], partitions, &before);
        let again = place(&all, partitions, &without);
        check_balance(&all, partitions, &again);
    });
}

#[test]
fn many_small_changes_do_not_drift_away_from_balance() {
    for zones in ZONES {
        for partitions in [24, 128] {
            for seed in 0..4 {
                let pool = hosts(seed, NODES_MAX, zones);
                let mut inside: BTreeSet<usize> = (0..5).collect();
                let mut placed = Vec::new();
                for round in 0..60 {
                    let changed = mix(seed * 1000 + round) as usize % pool.len();
                    if !inside.remove(&changed) || inside.is_empty() {
                        inside.insert(changed);
                    }
                    let hosts: Vec<Host> = inside.iter().map(|at| pool[*at].clone()).collect();
                    placed = place(&hosts, partitions, &placed);
                    check_balance(&hosts, partitions, &placed);
                }
            }
        }
    }
}

#[test]
fn a_fourth_node_gets_a_quarter() {
    let before = place(&hosts(1, 3, Zones::None), 24, &[]);
    let after = place(&hosts(1, 4, Zones::None), 24, &before);
    assert_eq!(copies(&before, &after), 18, "a quarter of 72 replicas");
}

#[test]
fn a_zone_of_one_node_holds_everything_and_leads_its_share() {
    let zone = |at: usize| ["a", "b", "c"][at.min(2)].to_owned();
    let hosts: Vec<Host> = (0..10).map(|at| Host { node: at as u64, zone: zone(at) }).collect();
    let placed = place(&hosts, 24, &[]);
    assert_eq!(replica_loads(&hosts, &placed), [24, 24, 3, 3, 3, 3, 3, 3, 3, 3]);
    assert!(leader_loads(&hosts, &placed).iter().all(|leads| (2..=3).contains(leads)));
}

#[test]
fn who_leads_goes_on_when_followers_move() {
    let before = place(&hosts(3, 3, Zones::None), 24, &[]);
    let after = place(&hosts(3, 4, Zones::None), 24, &before);
    let changed = before.iter().zip(&after).filter(|(before, after)| before[0] != after[0]).count();
    assert_eq!(changed, 6, "the new node's share of the leaders and no more");
}

#[test]
fn without_nodes_nobody_holds_anything() {
    assert_eq!(target(&[], 2, 3, &[vec![7], vec![]]), [Vec::<NodeId>::new(), Vec::new()]);
}
