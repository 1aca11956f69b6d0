//! A long list as JSON: label sets and names. Written while it is sent, as a query's answer is.

use std::convert::Infallible;

use axum::body::Body;
use pharos_model::{LabelSet, Texts};

use super::{PIECE_BYTES, separate, write_annotations, write_labels, write_string};

/// A list that can be an answer.
pub trait List: Send + 'static {
    fn len(&self) -> usize;
    fn write(&self, at: usize, out: &mut Vec<u8>);
}

impl List for Texts {
    fn len(&self) -> usize {
        self.len()
    }

    fn write(&self, at: usize, out: &mut Vec<u8>) {
        write_string(out, self.get(at));
    }
}

impl List for Vec<LabelSet> {
    fn len(&self) -> usize {
        self.len()
    }

    fn write(&self, at: usize, out: &mut Vec<u8>) {
        write_labels(out, &self[at]);
    }
}

/// The body of a success that carries a list.
pub fn list_answer(list: impl List, warnings: Vec<String>) -> Body {
    let mut pieces = Pieces { list, warnings, next: Next::Beginning };
    let first = pieces.next().expect("a list has a beginning");
    if pieces.next == Next::Nothing {
        return Body::from(first);
    }
    let pieces = std::iter::once(first).chain(pieces);
    Body::from_stream(futures::stream::iter(pieces.map(Ok::<_, Infallible>)))
}

/// A list in pieces of about [`PIECE_BYTES`].
struct Pieces<T> {
    list: T,
    warnings: Vec<String>,
    next: Next,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Beginning,
    Item(usize),
    Nothing,
}

impl<T: List> Pieces<T> {
    /// Writes the next part and says which one follows.
    fn write(&self, out: &mut Vec<u8>) -> Next {
        match self.next {
            Next::Beginning => {
                out.extend_from_slice(br#"{"status":"success","data":["#);
                Next::Item(0)
            }
            Next::Item(at) if at < self.list.len() => {
                separate(out, at);
                self.list.write(at, out);
                Next::Item(at + 1)
            }
            Next::Item(_) => {
                out.push(b']');
                write_annotations(out, "warnings", "warning", &self.warnings);
                out.push(b'}');
                Next::Nothing
            }
            Next::Nothing => Next::Nothing,
        }
    }
}

impl<T: List> Iterator for Pieces<T> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        while self.next != Next::Nothing && out.len() < PIECE_BYTES {
            self.next = self.write(&mut out);
        }
        (!out.is_empty()).then_some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(list: impl List, warnings: &[&str]) -> Vec<Vec<u8>> {
        let warnings = warnings.iter().map(|text| (*text).to_owned()).collect();
        Pieces { list, warnings, next: Next::Beginning }.collect()
    }

    fn check(list: impl List, warnings: &[&str], want: &str) {
        assert_eq!(String::from_utf8(pieces(list, warnings).concat()).unwrap(), want);
    }

    #[test]
    fn lists_are_what_any_other_data_would_be() {
        check(Texts::default(), &[], r#"{"status":"success","data":[]}"#);
        let names = Texts::from_iter(["a", "b\"c"]);
        check(names, &["cut"], r#"{"status":"success","data":["a","b\"c"],"warnings":["cut"]}"#);
        let series = LabelSet::from_pairs([("__name__", "up"), ("job", "x")]);
        check(vec![series], &[], r#"{"status":"success","data":[{"__name__":"up","job":"x"}]}"#);
    }

    #[test]
    fn a_long_list_comes_in_pieces() {
        let names: Vec<String> = (0..50_000).map(|i| format!("name_{i}")).collect();
        let pieces = pieces(names.iter().map(String::as_str).collect::<Texts>(), &[]);
        assert!(pieces.len() > 5 && pieces.iter().all(|piece| piece.len() < 2 * PIECE_BYTES));
        let whole: serde_json::Value = serde_json::from_slice(&pieces.concat()).unwrap();
        assert_eq!(whole["data"], serde_json::json!(names));
    }
}
