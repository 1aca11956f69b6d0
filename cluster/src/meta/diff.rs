//! What changed between two texts, line by line: the shortest list of lines to take away and to add (Myers).

/// Most lines that a shortest list is looked for; beyond, all lines between what is equal at both ends are exchanged.
pub const DIFF_EDITS_MAX: usize = 1000;

/// A line of the old text, the new one, or both; without its line end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    Same(&'a str),
    Removed(&'a str),
    Added(&'a str),
}

impl std::fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Same(line) => write!(f, " {line}"),
            Self::Removed(line) => write!(f, "-{line}"),
            Self::Added(line) => write!(f, "+{line}"),
        }
    }
}

/// All lines of both texts. Those that are not added make up the old text, those that are not removed the new one.
pub fn diff<'a>(old: &'a str, new: &'a str) -> Vec<Line<'a>> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let shortest = old.len().min(new.len());
    let head = (0..shortest).take_while(|at| old[*at] == new[*at]).count();
    let from_end = |at: &usize| old[old.len() - 1 - at] == new[new.len() - 1 - at];
    let tail = (0..shortest - head).take_while(from_end).count();
    let (old_end, new_end) = (old.len() - tail, new.len() - tail);

    let mut lines: Vec<Line<'a>> = old[..head].iter().map(|line| Line::Same(line)).collect();
    lines.extend(middle(&old[head..old_end], &new[head..new_end]));
    lines.extend(old[old_end..].iter().map(|line| Line::Same(line)));
    lines
}

/// The furthest reached on each diagonal, after each number of edits.
struct Search {
    rounds: Vec<Vec<usize>>,
}

fn middle<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    match search(old, new) {
        Some(search) => trace(old, new, &search),
        None => {
            let removed = old.iter().map(|line| Line::Removed(line));
            removed.chain(new.iter().map(|line| Line::Added(line))).collect()
        }
    }
}

/// Diagonal `k` is where `x - y == k`, for `x` lines of the old text and `y` of the new; its place in a round of `edits` is
/// `(k + edits) / 2`.
fn search(old: &[&str], new: &[&str]) -> Option<Search> {
    let mut rounds: Vec<Vec<usize>> = Vec::new();
    for edits in 0..=DIFF_EDITS_MAX.min(old.len() + new.len()) {
        let mut round = Vec::with_capacity(edits + 1);
        for at in 0..=edits {
            let diagonal = 2 * at as isize - edits as isize;
            let mut x = match rounds.last() {
                None => 0,
                Some(previous) if comes_by_adding(previous, at) => previous[at],
                Some(previous) => previous[at - 1] + 1,
            };
            let y = |x: usize| usize::try_from(x as isize - diagonal).ok();
            while let Some(y) = y(x)
                && x < old.len()
                && y < new.len()
                && old[x] == new[y]
            {
                x += 1;
            }
            round.push(x);
            if x >= old.len() && y(x).is_some_and(|y| y >= new.len()) {
                rounds.push(round);
                return Some(Search { rounds });
            }
        }
        rounds.push(round);
    }
    None
}

/// Whether the furthest way to a diagonal adds a line, coming from the diagonal above, or else removes one.
fn comes_by_adding(previous: &[usize], at: usize) -> bool {
    at == 0 || (at < previous.len() && previous[at - 1] < previous[at])
}

fn trace<'a>(old: &[&'a str], new: &[&'a str], search: &Search) -> Vec<Line<'a>> {
    let mut lines = Vec::new();
    let (mut x, mut y) = (old.len(), new.len());
    for edits in (1..search.rounds.len()).rev() {
        let at = ((x as isize - y as isize) + edits as isize) as usize / 2;
        let previous = &search.rounds[edits - 1];
        let adds = comes_by_adding(previous, at);
        let (from, edge) = if adds { (previous[at], previous[at]) } else { (previous[at - 1], previous[at - 1] + 1) };
        while x > edge {
            (x, y) = (x - 1, y - 1);
            lines.push(Line::Same(old[x]));
        }
        if adds {
            y -= 1;
            lines.push(Line::Added(new[y]));
        } else {
            x = from;
            lines.push(Line::Removed(old[x]));
        }
    }
    while x > 0 {
        x -= 1;
        lines.push(Line::Same(old[x]));
    }
    lines.reverse();
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(old: &str, new: &str) -> String {
        diff(old, new).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_changed_line_is_taken_away_and_added() {
        assert_eq!(shown("a\nb\nc\n", "a\nx\nc\n"), " a\n-b\n+x\n c");
        assert_eq!(shown("", "a\n"), "+a");
        assert_eq!(shown("a\n", ""), "-a");
        assert_eq!(shown("a\nb\n", "a\nb\n"), " a\n b");
    }

    #[test]
    fn the_list_is_the_shortest() {
        let edits = |old: &str, new: &str| {
            diff(&old.replace(' ', "\n"), &new.replace(' ', "\n"))
                .iter()
                .filter(|line| !matches!(line, Line::Same(_)))
                .count()
        };
        assert_eq!(edits("a b c a b b a", "c b a b a c"), 5);
        assert_eq!(edits("a b c d e f", "b d f"), 3);
    }

    #[test]
    fn texts_that_share_nothing_are_exchanged_whole() {
        let (old, new) = ("old\n".repeat(DIFF_EDITS_MAX), "new\n".repeat(DIFF_EDITS_MAX));
        let lines = diff(&old, &new);
        assert_eq!(lines.len(), 2 * DIFF_EDITS_MAX);
        assert!(lines[..DIFF_EDITS_MAX].iter().all(|line| *line == Line::Removed("old")));
    }

    proptest! {
        #[test]
        fn both_texts_are_in_it(old in "([abc]\n){0,12}", new in "([abc]\n){0,12}") {
            let lines = diff(&old, &new);
            let text = |leave_out: fn(&Line<'_>) -> bool| {
                let lines = lines.iter().filter(|line| !leave_out(line));
                lines.map(|line| format!("{}\n", &line.to_string()[1..])).collect::<String>()
            };
            prop_assert_eq!(text(|line| matches!(line, Line::Added(_))), old.clone());
            prop_assert_eq!(text(|line| matches!(line, Line::Removed(_))), new.clone());
        }
    }
}
