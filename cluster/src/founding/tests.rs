//! Every case that operators run into, then all combinations of answers: whatever nodes say, no list founds two clusters.

use super::*;

const LIST: [&str; 3] = ["a:1", "b:1", "c:1"];

fn list(nodes: &[&str]) -> Vec<String> {
    nodes.iter().map(|node| (*node).to_owned()).collect()
}

fn process(address: &str) -> u64 {
    address.bytes().map(u64::from).sum()
}

/// A node of the list.
fn flags(address: &str) -> Flags {
    Flags {
        name: "one".to_owned(),
        address: address.to_owned(),
        initial_nodes: list(&LIST),
        join: Vec::new(),
        process: process(address),
    }
}

fn joining(address: &str, join: &[&str]) -> Flags {
    Flags { initial_nodes: Vec::new(), join: list(join), ..flags(address) }
}

fn fresh(address: &str) -> Answer {
    Answer::Fresh { process: process(address), name: "one".to_owned(), initial_nodes: list(&LIST) }
}

/// A node of the cluster "1f", in which a, b and c are nodes 1, 2 and 3, and node 9 was removed.
fn member(address: &str) -> Answer {
    Answer::InCluster(cluster_member(address))
}

fn cluster_member(address: &str) -> Member {
    let members = vec![(1, "a:1".to_owned()), (2, "b:1".to_owned()), (3, "c:1".to_owned())];
    let node = members.iter().find(|(_, other)| other == address).map_or(4, |(node, _)| *node);
    let (cluster, name) = ("1f".to_owned(), "one".to_owned());
    Member { process: process(address), node, cluster, name, members, removed: vec![9] }
}

fn was_member(node: NodeId) -> OwnState {
    OwnState::Member { node, cluster: "1f".to_owned(), name: "one".to_owned() }
}

fn probes(answers: &[(&str, Option<Answer>)]) -> Vec<Probe> {
    answers.iter().map(|(address, answer)| Probe { address: (*address).to_owned(), answer: answer.clone() }).collect()
}

fn decide_fresh(flags: &Flags, answers: &[(&str, Option<Answer>)]) -> Decision {
    decide(&OwnState::Fresh, flags, &probes(answers))
}

fn refused(decision: Decision, says: &str) {
    match decision {
        Decision::Refuse { reason } => assert!(reason.contains(says), "{reason}"),
        other => panic!("expected a refusal about {says}, not {other:?}"),
    }
}

fn waits(whom: &[&str], why: Waiting) -> Decision {
    Decision::Wait { whom: list(whom), why }
}

#[test]
fn a_node_without_a_list_founds_alone_and_goes_on_alone() {
    let alone = Flags { name: String::new(), initial_nodes: Vec::new(), ..flags("a:1") };
    assert_eq!(decide_fresh(&alone, &[]), Decision::Found);
    assert_eq!(decide(&was_member(1), &alone, &[]), Decision::GoOn);
    let only = Flags { initial_nodes: list(&["a:1"]), ..flags("a:1") };
    assert_eq!(decide_fresh(&only, &[("a:1", Some(fresh("a:1")))]), Decision::Found);
}

#[test]
fn the_first_of_the_list_founds_when_all_others_are_fresh() {
    let answers = [("a:1", Some(fresh("a:1"))), ("b:1", Some(fresh("b:1"))), ("c:1", Some(fresh("c:1")))];
    assert_eq!(decide_fresh(&flags("a:1"), &answers), Decision::Found);
    for other in ["b:1", "c:1"] {
        assert_eq!(decide_fresh(&flags(other), &answers), waits(&["a:1"], Waiting::ForFounder));
    }
}

fn joins(ways: &[(&str, Option<NodeId>)]) -> Decision {
    let ways = ways.iter().map(|(through, replaces)| Way { through: (*through).to_owned(), replaces: *replaces });
    Decision::Join { ways: ways.collect() }
}

#[test]
fn nobody_founds_while_one_does_not_answer() {
    let answers = [("b:1", Some(fresh("b:1"))), ("c:1", None)];
    assert_eq!(decide_fresh(&flags("a:1"), &answers), waits(&["c:1"], Waiting::ForAnswers));
    assert_eq!(decide_fresh(&flags("a:1"), &[]), waits(&["b:1", "c:1"], Waiting::ForAnswers), "nor before it asked");
}

#[test]
fn a_fresh_node_joins_through_any_that_is_in_the_cluster() {
    let answers = [("a:1", None), ("b:1", Some(member("b:1"))), ("c:1", Some(fresh("c:1")))];
    let flags = Flags { address: "d:1".to_owned(), process: 7, ..joining("d:1", &LIST) };
    let through_b = joins(&[("b:1", None)]);
    assert_eq!(decide_fresh(&flags, &answers), through_b);
    let mut reversed = answers;
    reversed.reverse();
    assert_eq!(decide_fresh(&flags, &reversed), through_b, "the order of the answers does not matter");
    let answers = [("a:1", Some(member("a:1"))), ("b:1", Some(member("b:1"))), ("c:1", None)];
    assert_eq!(decide_fresh(&flags, &answers), joins(&[("a:1", None), ("b:1", None)]));
}

#[test]
fn a_wiped_first_node_takes_its_own_place_while_others_are_there() {
    let answers = [("a:1", Some(fresh("a:1"))), ("b:1", Some(member("b:1"))), ("c:1", None)];
    let way_in = joins(&[("b:1", Some(1))]);
    assert_eq!(decide_fresh(&flags("a:1"), &answers), way_in);
    let answers = [("a:1", Some(fresh("a:1"))), ("b:1", None), ("c:1", None)];
    assert_eq!(decide_fresh(&flags("a:1"), &answers), waits(&["b:1", "c:1"], Waiting::ForAnswers));
}

#[test]
fn who_only_joins_never_founds() {
    let flags = joining("d:1", &["a:1", "d:1"]);
    assert_eq!(decide_fresh(&flags, &[("a:1", None)]), waits(&["a:1"], Waiting::ForMember));
    assert_eq!(decide_fresh(&flags, &[("a:1", Some(fresh("a:1")))]), waits(&["a:1"], Waiting::ForMember));
    let way_in = joins(&[("a:1", None)]);
    assert_eq!(decide_fresh(&flags, &[("a:1", Some(member("a:1")))]), way_in);
}

#[test]
fn a_member_goes_on_whatever_is_silent_or_fresh() {
    for answer in [None, Some(fresh("b:1")), Some(member("b:1"))] {
        let probes = probes(&[("b:1", answer), ("c:1", None)]);
        assert_eq!(decide(&was_member(1), &flags("a:1"), &probes), Decision::GoOn);
    }
    // One that moved to an address that is not on the list.
    assert_eq!(decide(&was_member(1), &flags("x:1"), &[]), Decision::GoOn);
}

#[test]
fn a_node_alone_goes_on_as_the_cluster_of_one_that_others_join() {
    let alone = OwnState::Member { node: 1, cluster: "1f".to_owned(), name: String::new() };
    let answers = probes(&[("b:1", Some(fresh("b:1"))), ("c:1", Some(fresh("c:1")))]);
    assert_eq!(decide(&alone, &flags("a:1"), &answers), Decision::GoOn);
    let unnamed = Member { name: String::new(), members: vec![(1, String::new())], ..cluster_member("a:1") };
    let answers = [("a:1", Some(Answer::InCluster(unnamed)))];
    let way_in = joins(&[("a:1", None)]);
    assert_eq!(decide_fresh(&flags("b:1"), &answers), way_in);
}

#[test]
fn a_removed_node_that_comes_back_is_refused() {
    let probes = probes(&[("b:1", Some(member("b:1"))), ("c:1", None)]);
    refused(
        decide(&was_member(9), &flags("a:1"), &probes),
        "node 0000000000000009 was removed from the cluster, says b:1",
    );
}

#[test]
fn wrong_names_are_refused() {
    let other = Member { name: "two".to_owned(), ..cluster_member("b:1") };
    let answers = [("b:1", Some(Answer::InCluster(other))), ("c:1", Some(member("c:1")))];
    refused(decide_fresh(&flags("a:1"), &answers), "the node at b:1 is in cluster `two`, this one is to be in `one`");
    let unlike = Answer::Fresh { process: 2, name: "two".to_owned(), initial_nodes: list(&LIST) };
    refused(decide_fresh(&flags("a:1"), &[("b:1", Some(unlike))]), "the node at b:1 is to be in cluster `two`");
    let renamed = Flags { name: "two".to_owned(), ..flags("a:1") };
    refused(decide(&was_member(1), &renamed, &[]), "data directory belongs to cluster `one`");
    let unnamed = Flags { name: String::new(), ..flags("a:1") };
    refused(decide_fresh(&unnamed, &[]), "the cluster has no name");
}

#[test]
fn a_node_of_a_second_cluster_is_refused() {
    let second = Answer::InCluster(Member { cluster: "2f".to_owned(), ..cluster_member("c:1") });
    let answers = [("b:1", Some(member("b:1"))), ("c:1", Some(second.clone()))];
    refused(decide_fresh(&flags("a:1"), &answers), "two clusters named `one`: b:1 is of cluster 1f, and c:1 of 2f");
    let own = decide(&was_member(1), &flags("a:1"), &probes(&[("c:1", Some(second))]));
    refused(own, "this node's data directory is of cluster 1f, and c:1 of 2f");
}

#[test]
fn lists_that_differ_are_refused() {
    let differs = |initial_nodes: &[&str]| {
        let initial_nodes = list(initial_nodes);
        let answer = Answer::Fresh { process: 2, name: "one".to_owned(), initial_nodes };
        decide_fresh(&flags("a:1"), &[("b:1", Some(answer)), ("c:1", None)])
    };
    refused(differs(&["a:1", "b:1"]), "started with --cluster.initial-nodes=a:1,b:1, this one with a:1,b:1,c:1");
    refused(differs(&["b:1", "a:1", "c:1"]), "in the same order");
    refused(differs(&[]), "--cluster.initial-nodes=(none)");
}

#[test]
fn flags_that_cannot_be_meant_are_refused() {
    refused(decide_fresh(&flags("x:1"), &[]), "address x:1 is not in --cluster.initial-nodes=a:1,b:1,c:1");
    let twice = Flags { initial_nodes: list(&["a:1", "b:1", "a:1"]), ..flags("a:1") };
    refused(decide_fresh(&twice, &[]), "a:1 is twice in");
    let both = Flags { join: list(&["b:1"]), ..flags("a:1") };
    refused(decide_fresh(&both, &[]), "were both given");
    refused(decide_fresh(&joining("a:1", &["a:1"]), &[]), "names only this node itself");
}

#[test]
fn an_address_at_which_somebody_else_answers_is_refused() {
    let other_member = Answer::InCluster(Member { process: 99, ..cluster_member("a:1") });
    refused(
        decide_fresh(&flags("a:1"), &[("a:1", Some(other_member.clone()))]),
        "node 0000000000000001 of cluster `one` answers at a:1",
    );
    refused(decide(&was_member(1), &flags("a:1"), &probes(&[("a:1", Some(other_member))])), "answers at a:1");
    let other_fresh = Answer::Fresh { process: 99, name: "one".to_owned(), initial_nodes: list(&LIST) };
    refused(decide_fresh(&joining("d:1", &["a:1"]), &[("d:1", Some(other_fresh))]), "another node answers at d:1");
}

/// All answers that a node can give, or none.
fn all_answers(address: &str) -> Vec<Option<Answer>> {
    let fresh_with = |name: &str, nodes: &[&str]| Answer::Fresh {
        process: process(address),
        name: name.to_owned(),
        initial_nodes: list(nodes),
    };
    let other_cluster = |name: &str, cluster: &str| {
        let (cluster, name) = (cluster.to_owned(), name.to_owned());
        Answer::InCluster(Member { cluster, name, ..cluster_member(address) })
    };
    vec![
        None,
        Some(fresh(address)),
        Some(fresh_with("two", &LIST)),
        Some(fresh_with("one", &["b:1", "a:1", "c:1"])),
        Some(fresh_with("one", &[])),
        Some(member(address)),
        Some(other_cluster("one", "2f")),
        Some(other_cluster("two", "2f")),
        Some(other_cluster("", "1f")),
    ]
}

#[test]
fn whatever_others_answer_only_the_first_founds_and_only_if_all_are_fresh() {
    let mut decisions = 0;
    for own in LIST {
        let others: Vec<&str> = LIST.into_iter().filter(|address| *address != own).collect();
        for first in all_answers(others[0]) {
            for second in all_answers(others[1]) {
                decisions += 1;
                let answers = [(others[0], first.clone()), (others[1], second.clone())];
                let all_fresh = answers.iter().all(|(address, answer)| *answer == Some(fresh(address)));
                let in_cluster = |answer: &Option<Answer>| matches!(answer, Some(Answer::InCluster(_)));
                match decide_fresh(&flags(own), &answers) {
                    Decision::Found => assert!(own == "a:1" && all_fresh, "{own} {answers:?}"),
                    Decision::Join { ways } => {
                        for Way { through, replaces } in ways {
                            let (_, answer) = answers.iter().find(|(other, _)| *other == through).unwrap();
                            let Some(Answer::InCluster(member)) = answer else { panic!("{through} is in no cluster") };
                            assert!(member.name == "one" || member.name.is_empty());
                            assert_eq!(replaces, Some(process(own) - process("a:1") + 1));
                        }
                    }
                    Decision::Wait { whom, .. } => {
                        assert!(!whom.is_empty() && !whom.contains(&own.to_owned()));
                        assert!(!answers.iter().any(|(_, answer)| in_cluster(answer)), "{answers:?}");
                    }
                    Decision::Refuse { reason } => assert!(!all_fresh && reason.len() > 40, "{reason}"),
                    Decision::GoOn => panic!("a fresh node has nothing to go on with"),
                }
                // A member never founds again, joins or waits.
                let again = decide(&was_member(1), &flags(own), &probes(&answers));
                assert!(matches!(again, Decision::GoOn | Decision::Refuse { .. }), "{again:?}");
            }
        }
    }
    assert_eq!(decisions, 3 * 81);
}
