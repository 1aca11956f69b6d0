//! A disk that fills up: writes are turned away, queries go on, and writes resume when there is room again.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{NO_SCRAPES, Node, WRITE_HEADERS, eventually, exchange, now_ms, skipped, write_request};

/// The disk has room for the node's first log segment (8 MiB) beside the filler, but not for the next one (64 MiB).
const DISK: &str = "size=128m";
const FILLER_BYTES: usize = 100 << 20;
/// Most requests that the first segment can take.
const REQUESTS_MAX: usize = 100;

/// A file system of its own, in memory; gone with this value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, with a printed reason, where this process may not mount one.
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(at).output();
        if output.is_ok_and(|output| output.status.success()) {
            return Some(Self(at.to_owned()));
        }
        skipped("a small file system cannot be mounted here; it takes root");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// A request of a thousand new series with a kilobyte of labels each, which no compression makes smaller.
fn large_request(number: usize) -> Vec<u8> {
    let mut state = number as u64 + 1;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        format!("{state:016x}")
    };
    let values: Vec<String> = (0..1000).map(|_| (0..64).map(|_| noise()).collect()).collect();
    let sample = [(now_ms(), 1.0)];
    let labels: Vec<_> = values.iter().map(|value| [("__name__", "filling"), ("noise", value.as_str())]).collect();
    let series: Vec<_> = labels.iter().map(|labels| (labels.as_slice(), sample.as_slice())).collect();
    write_request(&series)
}

#[test]
fn a_full_disk_turns_writes_away_until_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let Some(_disk) = SmallDisk::mount(&data) else { return };
    let filler = data.join("filler");
    std::fs::File::create(&filler).unwrap().write_all(&vec![1; FILLER_BYTES]).unwrap();
    let node = Node::start_in(folder.path(), NO_SCRAPES, &[]);
    assert_eq!(node.write(&[(&[("__name__", "witness")], &[(now_ms(), 1.0)])]).0, 204);

    let write = |number| {
        let body = large_request(number);
        exchange("POST /api/v1/write HTTP/1.1", &node.address, &WRITE_HEADERS, &body).expect("the node answers")
    };
    let refused = (0..REQUESTS_MAX).map(write).find(|(head, _)| !head.starts_with("http/1.1 204"));
    let (head, body) = refused.expect("the disk fills up");
    assert!(head.starts_with("http/1.1 503") && head.contains("retry-after: "), "{head} {body:?}");
    assert_eq!(node.number("witness", None), Some(1.0), "queries go on");

    std::fs::remove_file(&filler).unwrap();
    eventually("writes resume", || node.write(&[(&[("__name__", "after")], &[(now_ms(), 2.0)])]).0 == 204);
    assert_eq!(node.number("after", None), Some(2.0));
    assert_eq!(node.number("witness", None), Some(1.0));
}
