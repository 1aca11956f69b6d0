//! Series and targets that come and go, reloads, and what the API shows of them.

use super::*;

#[tokio::test]
async fn a_series_that_vanishes_gets_a_marker_at_the_next_scrape() {
    let (server, body) = serving("a 1\nb 2\n").await;
    let world = World::scraping(&server, "").await;
    world.sink.wait_for("up", |sink| sink.last(UP) == Some(1.0)).await;
    *body.lock() = "a 1\nc 3\n".into();
    world.sink.wait_for("ended", |sink| sink.ended(&series("b"))).await;
    let ended_at = world.sink.samples(&series("b")).last().unwrap().ts;
    assert!(ts_of(&world.sink.samples(&series("a"))).contains(&ended_at));
    assert_eq!(world.sink.samples(&series("c"))[0].ts, ended_at);
    *body.lock() = "a 1\nb 4\n".into();
    world.sink.wait_for("back", |sink| sink.last(&series("b")) == Some(4.0)).await;
    world.sink.wait_for("ended", |sink| sink.ended(&series("c"))).await;
    assert!(!world.sink.ended(&series("a")));
}

#[tokio::test]
async fn markers_that_the_store_could_not_take_go_with_a_later_scrape() {
    let (server, body) = serving("a 1\nb 2\n").await;
    let world = World::scraping(&server, "").await;
    world.sink.wait_for("up", |sink| sink.last(UP) == Some(1.0)).await;
    world.sink.kept.lock().markers_unavailable = 2;
    *body.lock() = "a 1\n".into();
    world.sink.wait_for("ended", |sink| sink.ended(&series("b"))).await;
    assert_eq!(world.sink.kept.lock().markers_unavailable, 0);
    assert!(!world.sink.ended(&series("a")));
}

#[tokio::test]
async fn a_loop_that_panics_is_begun_again() {
    let (server, _) = serving("a 1\n").await;
    let world = World::scraping(&server, "").await;
    world.sink.wait_for("up", |sink| sink.last(UP) == Some(1.0)).await;
    world.sink.kept.lock().panics = true;
    let scrapes = world.sink.count(UP);
    world.sink.wait_for("scraped on", |sink| sink.count(UP) >= scrapes + 2).await;
    assert_eq!(world.metric("pharos_target_scrape_loops_restarted_total"), 1.0);
    assert_eq!(world.manager.status().pools()["j"].active.len(), 1);
}

#[tokio::test]
async fn series_with_times_of_their_own_get_a_marker_only_when_tracked() {
    let past = Clock::now_ms(&SystemClock::default()) - 10_000;
    for (keys, marked) in [("", false), ("track_timestamps_staleness: true", true)] {
        let (server, body) = serving(&format!("a 1 {past}\nb 1\n")).await;
        let world = World::scraping(&server, keys).await;
        world.sink.wait_for("up", |sink| sink.last(UP) == Some(1.0)).await;
        *body.lock() = "c 1\n".into();
        world.sink.wait_for("ended", |sink| sink.ended(&series("b"))).await;
        let scrapes = world.sink.count(UP);
        world.sink.wait_for("scraped on", |sink| sink.count(UP) > scrapes).await;
        assert_eq!(world.sink.ended(&series("a")), marked, "{keys}");
    }
}

#[tokio::test]
async fn a_target_that_is_gone_ends_its_series_after_two_intervals() {
    let (server, _) = serving("a 1\n").await;
    let world = World::scraping(&server, "").await;
    world.sink.wait_for("up", |sink| sink.last(UP) == Some(1.0)).await;
    world.discover(&[]);
    world.sink.wait_for("ended", |sink| sink.ended(UP) && sink.ended(&series("a"))).await;
    assert!(world.sink.ended(&series("scrape_samples_scraped")));
    let (a, up) = (world.sink.samples(&series("a")), world.sink.samples(UP));
    assert_eq!(a.last().unwrap().ts, up.last().unwrap().ts);
    assert!(world.manager.status().pools()["j"].active.is_empty());
}

#[tokio::test]
async fn a_job_that_is_gone_ends_its_series() {
    let (server, _) = serving("a 1\n").await;
    let world = World::scraping(&server, "").await;
    world.sink.wait_for("up", |sink| sink.last(UP) == Some(1.0)).await;
    world.apply(&[]).await;
    assert!(world.manager.status().pools().is_empty());
    world.sink.wait_for("ended", |sink| sink.ended(UP) && sink.ended(&series("a"))).await;
}

#[tokio::test]
async fn a_target_that_comes_back_in_time_goes_on_as_if_never_gone() {
    let (server, _) = serving("a 1\n").await;
    let world = World::new();
    let address = server.address.to_string();
    world.discover(&[("j", &address)]);
    world.apply(&[job("j", "scrape_interval: 300ms")]).await;
    world.sink.wait_for("up", |sink| sink.last(UP) == Some(1.0)).await;
    let mut status = world.manager.status();
    status.pools();
    world.discover(&[]);
    while !status.pools()["j"].active.is_empty() {
        assert!(status.changed().await);
    }
    world.discover(&[("j", &address)]);
    let scrapes = world.sink.count(UP);
    world.sink.wait_for("scraped on", |sink| sink.count(UP) >= scrapes + 3).await;
    assert!(!world.sink.has_markers());
    assert_eq!(world.sink.kept.lock().fresh.iter().sum::<usize>(), 6);
}

#[tokio::test]
async fn a_reload_that_changes_nothing_about_a_target_keeps_its_series() {
    let (server, _) = serving("a 1\n").await;
    let world = World::scraping(&server, "").await;
    world.sink.wait_for("up", |sink| sink.last(UP) == Some(1.0)).await;
    for keys in ["", "sample_limit: 10", "sample_limit: 20, bearer_token: t", "metrics_path: /other"] {
        world.apply(&[job("j", keys), job("other", "")]).await;
        let scrapes = world.sink.count(UP);
        world.sink.wait_for("scraped on", |sink| sink.count(UP) >= scrapes + 2).await;
    }
    assert_eq!(world.sink.kept.lock().fresh.iter().sum::<usize>(), 6);
    assert!(!world.sink.has_markers());
    assert_eq!(server.requests().last().unwrap().uri, "/other");
    assert_eq!(server.last_header("authorization"), "");
}

#[tokio::test]
async fn series_that_new_rules_no_longer_make_end_with_the_next_scrape() {
    let (server, _) = serving("a 1\nb 2\n").await;
    let world = World::scraping(&server, "").await;
    world.sink.wait_for("up", |sink| sink.last(UP) == Some(1.0)).await;
    world.apply(&[job("j", "metric_relabel_configs: [{source_labels: [__name__], regex: b, action: drop}]")]).await;
    world.sink.wait_for("ended", |sink| sink.ended(&series("b"))).await;
    let scrapes = world.sink.count(&series("a"));
    world.sink.wait_for("scraped on", |sink| sink.count(&series("a")) >= scrapes + 2).await;
    assert!(!world.sink.samples(&series("a")).iter().any(|sample| is_stale(sample.value)));
    assert!(!world.sink.ended(UP));
}

#[tokio::test]
async fn a_changed_interval_takes_effect() {
    let (server, _) = serving("a 1\n").await;
    let world = World::scraping(&server, "scrape_interval: 1h").await;
    assert_eq!(world.target().target.interval_text, "1h");
    world.apply(&[job("j", "scrape_interval: 20ms")]).await;
    world.sink.wait_for("scraped", |sink| sink.count(UP) >= 2).await;
    assert_eq!(world.target().target.interval_text, "20ms");
}

#[tokio::test]
async fn the_end_of_the_process_writes_no_markers() {
    let (server, _) = serving("a 1\n").await;
    let world = World::scraping(&server, "").await;
    world.sink.wait_for("up", |sink| sink.last(UP) == Some(1.0)).await;
    let sink = world.sink.clone();
    drop(world);
    // The loops hold the store; once nobody else does, they are all gone.
    while Arc::strong_count(&sink) > 1 {
        tokio::task::yield_now().await;
    }
    assert!(!sink.has_markers());
}

#[tokio::test]
async fn a_job_whose_client_cannot_be_built_keeps_its_old_configuration() {
    let (server, _) = serving("a 1\n").await;
    let world = World::scraping(&server, "").await;
    let failed = world.manager.apply(&[job("j", "tls_config: {ca_file: /nowhere}")]).await;
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].to_string(), "job \"j\": unable to load specified CA cert /nowhere: entity not found");
    world.sink.wait_for("scraped", |sink| sink.count(UP) >= 2).await;
    assert_eq!(world.metric("prometheus_target_scrape_pool_reloads_failed_total"), 1.0);
}

#[tokio::test]
async fn the_api_sees_targets_with_their_last_scrape() {
    let (server, _) = serving("a 1\n").await;
    let world = World::scraping(&server, "scrape_interval: 1h").await;
    let target = world.target();
    assert_eq!(target.last_scrape(), status::LastScrape::default());
    world.apply(&[job("j", "")]).await;
    world.sink.wait_for("up", |sink| sink.count(UP) >= 2).await;
    let target = world.target();
    let last = target.last_scrape();
    assert_eq!((last.health, last.error.as_str(), &*target.pool), (Health::Up, "", "j"));
    assert!(ts_of(&world.sink.samples(UP)).contains(&last.at.unwrap()) && last.took > Duration::ZERO);
    assert_eq!(target.target.url_text, server.url("/metrics").as_str());
    assert_eq!(target.target.labels.to_string(), r#"{instance="x", job="j"}"#);
    assert_eq!(target.target.discovered.get("__scrape_interval__"), Some("20ms"));
    assert_eq!(world.metric("prometheus_target_scrape_pool_targets{scrape_job=\"j\"}"), 1.0);
    assert!(world.metric("prometheus_target_interval_length_seconds_count{interval=\"20ms\"}") >= 1.0);
    assert!(world.metric("prometheus_target_scrape_pool_sync_total{scrape_job=\"j\"}") >= 1.0);
    assert_eq!(world.metric("prometheus_target_sync_failed_total{scrape_job=\"j\"}"), 0.0);
}

#[tokio::test]
async fn dropped_targets_are_counted_and_some_are_kept() {
    let world = World::new();
    world.discover(&[("j", "a:1"), ("j", "b:1"), ("j", "c:1")]);
    world
        .apply(&[job(
            "j",
            "keep_dropped_targets: 2, relabel_configs: [{source_labels: [__address__], regex: '.*', action: drop}]",
        )])
        .await;
    let pools = world.manager.status().pools();
    assert_eq!((pools["j"].active.len(), pools["j"].dropped.len(), pools["j"].dropped_count), (0, 2, 3));
    assert_eq!(pools["j"].dropped[0].discovered.get("__address__"), Some("a:1"));
}

#[tokio::test]
async fn the_same_target_found_twice_is_scraped_once() {
    let (server, _) = serving("a 1\n").await;
    let world = World::new();
    let address = server.address.to_string();
    world.discover(&[("j", &address), ("j", &address)]);
    world.apply(&[job("j", "")]).await;
    assert_eq!(world.manager.status().pools()["j"].active.len(), 1);
}

#[tokio::test]
async fn a_target_that_cannot_be_one_is_counted_and_harms_no_other() {
    let (server, _) = serving("a 1\n").await;
    let world = World::new();
    world.discover(&[("j", &server.address.to_string()), ("j", "http://bad/")]);
    world.apply(&[job("j", "")]).await;
    assert_eq!(world.manager.status().pools()["j"].active.len(), 1);
    assert_eq!(world.metric("prometheus_target_sync_failed_total{scrape_job=\"j\"}"), 1.0);
}
