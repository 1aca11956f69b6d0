//! Which rows match, and the names and values among them.

use std::collections::BTreeSet;

use pharos_model::{MatchOp, Matcher, TimeRange};

use super::{Ids, Index, LabelColumn, Segment};

/// Rows in ascending order, as yet untouched or listed.
enum Rows {
    All(u32),
    Listed(Vec<u32>),
}

impl Index {
    /// The rows whose labels satisfy all matchers and whose first to last sample touch `range`, ascending.
    pub fn select(&self, matchers: &[Matcher], range: TimeRange) -> Vec<u32> {
        if !self.overlaps(range) {
            return Vec::new();
        }
        let mut order: Vec<&Matcher> = matchers.iter().collect();
        // Equality first: it leaves the fewest rows to those that cost more.
        order.sort_by_key(|matcher| matcher.op != MatchOp::Equal || matcher.value.is_empty());
        let mut rows = Rows::All(self.len() as u32);
        for matcher in order {
            rows = Rows::Listed(self.filter(&rows, matcher));
        }
        let touches = |row: &u32| self.row_range(*row).overlaps(range);
        match rows {
            Rows::All(count) => (0..count).filter(touches).collect(),
            Rows::Listed(mut rows) => {
                rows.retain(touches);
                rows
            }
        }
    }

    fn overlaps(&self, range: TimeRange) -> bool {
        !self.is_empty() && !range.is_empty() && TimeRange::new(self.min_ts, self.max_ts).overlaps(range)
    }

    fn column(&self, name: &str) -> Option<&LabelColumn> {
        let i = self.labels.binary_search_by(|column| column.name.as_str().cmp(name)).ok()?;
        Some(&self.labels[i])
    }

    fn filter(&self, rows: &Rows, matcher: &Matcher) -> Vec<u32> {
        let absent_matches = matcher.matches_empty();
        let Some(column) = self.column(&matcher.name) else {
            return if absent_matches { rows.list() } else { Vec::new() };
        };
        let wanted = column.wanted(matcher);
        if !absent_matches && wanted.is_empty() {
            return Vec::new();
        }
        let mut out = Vec::new();
        match rows {
            Rows::All(count) => column.scan(*count, &wanted, absent_matches, &mut out),
            Rows::Listed(rows) => column.retain(rows, &wanted, absent_matches, &mut out),
        }
        out
    }

    /// Adds the label names of the given rows.
    pub fn names_of(&self, rows: &[u32], out: &mut BTreeSet<String>) {
        let mut rows = rows.iter().copied().peekable();
        for (i, run) in self.runs.iter().enumerate() {
            let end = self.runs.get(i + 1).map_or(self.len() as u32, |next| next.start);
            if rows.peek().is_none_or(|row| *row >= end) {
                continue;
            }
            while rows.next_if(|row| *row < end).is_some() {}
            for label in &self.run_labels[run.labels_start as usize..run.labels_end as usize] {
                let name = &self.labels[label.column as usize].name;
                if !out.contains(name) {
                    out.insert(name.clone());
                }
            }
        }
    }

    /// Adds the values that a label has among the given rows.
    pub fn values_of(&self, name: &str, rows: &[u32], out: &mut BTreeSet<String>) {
        let Some(column) = self.column(name) else { return };
        let mut seen = vec![false; column.values.len()];
        column.visit(rows, |_, id| {
            if let Some(id) = id {
                seen[id as usize] = true;
            }
        });
        for (value, _) in column.values.iter().zip(&seen).filter(|(_, seen)| **seen) {
            if !out.contains(value) {
                out.insert(value.to_owned());
            }
        }
    }
}

impl Rows {
    fn list(&self) -> Vec<u32> {
        match self {
            Self::All(count) => (0..*count).collect(),
            Self::Listed(rows) => rows.clone(),
        }
    }
}

/// The values of a label that satisfy a matcher.
enum Wanted {
    None,
    One(u32),
    /// By value number.
    Table(Vec<bool>),
}

impl Wanted {
    fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }
}

impl LabelColumn {
    fn wanted(&self, matcher: &Matcher) -> Wanted {
        if matcher.op == MatchOp::Equal {
            return self.values.find(&matcher.value).map_or(Wanted::None, |id| Wanted::One(id as u32));
        }
        let mut table = vec![false; self.values.len()];
        let mut any = false;
        match matcher.regex().filter(|_| matcher.op == MatchOp::Regex).and_then(|regex| regex.literal_set()) {
            Some(literals) => {
                for id in literals.iter().filter_map(|literal| self.values.find(literal)) {
                    table[id] = true;
                    any = true;
                }
            }
            None => {
                for (hit, value) in table.iter_mut().zip(self.values.iter()) {
                    *hit = matcher.matches(value);
                    any |= *hit;
                }
            }
        }
        if any { Wanted::Table(table) } else { Wanted::None }
    }

    /// Scans all rows, of which some may lack the label.
    fn scan(&self, rows: u32, wanted: &Wanted, absent_matches: bool, out: &mut Vec<u32>) {
        let mut next = 0;
        for segment in &self.segments {
            if absent_matches {
                out.extend(next..segment.start);
            }
            self.scan_segment(*segment, wanted, out);
            next = segment.end;
        }
        if absent_matches {
            out.extend(next..rows);
        }
    }

    fn scan_segment(&self, segment: Segment, wanted: &Wanted, out: &mut Vec<u32>) {
        let ids = segment.base as usize..(segment.base + (segment.end - segment.start)) as usize;
        match &*self.ids {
            Ids::Same => {
                if wanted_has(wanted, 0) {
                    out.extend(segment.start..segment.end);
                }
            }
            Ids::U8(all) => collect(segment.start, all[ids].iter().map(|id| u32::from(*id)), wanted, out),
            Ids::U16(all) => collect(segment.start, all[ids].iter().map(|id| u32::from(*id)), wanted, out),
            Ids::U32(all) => collect(segment.start, all[ids].iter().copied(), wanted, out),
        }
    }

    fn retain(&self, rows: &[u32], wanted: &Wanted, absent_matches: bool, out: &mut Vec<u32>) {
        self.visit(rows, |row, id| {
            if id.map_or(absent_matches, |id| wanted_has(wanted, id)) {
                out.push(row);
            }
        });
    }

    /// Calls `f` for each row with the number of its value, `None` where the label is absent.
    fn visit(&self, rows: &[u32], mut f: impl FnMut(u32, Option<u32>)) {
        let mut at = 0;
        for &row in rows {
            // Rows ascend, so the segments behind are done with; a long way ahead is searched, not walked.
            if self.segments.get(at).is_some_and(|segment| segment.end <= row) {
                at += self.segments[at..].partition_point(|segment| segment.end <= row);
            }
            let id = self
                .segments
                .get(at)
                .filter(|segment| segment.start <= row)
                .map(|segment| self.ids.get((segment.base + (row - segment.start)) as usize));
            f(row, id);
        }
    }
}

fn wanted_has(wanted: &Wanted, id: u32) -> bool {
    match wanted {
        Wanted::None => false,
        Wanted::One(one) => *one == id,
        Wanted::Table(table) => table[id as usize],
    }
}

fn collect(first_row: u32, ids: impl Iterator<Item = u32>, wanted: &Wanted, out: &mut Vec<u32>) {
    match wanted {
        Wanted::None => {}
        Wanted::One(one) => out.extend((first_row..).zip(ids).filter(|(_, id)| id == one).map(|(row, _)| row)),
        Wanted::Table(table) => {
            out.extend((first_row..).zip(ids).filter(|(_, id)| table[*id as usize]).map(|(row, _)| row));
        }
    }
}
