//! Reads RE2's dialect as Go's `regexp/syntax` does with the flags `Perl` and `DotNL`.
//!
//! Flags are resolved here: the tree says for each node what it matches, and nothing further down depends on context.
//! The parser keeps its own stack of open groups, so nesting costs no machine stack.

use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};

use super::RegexError;
use super::class;

/// Deepest nesting of groups and repetitions. Go allows 1000; the engine's compiler is recursive.
pub(super) const NESTING_MAX: u32 = 250;
/// Largest count in a repetition, and largest product of the counts of nested repetitions.
const REPEAT_MAX: u32 = 1000;
/// Most ranges in all character classes together: `\pL` alone has more than 600.
const CLASS_RANGES_MAX: usize = 200_000;

/// A parsed pattern.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) root: Node,
    pub(super) capture_names: Vec<Option<String>>,
}

#[derive(Debug)]
pub(super) enum Node {
    Empty,
    Literal(String),
    Class(ClassUnicode),
    /// Any character, a newline only if `newline`.
    Any {
        newline: bool,
    },
    Look(Look),
    /// The number of the group, counted from 1.
    Capture(usize, Box<Node>),
    Repeat(Box<Repeat>),
    Concat(Vec<Node>),
    Alternate(Vec<Node>),
}

#[derive(Debug)]
pub(super) struct Repeat {
    pub(super) sub: Node,
    pub(super) min: u32,
    pub(super) max: Option<u32>,
    pub(super) greedy: bool,
}

/// What holds at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    TextStart,
    TextEnd,
    LineStart,
    LineEnd,
    WordBoundary,
    NotWordBoundary,
}

#[derive(Clone, Copy, Debug)]
struct Flags {
    fold_case: bool,
    /// `^` and `$` match at lines too.
    multi_line: bool,
    dot_newline: bool,
    /// `x*` is lazy and `x*?` is greedy.
    swap_greed: bool,
}

/// A node and how deep it nests.
struct Item {
    node: Node,
    height: u32,
}

/// An open group; the outermost one is the pattern.
struct Group {
    /// Flags to restore at the closing parenthesis.
    outer: Flags,
    capture: Option<usize>,
    alternatives: Vec<Item>,
    concat: Vec<Item>,
}

struct Parser<'a> {
    pattern: &'a str,
    /// Byte offset of what is read next.
    at: usize,
    flags: Flags,
    groups: Vec<Group>,
    capture_names: Vec<Option<String>>,
    class_ranges: usize,
}

type Result<T> = std::result::Result<T, RegexError>;

pub(super) fn parse(pattern: &str) -> Result<Parsed> {
    let flags = Flags { fold_case: false, multi_line: false, dot_newline: true, swap_greed: false };
    let outermost = Group { outer: flags, capture: None, alternatives: Vec::new(), concat: Vec::new() };
    let mut parser =
        Parser { pattern, at: 0, flags, groups: vec![outermost], capture_names: vec![None], class_ranges: 0 };
    parser.run()?;
    let group = parser.groups.pop().expect("the outermost group is never popped before the end");
    if !parser.groups.is_empty() {
        return Err(error("missing closing )", pattern));
    }
    Ok(Parsed { root: parser.close(group)?.node, capture_names: parser.capture_names })
}

pub(super) fn error(what: &str, expression: &str) -> RegexError {
    RegexError(format!("{what}: `{expression}`"))
}

impl<'a> Parser<'a> {
    fn run(&mut self) -> Result<()> {
        // Where the repetition operator begins that has just been read: two in a row are refused.
        let mut last_repeat = None;
        while let Some(next) = self.peek() {
            let start = self.at;
            let mut repeat = None;
            match next {
                '(' => self.open_group()?,
                '|' => {
                    self.at += 1;
                    self.end_alternative()?;
                }
                ')' => self.close_group()?,
                '^' => {
                    self.push_at(1, Node::Look(if self.flags.multi_line { Look::LineStart } else { Look::TextStart }))?
                }
                '$' => {
                    self.push_at(1, Node::Look(if self.flags.multi_line { Look::LineEnd } else { Look::TextEnd }))?
                }
                '.' => self.push_at(1, Node::Any { newline: self.flags.dot_newline })?,
                '[' => self.bracket_class()?,
                '*' | '+' | '?' => {
                    self.at += 1;
                    let (min, max) = match next {
                        '*' => (0, None),
                        '+' => (1, None),
                        _ => (0, Some(1)),
                    };
                    self.repeat(start, last_repeat, min, max)?;
                    repeat = Some(start);
                }
                '{' => match self.counts()? {
                    Some((min, max)) => {
                        self.repeat(start, last_repeat, min, max)?;
                        repeat = Some(start);
                    }
                    None => self.literal_at(1, '{')?,
                },
                '\\' => self.escape()?,
                other => self.literal_at(other.len_utf8(), other)?,
            }
            last_repeat = repeat;
        }
        Ok(())
    }

    fn rest(&self) -> &'a str {
        &self.pattern[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn group(&mut self) -> &mut Group {
        self.groups.last_mut().expect("the outermost group stays open while the pattern is read")
    }

    fn push(&mut self, node: Node) -> Result<()> {
        self.push_item(Item { node, height: 1 })
    }

    fn push_item(&mut self, item: Item) -> Result<()> {
        if item.height > NESTING_MAX {
            return Err(error("expression nests too deeply", self.pattern));
        }
        self.group().concat.push(item);
        Ok(())
    }

    /// Pushes a node that was written with `bytes` bytes.
    fn push_at(&mut self, bytes: usize, node: Node) -> Result<()> {
        self.at += bytes;
        self.push(node)
    }

    fn literal_at(&mut self, bytes: usize, literal: char) -> Result<()> {
        self.at += bytes;
        self.literal(u32::from(literal))
    }

    /// A code point, which an escape may have made a surrogate: that one matches nothing.
    fn literal(&mut self, code: u32) -> Result<()> {
        match char::from_u32(code) {
            Some(literal) if !self.flags.fold_case => self.push(Node::Literal(literal.to_string())),
            Some(literal) => {
                let folded = class::folded(ClassUnicode::new([ClassUnicodeRange::new(literal, literal)]));
                self.class(folded)
            }
            None => self.class(ClassUnicode::empty()),
        }
    }

    fn class(&mut self, class: ClassUnicode) -> Result<()> {
        let ranges = class.ranges();
        self.class_ranges += ranges.len();
        if self.class_ranges > CLASS_RANGES_MAX {
            return Err(RegexError(format!(
                "expression too large: `{}` has more than {CLASS_RANGES_MAX} character ranges",
                self.pattern
            )));
        }
        let node = match ranges {
            [one] if one.start() == one.end() => Node::Literal(one.start().to_string()),
            [all] if all.start() == '\0' && all.end() == char::MAX => Node::Any { newline: true },
            _ => Node::Class(class),
        };
        self.push(node)
    }

    fn repeat(&mut self, start: usize, last_repeat: Option<usize>, min: u32, max: Option<u32>) -> Result<()> {
        let lazy = self.rest().starts_with('?');
        self.at += usize::from(lazy);
        let end = self.at;
        if let Some(last) = last_repeat {
            return Err(error("invalid nested repetition operator", &self.pattern[last..end]));
        }
        let greedy = lazy == self.flags.swap_greed;
        let Some(Item { node: sub, height }) = self.group().concat.pop() else {
            return Err(error("missing argument to repetition operator", &self.pattern[start..end]));
        };
        let node = Node::Repeat(Box::new(Repeat { sub, min, max, greedy }));
        if max.unwrap_or(min) >= 2 && !counts_stay_within(&node, REPEAT_MAX) {
            return Err(error("invalid repeat count", &self.pattern[start..end]));
        }
        self.push_item(Item { node, height: height + 1 })
    }

    /// Reads `{n}`, `{n,}` or `{n,m}`; anything else makes the brace a literal.
    fn counts(&mut self) -> Result<Option<(u32, Option<u32>)>> {
        let rest = self.rest();
        let Some(close) = rest.find('}') else { return Ok(None) };
        let inner = &rest[1..close];
        let (min, max) = match inner.split_once(',') {
            None => (inner, Some(inner)),
            Some((min, "")) => (min, None),
            Some((min, max)) => (min, Some(max)),
        };
        if !is_count(min) || max.is_some_and(|max| !is_count(max)) {
            return Ok(None);
        }
        // What does not fit is beyond the limit anyway.
        let value = |text: &str| text.parse().unwrap_or(u32::MAX);
        let (min, max) = (value(min), max.map(value));
        if min > REPEAT_MAX || max.is_some_and(|max| max > REPEAT_MAX || min > max) {
            return Err(error("invalid repeat count", &rest[..=close]));
        }
        self.at += close + 1;
        Ok(Some((min, max)))
    }

    fn open_group(&mut self) -> Result<()> {
        let rest = self.rest();
        if !rest.starts_with("(?") {
            self.at += 1;
            self.open(None, true);
            return Ok(());
        }
        let name_at = if rest.len() > 4 && rest.starts_with("(?P<") {
            4
        } else if rest.len() > 3 && rest.starts_with("(?<") {
            3
        } else {
            return self.flags_group();
        };
        let Some(end) = rest.find('>') else { return Err(error("invalid named capture", rest)) };
        let name = rest.get(name_at..end).unwrap_or_default();
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(error("invalid named capture", &rest[..=end]));
        }
        self.at += end + 1;
        self.open(Some(name.to_owned()), true);
        Ok(())
    }

    fn open(&mut self, name: Option<String>, capturing: bool) {
        let capture = capturing.then(|| {
            self.capture_names.push(name);
            self.capture_names.len() - 1
        });
        self.groups.push(Group { outer: self.flags, capture, alternatives: Vec::new(), concat: Vec::new() });
    }

    /// `(?flags)` or `(?flags:`, where flags may be turned off after a `-`.
    fn flags_group(&mut self) -> Result<()> {
        let start = self.at;
        self.at += 2;
        let mut flags = self.flags;
        let (mut on, mut seen) = (true, true);
        while let Some(c) = self.peek() {
            self.at += c.len_utf8();
            match c {
                'i' => flags.fold_case = on,
                'm' => flags.multi_line = on,
                's' => flags.dot_newline = on,
                'U' => flags.swap_greed = on,
                '-' if on => {
                    (on, seen) = (false, false);
                    continue;
                }
                ':' | ')' if seen => {
                    if c == ':' {
                        self.open(None, false);
                    }
                    self.flags = flags;
                    return Ok(());
                }
                _ => break,
            }
            seen = true;
        }
        Err(error("invalid or unsupported Perl syntax", &self.pattern[start..self.at]))
    }

    fn end_alternative(&mut self) -> Result<()> {
        let nodes = std::mem::take(&mut self.group().concat);
        let item = concat(nodes);
        self.group().alternatives.push(item);
        Ok(())
    }

    fn close_group(&mut self) -> Result<()> {
        if self.groups.len() < 2 {
            return Err(error("unexpected )", self.pattern));
        }
        self.at += 1;
        let group = self.groups.pop().expect("checked above");
        self.flags = group.outer;
        let capture = group.capture;
        let mut item = self.close(group)?;
        if let Some(number) = capture {
            item = Item { node: Node::Capture(number, Box::new(item.node)), height: item.height + 1 };
        }
        self.push_item(item)
    }

    fn close(&mut self, mut group: Group) -> Result<Item> {
        let last = concat(group.concat);
        if group.alternatives.is_empty() {
            return Ok(last);
        }
        group.alternatives.push(last);
        let height = 1 + group.alternatives.iter().map(|item| item.height).max().unwrap_or(0);
        if height > NESTING_MAX {
            return Err(error("expression nests too deeply", self.pattern));
        }
        Ok(Item { node: Node::Alternate(group.alternatives.into_iter().map(|item| item.node).collect()), height })
    }

    /// A backslash outside of brackets.
    fn escape(&mut self) -> Result<()> {
        let rest = self.rest();
        let look = match rest.as_bytes().get(1) {
            Some(b'A') => Look::TextStart,
            Some(b'z') => Look::TextEnd,
            Some(b'b') => Look::WordBoundary,
            Some(b'B') => Look::NotWordBoundary,
            Some(b'C') => return Err(error("invalid escape sequence", &rest[..2])),
            Some(b'Q') => return self.quoted(),
            _ => {
                if let Some((class, tail)) = class::escape(rest, self.flags.fold_case)? {
                    self.at = self.pattern.len() - tail.len();
                    return self.class(class);
                }
                let (code, tail) = class::escaped_char(rest)?;
                self.at = self.pattern.len() - tail.len();
                return self.literal(code);
            }
        };
        self.push_at(2, Node::Look(look))
    }

    /// `\Q...\E`, or to the end of the pattern.
    fn quoted(&mut self) -> Result<()> {
        let text = &self.rest()[2..];
        let (text, end) = match text.split_once("\\E") {
            Some((quoted, _)) => (quoted, self.at + 2 + quoted.len() + 2),
            None => (text, self.pattern.len()),
        };
        for c in text.chars() {
            self.literal(u32::from(c))?;
        }
        self.at = end;
        Ok(())
    }

    fn bracket_class(&mut self) -> Result<()> {
        let (class, tail) = class::bracketed(self.rest(), self.flags.fold_case)?;
        self.at = self.pattern.len() - tail.len();
        self.class(class)
    }
}

/// Digits without a leading zero.
fn is_count(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'))
}

/// Joins what stands side by side; adjacent literals become one.
fn concat(items: Vec<Item>) -> Item {
    let mut height = 0;
    let mut nodes: Vec<Node> = Vec::with_capacity(items.len());
    for item in items {
        height = height.max(item.height);
        match (nodes.last_mut(), item.node) {
            (Some(Node::Literal(text)), Node::Literal(more)) => text.push_str(&more),
            (_, Node::Concat(inner)) => nodes.extend(inner),
            (_, node) => nodes.push(node),
        }
    }
    match nodes.len() {
        0 => Item { node: Node::Empty, height: 1 },
        1 => Item { node: nodes.remove(0), height },
        _ => Item { node: Node::Concat(nodes), height: height + 1 },
    }
}

/// Whether nested repetitions make at most `limit` copies of the innermost thing.
fn counts_stay_within(node: &Node, limit: u32) -> bool {
    match node {
        Node::Repeat(repeat) => match repeat.max.unwrap_or(repeat.min) {
            0 if repeat.max == Some(0) => true,
            0 => counts_stay_within(&repeat.sub, limit),
            copies if copies > limit => false,
            copies => counts_stay_within(&repeat.sub, limit / copies),
        },
        Node::Capture(_, sub) => counts_stay_within(sub, limit),
        Node::Concat(subs) | Node::Alternate(subs) => subs.iter().all(|sub| counts_stay_within(sub, limit)),
        _ => true,
    }
}
