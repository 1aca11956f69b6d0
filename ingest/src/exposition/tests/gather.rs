//! Classic histograms that are told as native ones.

use super::*;

const GATHERED: HistogramForms = HistogramForms { native: false, classic_as_native: true, always_classic: false };

fn gathered(body: &str, forms: HistogramForms) -> Vec<String> {
    let told = entries_with(body.as_bytes(), Format::OpenMetrics, forms).into_iter();
    told.filter(|line| !line.starts_with("TYPE")).collect()
}

const TWO: &str = "# TYPE h histogram\n\
    h_bucket{le=\"1\",a=\"x\"} 2 # {id=\"e\"} 0.5\n\
    h_bucket{a=\"x\",le=\"2.5\"} 5\n\
    h_bucket{a=\"x\",le=\"+Inf\"} 6\n\
    h_count{a=\"x\"} 6\n\
    h_sum{a=\"x\"} 12.5\n\
    h_count{a=\"y\"} 3\n\
    h_sum{a=\"y\"} 1\n\
    # EOF\n";

#[test]
fn series_of_one_histogram_become_one() {
    let told: Vec<_> = gathered(TWO, GATHERED).into_iter().filter(|line| line != "PART").collect();
    assert_eq!(
        told,
        [
            r##"{__name__="h", a="x"} Unknown {count:6, sum:12.5, [-Inf,1]:2, (1,2.5]:3, (2.5,+Inf]:1} # {id="e"} 0.5"##,
            r#"{__name__="h", a="y"} Unknown {count:3, sum:1, [-Inf,+Inf]:3}"#,
        ]
    );
    assert_eq!(gathered(TWO, GATHERED).iter().filter(|line| *line == "PART").count(), 7);
}

#[test]
fn their_series_are_told_too_if_they_are_wanted() {
    let both = gathered(TWO, HistogramForms { always_classic: true, ..GATHERED });
    let classic: Vec<_> = both.iter().filter(|line| !line.contains("Unknown")).cloned().collect();
    assert_eq!(classic, gathered(TWO, HistogramForms::default()));
    assert_eq!(both.len(), classic.len() + 2);
}

#[test]
fn what_is_no_classic_histogram_stays() {
    for body in [
        "# TYPE h counter\nh_total 3\n# EOF\n",
        "# TYPE h summary\nh_count 3\nh_sum 3\n# EOF\n",
        "# TYPE h histogram\nh_bucket 3\nh_bucket{le=\"x\"} 3\nh_created 5\n# EOF\n",
        "h_count 3\nh_sum 3\n# EOF\n",
        "# TYPE h histogram\nother_count 3\n# EOF\n",
    ] {
        assert_eq!(gathered(body, GATHERED), gathered(body, HistogramForms::default()), "{body}");
    }
}

#[test]
fn contradictory_counts_make_no_histogram() {
    let body =
        "# TYPE h histogram\nh_bucket{le=\"1\"} 5\nh_bucket{le=\"2\"} 4\nh_count 4\n# TYPE g gauge\ng 1\n# EOF\n";
    assert_eq!(gathered(body, GATHERED), ["PART", "PART", "PART", r#"{__name__="g"} 1"#]);
}
