//! Where in the query text a node was written.
//! Warnings of the engine and all parse errors name the place as `line:column`.

/// Byte offsets into the query text: `start` in, `end` out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    pub fn new(start: usize, end: usize) -> Self {
        let offset = |at: usize| u32::try_from(at).expect("a query text is far below 4 GiB");
        Self { start: offset(start), end: offset(end) }
    }

    /// From the start of this span to the end of `last`.
    pub fn to(self, last: Self) -> Self {
        Self { start: self.start, end: last.end }
    }

    /// `line:column` of the start, both counted from one and the column in bytes, as Prometheus puts it.
    pub fn position(self, text: &str) -> String {
        let start = self.start as usize;
        if text.is_empty() {
            return "unknown position".into();
        }
        let Some(before) = text.as_bytes().get(..start) else {
            return "invalid position".into();
        };
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        format!("{line}:{}", start - line_start + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_bytes_from_one() {
        for (text, start, position) in [
            ("foo", 0, "1:1"),
            ("foo", 3, "1:4"),
            ("a\nbc\nd", 3, "2:2"),
            ("a\nbc\nd", 1, "1:2"),
            ("\n\nx", 2, "3:1"),
            ("ä+", 2, "1:3"),
            ("", 0, "unknown position"),
            ("a", 2, "invalid position"),
        ] {
            assert_eq!(Span::new(start, start).position(text), position, "{text:?} at {start}");
        }
    }
}
