//! Targets that are dealt out among nodes, and go from one to another.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::Instant;

use super::log::Log;
use super::virtual_time::{INTERVAL_MS, VirtualClock, addresses, unasked, up_of};
use super::*;

/// Deals targets to a node as a test says.
#[derive(Debug)]
struct Share {
    owns: Mutex<fn(&LabelSet) -> bool>,
    changes: watch::Sender<u64>,
    asked: AtomicUsize,
}

impl Ownership for Share {
    fn owns(&self, labels: &LabelSet) -> bool {
        self.asked.fetch_add(1, Ordering::SeqCst);
        (*self.owns.lock())(labels)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

fn all(_: &LabelSet) -> bool {
    true
}

fn none(_: &LabelSet) -> bool {
    false
}

fn the_first(labels: &LabelSet) -> bool {
    labels.get("instance") == Some("t0:1")
}

struct Node {
    world: World,
    share: Arc<Share>,
}

impl Node {
    /// A node that finds targets `t0:1` and so on. What discovery finds later waits for the next configuration.
    async fn start(sink: &Arc<Recorder>, clock: &Arc<dyn Clock>, targets: usize, owns: fn(&LabelSet) -> bool) -> Self {
        let share =
            Arc::new(Share { owns: Mutex::new(owns), changes: watch::channel(0).0, asked: AtomicUsize::new(0) });
        let sync_pause = Duration::from_secs(3600);
        let (sink, clock, ownership) = (sink.clone(), clock.clone(), share.clone());
        let node = Self { world: World::within(Setting { sink, clock, ownership, sync_pause }), share };
        node.find(targets).await;
        node
    }

    async fn find(&self, targets: usize) {
        self.world.targets.send_replace(addresses(targets));
        self.world.apply(&[unasked("j", "")]).await;
    }

    /// Deals anew, and waits until the node scrapes so many targets, which takes no time.
    async fn deal(&self, owns: fn(&LabelSet) -> bool, scraped: usize) {
        let begun = Instant::now();
        *self.share.owns.lock() = owns;
        self.share.changes.send_modify(|version| *version += 1);
        self.world.wait_for_status(|pools| pools["j"].active.len() == scraped).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    fn handed_over(&self) -> f64 {
        self.world.metric("pharos_target_scrape_loops_handed_over_total")
    }
}

/// A recorder and a clock for one or more nodes.
fn surroundings() -> (Arc<Recorder>, Arc<dyn Clock>) {
    (Arc::default(), VirtualClock::start())
}

fn assert_regular(sink: &Recorder, target: usize) {
    let gaps = sink.gaps(target);
    assert!(gaps.len() >= 2 && gaps.iter().all(|gap| *gap == INTERVAL_MS), "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_scrapes_and_shows_what_it_owns_alone() {
    let (sink, clock) = surroundings();
    let node = Node::start(&sink, &clock, 3, the_first).await;
    sink.wait_for_scrapes(0, 3).await;
    assert_eq!((sink.count(&up_of(1)), sink.count(&up_of(2))), (0, 0));
    let pools = node.world.manager.status().pools();
    assert_eq!((pools["j"].active.len(), pools["j"].elsewhere), (1, 2));
    assert_eq!(pools["j"].active[0].target.url_text, "http://t0:1/metrics");
    // The limit counts all three, whoever scrapes them.
    let error = "target_limit exceeded (number of targets: 3, limit: 1)";
    assert_eq!(pools["j"].active[0].last_scrape().error, error);
    assert_eq!(node.world.metric("prometheus_target_scrape_pool_targets{scrape_job=\"j\"}"), 1.0);
    assert_eq!(node.world.metric("pharos_target_scrape_pool_targets_elsewhere{scrape_job=\"j\"}"), 2.0);
}

#[tokio::test(start_paused = true)]
async fn a_target_goes_on_at_its_next_owner_in_its_phase_and_without_markers() {
    let (sink, clock) = surroundings();
    let a = Node::start(&sink, &clock, 2, all).await;
    let b = Node::start(&sink, &clock, 2, none).await;
    sink.wait_for_scrapes(0, 3).await;
    for (from, to) in [(&a, &b), (&b, &a), (&a, &b)] {
        tokio::time::sleep(Duration::from_millis(123)).await;
        from.deal(none, 0).await;
        to.deal(all, 2).await;
        sink.wait_for_scrapes(0, 3).await;
    }
    assert_regular(&sink, 0);
    assert_regular(&sink, 1);
    assert!(!sink.has_markers());
    assert_eq!((a.handed_over(), b.handed_over()), (4.0, 2.0));
    let elsewhere = |node: &Node| node.world.metric("pharos_target_scrape_pool_targets_elsewhere{scrape_job=\"j\"}");
    assert_eq!((elsewhere(&a), elsewhere(&b)), (2.0, 0.0));
}

#[tokio::test(start_paused = true)]
async fn two_owners_at_once_give_their_samples_the_same_times() {
    let (sink, clock) = surroundings();
    let _a = Node::start(&sink, &clock, 2, all).await;
    sink.wait_for_scrapes(0, 2).await;
    tokio::time::sleep(Duration::from_millis(123)).await;
    let b = Node::start(&sink, &clock, 2, none).await;
    b.deal(all, 2).await;
    sink.wait_for_scrapes(0, 6).await;
    let gaps = sink.gaps(0);
    assert!(gaps.iter().all(|gap| [0, INTERVAL_MS].contains(gap)), "{gaps:?}");
    assert!(gaps.iter().filter(|gap| **gap == 0).count() >= 2, "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_leaves_the_configuration_ends_its_series_at_its_owner_alone() {
    let (sink, clock) = surroundings();
    let (other_sink, _) = surroundings();
    let owner = Node::start(&sink, &clock, 2, all).await;
    let other = Node::start(&other_sink, &clock, 2, all).await;
    sink.wait_for_scrapes(0, 1).await;
    other_sink.wait_for_scrapes(0, 1).await;
    other.deal(none, 0).await;
    for node in [&owner, &other] {
        node.find(0).await;
    }
    sink.wait_for("ended", |sink| sink.ended(&up_of(0)) && sink.ended(&up_of(1))).await;
    assert!(!other_sink.has_markers());
    let pools = other.world.manager.status().pools();
    assert_eq!((pools["j"].active.len(), pools["j"].elsewhere), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_comes_back_for_another_node_ends_no_series() {
    let (sink, clock) = surroundings();
    let node = Node::start(&sink, &clock, 2, all).await;
    sink.wait_for_scrapes(0, 1).await;
    node.find(0).await;
    *node.share.owns.lock() = none;
    node.find(2).await;
    tokio::time::sleep(Duration::from_millis(10 * INTERVAL_MS as u64)).await;
    assert!(!sink.has_markers());
    assert_eq!(sink.count(&up_of(0)), 1);
}

#[tokio::test(start_paused = true)]
async fn a_target_whose_address_and_owner_change_at_once_ends_no_series() {
    let (sink, clock) = surroundings();
    let node = Node::start(&sink, &clock, 2, all).await;
    sink.wait_for_scrapes(0, 1).await;
    *node.share.owns.lock() = none;
    node.world.apply(&[unasked("j", "metrics_path: /other")]).await;
    tokio::time::sleep(Duration::from_millis(10 * INTERVAL_MS as u64)).await;
    assert!(!sink.has_markers());
    assert_eq!(node.world.manager.status().pools()["j"].elsewhere, 2);
}

/// Waits for the first scrape and keeps it at the store.
async fn hold_first_scrape(sink: &Recorder) {
    sink.held.send_replace(true);
    assert!(sink.waiting.subscribe().wait_for(|waiting| *waiting > 0).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_scrape_under_way_is_the_last_one() {
    let (sink, clock) = surroundings();
    let node = Node::start(&sink, &clock, 2, the_first).await;
    hold_first_scrape(&sink).await;
    node.deal(none, 0).await;
    assert_eq!(sink.count(&up_of(0)), 0);
    sink.held.send_replace(false);
    sink.wait_for("stored", |sink| sink.count(&up_of(0)) == 1).await;
    tokio::time::sleep(Duration::from_millis(10 * INTERVAL_MS as u64)).await;
    assert_eq!(sink.count(&up_of(0)), 1);
    assert!(!sink.has_markers());
}

#[tokio::test(start_paused = true)]
async fn a_target_that_goes_to_another_node_and_then_away_is_not_ended_here() {
    let (sink, clock) = surroundings();
    let node = Node::start(&sink, &clock, 2, the_first).await;
    hold_first_scrape(&sink).await;
    node.deal(none, 0).await;
    node.find(0).await;
    sink.held.send_replace(false);
    sink.wait_for("stored", |sink| sink.count(&up_of(0)) == 1).await;
    tokio::time::sleep(Duration::from_millis(10 * INTERVAL_MS as u64)).await;
    assert!(!sink.has_markers());
}

#[tokio::test(start_paused = true)]
async fn a_target_regained_while_its_last_scrape_is_under_way_goes_on_in_its_loop() {
    let (sink, clock) = surroundings();
    let node = Node::start(&sink, &clock, 2, the_first).await;
    hold_first_scrape(&sink).await;
    for _ in 0..3 {
        node.deal(none, 0).await;
        node.deal(the_first, 1).await;
    }
    sink.held.send_replace(false);
    sink.wait_for_scrapes(0, 4).await;
    assert_regular(&sink, 0);
    // The series are known by handle from the first scrape on.
    assert_eq!(sink.kept.lock().fresh.iter().sum::<usize>(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_target_regained_after_its_loop_ended_keeps_its_phase() {
    let (sink, clock) = surroundings();
    let node = Node::start(&sink, &clock, 2, the_first).await;
    sink.wait_for_scrapes(0, 2).await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(123)).await;
        node.deal(none, 0).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        node.deal(the_first, 1).await;
    }
    sink.wait_for_scrapes(0, 3).await;
    assert_regular(&sink, 0);
    assert!(!sink.has_markers());
    assert_eq!(sink.kept.lock().fresh.iter().sum::<usize>(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_change_asks_for_each_target_once_and_touches_only_those_that_go() {
    const TARGETS: usize = 3000;
    let tenth = |labels: &LabelSet| labels.get("instance").is_some_and(|instance| instance.ends_with("7:1"));
    let (sink, clock) = surroundings();
    let node = Node::start(&sink, &clock, TARGETS, tenth).await;
    sink.wait_for("scraped", |sink| sink.kept.lock().series.len() == TARGETS / 10 * 5).await;
    let status = node.world.manager.status();
    let before = status.pools();

    // Nothing changes for this node.
    node.share.asked.store(0, Ordering::SeqCst);
    node.deal(tenth, TARGETS / 10).await;
    while node.share.asked.load(Ordering::SeqCst) < TARGETS {
        tokio::task::yield_now().await;
    }
    assert!(Arc::ptr_eq(&before, &status.pools()));
    assert_eq!(node.share.asked.load(Ordering::SeqCst), TARGETS);

    node.deal(the_first, 1).await;
    assert!(node.share.asked.load(Ordering::SeqCst) <= 3 * TARGETS);
    assert_eq!(node.handed_over(), (TARGETS / 10) as f64);
    node.deal(all, TARGETS).await;
    assert_eq!(status.pools()["j"].elsewhere, 0);
}

#[tokio::test]
async fn samples_that_the_other_owner_stored_first_are_no_mistake_of_the_target() {
    let (log, _guard) = Log::start();
    let (server, _) = serving("a 1\n").await;
    let world = World::new();
    world.sink.kept.lock().refuse =
        ["a", "scrape_duration_seconds"].map(|name| (name, Refusal::DuplicateTimestamp)).into();
    world.discover(&[("j", &server.address.to_string())]);
    world.apply(&[job("j", "")]).await;
    world.sink.wait_for("scraped", |sink| sink.last(UP) == Some(1.0)).await;
    while world.metric("pharos_target_scrapes_sample_other_owner_total") == 0.0 {
        tokio::task::yield_now().await;
    }
    let told = log.line("another node scraped the target").unwrap();
    assert!(told.ends_with("num_dropped=1"), "{told}");
}
