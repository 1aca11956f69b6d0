//! What is read of a body with features on: start timestamps, type and unit as labels.

use super::super::metadata::MetadataCache;
use super::super::reading::{Body, Reading, Rules};
use super::super::target::{Made, targets_of};
use super::*;
use crate::exposition::cache::LineCache;
use crate::exposition::negotiation::Format;

const STARTS: ScrapeFeatures = ScrapeFeatures { start_timestamps: true, type_and_unit_labels: false };
const LABELS: ScrapeFeatures = ScrapeFeatures { start_timestamps: false, type_and_unit_labels: true };

/// One target that is read again and again.
struct Bench {
    features: ScrapeFeatures,
    cache: LineCache,
    metadata: MetadataCache,
    handles: HashMap<LabelSet, SeriesHandle>,
}

impl Bench {
    fn new(features: ScrapeFeatures) -> Self {
        let cache = LineCache::new(SeriesHasher::new(1));
        Self { features, cache, metadata: MetadataCache::default(), handles: HashMap::new() }
    }

    /// Reads a body and stores it; fresh series get handles.
    fn read(&mut self, keys: &str, text: &str) -> Reading {
        let config = job("j", keys);
        let group = TargetGroup { targets: vec!["h:1".into()], ..TargetGroup::default() };
        let Ok(Made::Target(target)) = targets_of(&group, &config).remove(0) else { panic!("one target") };
        let format = if text.ends_with("# EOF\n") { Format::OpenMetrics } else { Format::Text };
        let body = Body { bytes: text.as_bytes(), format, scraped_at: 9, now: 9, samples_max: 1_000 };
        let rules = Rules { target: &target, config: &config, features: self.features };
        let (reading, outcome) = rules.read(body, &mut self.cache, &mut self.metadata);
        outcome.unwrap();
        for (slot, fresh) in reading.fresh_slots.iter().zip(&reading.fresh) {
            let next = SeriesHandle(self.handles.len() as u64);
            self.cache.learn(*slot, *self.handles.entry(fresh.labels.clone()).or_insert(next));
        }
        reading
    }

    /// The exposed labels of the series that a body brings for the first time, and the handles of those that end with it.
    fn scrape(&mut self, text: &str) -> (Vec<String>, Vec<u64>) {
        let reading = self.read("", text);
        let ended = self.cache.vanished().iter().map(|handle| handle.0).collect();
        self.cache.commit();
        let exposed = |labels: &LabelSet| labels.without("job").without("instance").to_string();
        (reading.fresh.iter().map(|fresh| exposed(&fresh.labels)).collect(), ended)
    }
}

const BODY: &str = "# TYPE a counter\na_total 1\na_created 4\n# TYPE g gauge\ng 1\n# EOF\n";

#[test]
fn starts_come_with_samples_by_label_and_by_handle() {
    let mut bench = Bench::new(STARTS);
    let first = bench.read("", BODY);
    assert_eq!((first.fresh.len(), first.starts.fresh), (2, vec![(0, 4_000)]));
    bench.cache.commit();
    let second = bench.read("", BODY);
    assert_eq!((second.known.len(), second.starts.known, second.starts.fresh), (2, vec![(0, 4_000)], vec![]));
}

#[test]
fn without_the_feature_a_created_line_is_a_sample_like_any_other() {
    let reading = Bench::new(ScrapeFeatures::default()).read("", BODY);
    assert_eq!((reading.fresh.len(), reading.starts), (3, Default::default()));
}

#[test]
fn starts_are_found_again_when_the_store_has_forgotten_a_series() {
    let mut bench = Bench::new(STARTS);
    bench.read("", BODY);
    bench.cache.commit();
    let reading = bench.read("", BODY);
    bench.cache.forget(reading.slots[0]);
    let config = job("j", "");
    let group = TargetGroup { targets: vec!["h:1".into()], ..TargetGroup::default() };
    let Ok(Made::Target(target)) = targets_of(&group, &config).remove(0) else { panic!("one target") };
    let rules = Rules { target: &target, config: &config, features: STARTS };
    let body = Body { bytes: BODY.as_bytes(), format: Format::OpenMetrics, scraped_at: 9, now: 9, samples_max: 1_000 };
    let again = rules.read_forgotten(body, &mut bench.cache);
    assert_eq!((again.fresh.len(), again.starts.fresh), (1, vec![(0, 4_000)]));
}

#[test]
fn type_and_unit_become_labels_in_place_of_those_exposed() {
    let (series, _) = Bench::new(LABELS).scrape(
        "# TYPE a_seconds counter\n# UNIT a_seconds seconds\na_seconds_total{__type__=\"x\",__unit__=\"y\",b=\"1\"} 1\n\
         # TYPE u unknown\n# UNIT u \nu{__type__=\"kept\"} 1\n\
         # TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_count 1\n# EOF\n",
    );
    assert_eq!(
        series,
        [
            r#"{__name__="a_seconds_total", __type__="counter", __unit__="seconds", b="1"}"#,
            r#"{__name__="u", __type__="kept"}"#,
            r#"{__name__="h_bucket", __type__="histogram", le="+Inf"}"#,
            r#"{__name__="h_count", __type__="histogram"}"#,
        ]
    );
}

#[test]
fn the_text_format_has_types_and_no_units() {
    let (series, _) = Bench::new(LABELS).scrape("a 1\n# TYPE b gauge\nb 1\n# TYPE c untyped\nc 1\n");
    assert_eq!(series, [r#"{__name__="a"}"#, r#"{__name__="b", __type__="gauge"}"#, r#"{__name__="c"}"#]);
}

#[test]
fn without_the_feature_nothing_is_added() {
    let (series, _) = Bench::new(ScrapeFeatures::default()).scrape("# TYPE b gauge\nb 1\n");
    assert_eq!(series, [r#"{__name__="b"}"#]);
}

/// The text of the line stays, the series does not.
#[test]
fn a_family_of_another_type_is_other_series_and_the_old_ones_end() {
    let mut bench = Bench::new(LABELS);
    let of = |metric_type: &str| format!("# TYPE a {metric_type}\na 1\n# TYPE b gauge\nb 1\n");
    assert_eq!(bench.scrape(&of("counter")).0.len(), 2);
    assert_eq!(bench.scrape(&of("counter")), (vec![], vec![]));
    let (fresh, ended) = bench.scrape(&of("gauge"));
    assert_eq!((fresh, ended), (vec![r#"{__name__="a", __type__="gauge"}"#.to_owned()], vec![0]));
    assert_eq!(bench.scrape(&of("gauge")), (vec![], vec![]));
    let (fresh, ended) = bench.scrape("a 1\n# TYPE b gauge\nb 1\n");
    assert_eq!((fresh, ended), (vec![r#"{__name__="a"}"#.to_owned()], vec![2]));
}

#[test]
fn a_unit_that_comes_or_goes_makes_another_series() {
    let mut bench = Bench::new(LABELS);
    let of = |unit: &str| format!("# TYPE a_s gauge\n# UNIT a_s {unit}\na_s 1\n# EOF\n");
    assert_eq!(bench.scrape(&of("")).0, [r#"{__name__="a_s", __type__="gauge"}"#]);
    assert_eq!(bench.scrape(&of("s")).0, [r#"{__name__="a_s", __type__="gauge", __unit__="s"}"#]);
    assert_eq!(bench.scrape(&of("s")).0, [""; 0]);
}

/// A gathered histogram is told behind the next family's metadata, and still is of its own.
#[test]
fn a_gathered_histogram_has_its_own_type() {
    let mut bench = Bench::new(LABELS);
    let text = "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_count 2\nh_sum 1\n# TYPE g gauge\ng 1\n";
    let reading = bench.read("convert_classic_histograms_to_nhcb: true", text);
    let labels: Vec<_> = reading.fresh.iter().map(|fresh| fresh.labels.get_or_empty("__type__").to_owned()).collect();
    assert_eq!((labels, reading.histograms.fresh.len()), (vec!["histogram".to_owned(), "gauge".to_owned()], 1));
}
