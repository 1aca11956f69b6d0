//! Lines over time as SVG, with what went wrong as bands behind them.

use std::fmt::Write;

use super::timeline::Band;

const WIDTH: f64 = 1100.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 60.0;
const BOTTOM: f64 = 24.0;
const TOP: f64 = 10.0;
const GRID_LINES: u32 = 4;

/// One line; a missing value breaks it.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub name: &'static str,
    pub color: &'static str,
    pub values: Vec<Option<f64>>,
}

/// How high values are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    Linear,
    /// From 0.1 on.
    Log,
}

/// A chart of one value a second.
pub(super) fn chart(title: &str, lines: &[Line], bands: &[Band], scale: Scale) -> String {
    let seconds = lines.iter().map(|line| line.values.len()).max().unwrap_or(0).max(1) as f64;
    let top = lines.iter().flat_map(|line| line.values.iter().flatten()).fold(1.0_f64, |top, &value| top.max(value));
    let x = |second: f64| LEFT + (WIDTH - LEFT) * (second / seconds).min(1.0);
    let part = |value: f64| match scale {
        Scale::Linear => value / top,
        Scale::Log => (value.max(0.1) * 10.0).ln() / (top * 10.0).ln().max(1.0),
    };
    let y = |value: f64| TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - part(value).clamp(0.0, 1.0));
    let mut svg = format!("<h3>{title}</h3><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" role=\"img\">");
    for band in bands {
        let (from, width) = (x(band.from), (x(band.until) - x(band.from)).max(1.0));
        let height = HEIGHT - TOP - BOTTOM;
        push(
            &mut svg,
            format_args!(
                "<rect class=\"band\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{height}\"><title>{}</title></rect>",
                band.name
            ),
        );
    }
    for line in 0..=GRID_LINES {
        let share = f64::from(line) / f64::from(GRID_LINES);
        let value = match scale {
            Scale::Linear => top * share,
            Scale::Log => 0.1 * (top * 10.0).powf(share),
        };
        let at = y(value);
        push(
            &mut svg,
            format_args!(
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value:.*}</text>",
                LEFT - 4.0,
                at + 4.0,
                usize::from(value < 10.0)
            ),
        );
    }
    for tick in 0..=10 {
        let second = seconds * f64::from(tick) / 10.0;
        push(
            &mut svg,
            format_args!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{second:.0} s</text>",
                x(second).min(WIDTH - 14.0),
                HEIGHT - 6.0
            ),
        );
    }
    for line in lines {
        push(&mut svg, format_args!("<path stroke=\"{}\" d=\"{}\"/>", line.color, path(&line.values, &x, &y)));
    }
    svg += "</svg><p>";
    for line in lines {
        push(&mut svg, format_args!("<span style=\"color:{}\">&#9632;</span> {} ", line.color, line.name));
    }
    svg + "</p>"
}

fn path(values: &[Option<f64>], x: &dyn Fn(f64) -> f64, y: &dyn Fn(f64) -> f64) -> String {
    let mut path = String::new();
    let mut drawing = false;
    for (second, value) in values.iter().enumerate() {
        if let Some(value) = value {
            let step = if drawing { 'L' } else { 'M' };
            // The second's middle; twice, so that one alone shows.
            push(&mut path, format_args!("{step}{:.1} {:.1}h0.1", x(second as f64 + 0.5), y(*value)));
        }
        drawing = value.is_some();
    }
    path
}

fn push(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a string takes everything");
}
