//! Scraping in the time of a paused runtime, which goes on only when there is nothing to do. No target is asked, for that takes real
//! time: each scrape fails by the job's target limit, and the target's own series tell when it was.

use tokio::time::Instant;

use super::*;

/// Goes with the runtime's time.
#[derive(Debug)]
pub(super) struct VirtualClock {
    started: Instant,
}

impl VirtualClock {
    pub(super) fn start() -> Arc<dyn Clock> {
        Arc::new(Self { started: Instant::now() })
    }
}

impl Clock for VirtualClock {
    fn now_ms(&self) -> TimestampMs {
        1_700_000_000_000 + self.started.elapsed().as_millis() as TimestampMs
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// The interval of [`unasked`] jobs.
pub(super) const INTERVAL_MS: i64 = 1000;

/// A job of more than one target.
pub(super) fn unasked(name: &str, keys: &str) -> Arc<ScrapeConfig> {
    job(name, &format!("scrape_interval: 1s, target_limit: 1, {keys}"))
}

/// `t0:1`, `t1:1` and so on.
pub(super) fn addresses(count: usize) -> Arc<TargetSets> {
    let targets = (0..count).map(|i| format!("t{i}:1")).collect();
    let group = Arc::new(TargetGroup { targets, ..TargetGroup::default() });
    Arc::new(BTreeMap::from([("j".to_owned(), vec![group])]))
}

/// The series `up` of one of these.
pub(super) fn up_of(target: usize) -> String {
    format!(r#"{{__name__="up", instance="t{target}:1", job="j"}}"#)
}

impl Recorder {
    /// Waits for so many more scrapes of a target.
    pub(super) async fn wait_for_scrapes(&self, target: usize, more: usize) {
        let scrapes = self.count(&up_of(target)) + more;
        self.wait_for("scraped on", |sink| sink.count(&up_of(target)) >= scrapes).await;
    }

    /// The times between a target's scrapes.
    pub(super) fn gaps(&self, target: usize) -> Vec<i64> {
        ts_of(&self.samples(&up_of(target))).windows(2).map(|pair| pair[1] - pair[0]).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_reload_that_changes_nothing_about_a_target_keeps_its_phase() {
    let world = World::within(Setting { clock: VirtualClock::start(), ..Setting::default() });
    world.targets.send_replace(addresses(2));
    for keys in ["", "sample_limit: 10", "sample_limit: 20, bearer_token: t", "params: {x: [y]}"] {
        world.apply(&[unasked("j", keys), job("other", "")]).await;
        world.sink.wait_for_scrapes(0, 2).await;
        // Away from the phase, so that a loop that counts from here is seen.
        tokio::time::sleep(Duration::from_millis(321)).await;
    }
    let gaps = world.sink.gaps(0);
    assert!(gaps.len() >= 7 && gaps.iter().all(|gap| *gap == INTERVAL_MS), "{gaps:?}");
    assert!(!world.sink.has_markers());
}

#[tokio::test(start_paused = true)]
async fn a_target_that_goes_and_comes_back_at_once_is_scraped_once_in_its_time() {
    let world = World::within(Setting { clock: VirtualClock::start(), ..Setting::default() });
    world.targets.send_replace(addresses(2));
    world.apply(&[unasked("j", "")]).await;
    for _ in 0..3 {
        world.sink.wait_for_scrapes(0, 1).await;
        for count in [0, 2] {
            world.targets.send_replace(addresses(count));
            world.wait_for_status(|pools| pools["j"].active.len() == count).await;
        }
    }
    world.sink.wait_for_scrapes(0, 2).await;
    let gaps = world.sink.gaps(0);
    assert!(gaps.len() >= 4 && gaps.iter().all(|gap| *gap == INTERVAL_MS), "{gaps:?}");
}
