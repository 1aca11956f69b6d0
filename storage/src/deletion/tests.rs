use std::pin::pin;

use futures::{join, poll};
use pharos_model::Matcher;

use super::*;
use crate::record::MATCHERS_MAX;
use crate::test_node::{Dump, SLICE_MS, TestNode, labels, owner, tenant};

#[tokio::test]
async fn what_is_deleted_while_its_slice_is_sealed_stays_deleted() {
    let node = TestNode::new();
    let (gone, kept) = (labels(&[("__name__", "gone")]), labels(&[("__name__", "kept")]));
    for ts in (0..2 * SLICE_MS).step_by(10_000) {
        node.append(&gone, ts, 1.0);
        node.append(&kept, ts, 2.0);
    }
    let (matchers, of, log) = ([Matcher::equal("__name__", "gone")], tenant(), node.log());
    let deletion = Deletion { tenant: &of, matchers: &matchers, range: TimeRange::ALL };

    let pause = node.faults.pause_at("/data/");
    let sealer = node.sealer();
    let deleted_during_seal = async {
        pause.reached().await;
        let mut running = pin!(deletion.run(&node.catalog, &*log, owner(1), 0));
        let early = poll!(&mut running);
        pause.end();
        match early {
            std::task::Poll::Ready(done) => done,
            std::task::Poll::Pending => running.await,
        }
    };
    let (sealed, deleted) = join!(sealer.run(&of, owner(1), 0), deleted_during_seal);
    assert_eq!(sealed.unwrap().files, 1);
    deleted.unwrap();
    assert_eq!(node.dump().await.into_keys().collect::<Vec<_>>(), [kept]);
}

#[tokio::test]
async fn head_and_files_lose_the_samples_of_the_range() {
    let node = TestNode::new();
    let series = labels(&[("__name__", "m")]);
    for ts in (0..3 * SLICE_MS).step_by(50_000) {
        node.append(&series, ts, 1.0);
    }
    node.sealer().run(&tenant(), owner(1), 0).await.unwrap();
    let range = TimeRange::new(50_000, 2 * SLICE_MS + 10_000);
    let deletion = Deletion { tenant: &tenant(), matchers: &[Matcher::equal("__name__", "m")], range };
    deletion.run(&node.catalog, &*node.log(), owner(1), 0).await.unwrap();
    let bits = 1_f64.to_bits();
    assert_eq!(node.dump().await, Dump::from([(series, vec![(0, bits), (2 * SLICE_MS + 50_000, bits)])]));
}

#[tokio::test]
async fn more_matchers_than_a_command_takes_are_refused() {
    let node = TestNode::new();
    let matchers: Vec<_> = (0..=MATCHERS_MAX).map(|i| Matcher::equal(format!("l{i}"), "x")).collect();
    let deletion = Deletion { tenant: &tenant(), matchers: &matchers, range: TimeRange::ALL };
    let refused = deletion.run(&node.catalog, &*node.log(), owner(1), 0).await.unwrap_err();
    assert_eq!(refused.to_string(), "257 matchers in one selector, a deletion takes at most 256");
}
