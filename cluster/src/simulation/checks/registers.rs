//! Documents are registers with compare-and-set, linearizable (M1).
//!
//! A document's versions count from 1 without a gap and contents are unique, so the order of all writes is known. What is left to check:
//! a version has one content; each is seen or made after whatever made it began; and versions do not go back from what ended to what
//! began after it. A write that was refused took no effect.

use std::collections::{BTreeMap, BTreeSet};

use super::super::history::{Access, Moment, What};

/// All accesses of one document.
pub(in super::super) fn check(document: &str, accesses: &[Access]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut contents: BTreeMap<u64, &str> = BTreeMap::from([(0, "")]);
    for (version, content) in accesses.iter().filter_map(seen) {
        let known = *contents.entry(version).or_insert(content);
        if known != content {
            wrong.push(format!("{document}: version {version} is both `{known}` and `{content}`"));
        }
    }
    let mut versions = BTreeSet::new();
    for (version, content) in &contents {
        if !versions.insert(*content) {
            wrong.push(format!("{document}: `{content}` is version {version} and another one"));
        }
    }
    wrong.extend(unwritten(document, accesses, &contents));
    wrong.extend(going_back(document, accesses));
    wrong
}

/// The version that the access proves to have been there.
fn seen(access: &Access) -> Option<(u64, &str)> {
    match &access.what {
        What::Read { version, content } | What::Wrote { version, content } => Some((*version, content)),
        What::Conflict { .. } | What::Unknown { .. } => None,
    }
}

/// Contents that were seen, although nobody wrote them, or not before they were seen.
fn unwritten(document: &str, accesses: &[Access], contents: &BTreeMap<u64, &str>) -> Vec<String> {
    let mut began: BTreeMap<&str, Moment> = BTreeMap::from([("", 0)]);
    let mut refused = BTreeSet::new();
    for access in accesses {
        match &access.what {
            What::Wrote { content, .. } | What::Unknown { content } => {
                began.entry(content).or_insert(access.began);
            }
            What::Conflict { content, .. } => drop(refused.insert(content.as_str())),
            What::Read { .. } => {}
        }
    }
    let mut wrong: Vec<String> = contents
        .values()
        .filter(|content| !began.contains_key(*content))
        .map(|content| match refused.contains(content) {
            true => format!("{document}: `{content}` was refused and is there"),
            false => format!("{document}: nobody wrote `{content}`"),
        })
        .collect();
    let early = accesses.iter().filter_map(|access| Some((seen(access)?, access.ended?)));
    for ((_, content), ended) in early {
        if began.get(content).is_some_and(|began| *began > ended) {
            wrong.push(format!("{document}: `{content}` was seen before it was written"));
        }
    }
    wrong
}

/// Accesses that saw less than one that had ended before they began.
fn going_back(document: &str, accesses: &[Access]) -> Vec<String> {
    let version = |access: &Access| match &access.what {
        What::Read { version, .. } | What::Wrote { version, .. } => Some(*version),
        // It was there when this was refused.
        What::Conflict { current, .. } => Some(*current),
        What::Unknown { .. } => None,
    };
    let mut ends: Vec<(Moment, u64)> =
        accesses.iter().filter_map(|access| Some((access.ended?, version(access)?))).collect();
    ends.sort_unstable();
    let mut newest = 0;
    for (_, version) in &mut ends {
        newest = newest.max(*version);
        *version = newest;
    }
    let mut wrong = Vec::new();
    for access in accesses {
        if let What::Conflict { expected, current, .. } = &access.what
            && expected == current
        {
            wrong.push(format!("{document}: refused at the version that it expected, {access:?}"));
        }
        let before = ends.partition_point(|(ended, _)| *ended < access.began);
        let Some((known, least)) = version(access).zip(before.checked_sub(1).map(|at| ends[at].1)) else { continue };
        let makes_one = matches!(access.what, What::Wrote { .. });
        if known < least || (makes_one && known == least) {
            wrong.push(format!("{document}: version {least} was known before {access:?} began"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(began: Moment, ended: Moment, what: What) -> Access {
        Access { began, ended: Some(ended), what }
    }

    fn read(version: u64, content: &str) -> What {
        What::Read { version, content: content.to_owned() }
    }

    fn wrote(version: u64, content: &str) -> What {
        What::Wrote { version, content: content.to_owned() }
    }

    fn unknown(began: Moment, content: &str) -> Access {
        Access { began, ended: None, what: What::Unknown { content: content.to_owned() } }
    }

    fn conflict(expected: u64, current: u64, content: &str) -> What {
        What::Conflict { expected, current, content: content.to_owned() }
    }

    #[test]
    fn what_one_order_explains_is_fine() {
        let accesses = [
            access(1, 2, read(0, "")),
            access(3, 6, wrote(1, "a")),
            // Overlaps the write, and sees it or not.
            access(4, 5, read(1, "a")),
            unknown(7, "b"),
            unknown(8, "c"),
            access(9, 10, read(2, "c")),
            access(11, 12, conflict(1, 2, "d")),
            access(13, 14, wrote(3, "e")),
        ];
        assert_eq!(check("x", &accesses), [""; 0]);
    }

    #[test]
    fn what_no_order_explains_is_told() {
        let stale = [access(1, 2, wrote(1, "a")), access(3, 4, read(0, ""))];
        assert!(check("x", &stale)[0].contains("version 1 was known before"));
        let twice = [access(1, 9, wrote(1, "a")), access(2, 8, wrote(1, "b"))];
        assert!(check("x", &twice)[0].contains("version 1 is both `a` and `b`"));
        let refused = [access(1, 2, conflict(0, 1, "a")), access(3, 4, read(1, "a"))];
        assert!(check("x", &refused)[0].contains("`a` was refused and is there"));
        let phantom = [access(3, 4, read(1, "a"))];
        assert!(check("x", &phantom)[0].contains("nobody wrote `a`"));
        let early = [access(1, 2, read(1, "a")), unknown(3, "a")];
        assert!(check("x", &early)[0].contains("`a` was seen before it was written"));
        let again = [access(1, 2, wrote(1, "a")), access(3, 4, wrote(1, "a"))];
        assert!(check("x", &again)[0].contains("version 1 was known before"));
        let none = [access(1, 2, conflict(0, 0, "a"))];
        assert!(check("x", &none)[0].contains("refused at the version that it expected"));
    }
}
