//! Prints a parsed pattern in the dialect of the `regex` crate. Nothing is left to that crate's defaults or flags:
//! classes are written out as ranges, boundaries say that they are ASCII.

use std::fmt::Write;

use regex_syntax::hir::ClassUnicode;

use super::parser::{Look, Node, Parsed, Repeat};

/// What a printed node may stand beside without a group of its own.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Place {
    Alternative,
    Concat,
    Repeated,
}

/// The whole pattern, anchored at both ends of the text.
pub(super) fn anchored(parsed: &Parsed) -> String {
    let mut out = String::from("\\A(?:");
    emit(&parsed.root, Place::Alternative, &parsed.capture_names, &mut out);
    out.push_str(")\\z");
    out
}

fn emit(node: &Node, place: Place, names: &[Option<String>], out: &mut String) {
    let grouped = match node {
        Node::Alternate(_) => place > Place::Alternative,
        Node::Concat(_) | Node::Empty | Node::Look(_) | Node::Repeat(_) => place == Place::Repeated,
        Node::Literal(text) => place == Place::Repeated && text.chars().nth(1).is_some(),
        Node::Class(_) | Node::Any { .. } | Node::Capture(..) => false,
    };
    if grouped {
        out.push_str("(?:");
    }
    match node {
        Node::Empty => {}
        Node::Literal(text) => regex_syntax::escape_into(text, out),
        Node::Class(class) => emit_class(class, out),
        Node::Any { newline: true } => out.push_str("(?s:.)"),
        Node::Any { newline: false } => out.push_str("[^\\n]"),
        Node::Look(look) => out.push_str(match look {
            Look::TextStart => "\\A",
            Look::TextEnd => "\\z",
            Look::LineStart => "(?m:^)",
            Look::LineEnd => "(?m:$)",
            Look::WordBoundary => "(?-u:\\b)",
            Look::NotWordBoundary => "(?-u:\\B)",
        }),
        Node::Capture(number, sub) => {
            match &names[*number] {
                Some(name) if usable(name, *number, names) => write!(out, "(?P<{name}>").expect("a string takes all"),
                _ => out.push('('),
            }
            emit(sub, Place::Alternative, names, out);
            out.push(')');
        }
        Node::Repeat(repeat) => emit_repeat(repeat, names, out),
        Node::Concat(subs) => subs.iter().for_each(|sub| emit(sub, Place::Concat, names, out)),
        Node::Alternate(subs) => {
            for (i, sub) in subs.iter().enumerate() {
                if i > 0 {
                    out.push('|');
                }
                emit(sub, Place::Alternative, names, out);
            }
        }
    }
    if grouped {
        out.push(')');
    }
}

/// RE2 lets a name begin with a digit and occur twice; the engine does not, so such groups have none there.
fn usable(name: &str, number: usize, names: &[Option<String>]) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !names[..number].iter().any(|other| other.as_deref() == Some(name))
}

fn emit_class(class: &ClassUnicode, out: &mut String) {
    if class.ranges().is_empty() {
        // The engine's way to write what matches nothing.
        out.push_str("[a&&b]");
        return;
    }
    out.push('[');
    for range in class.ranges() {
        write!(out, "\\x{{{:x}}}-\\x{{{:x}}}", u32::from(range.start()), u32::from(range.end()))
            .expect("a string takes all");
    }
    out.push(']');
}

fn emit_repeat(repeat: &Repeat, names: &[Option<String>], out: &mut String) {
    emit(&repeat.sub, Place::Repeated, names, out);
    match (repeat.min, repeat.max) {
        (0, None) => out.push('*'),
        (1, None) => out.push('+'),
        (0, Some(1)) => out.push('?'),
        (min, None) => write!(out, "{{{min},}}").expect("a string takes all"),
        (min, Some(max)) => write!(out, "{{{min},{max}}}").expect("a string takes all"),
    }
    if !repeat.greedy {
        out.push('?');
    }
}
