//! Adapters over time, for more of them than lines can be told apart.

use std::fmt::Write as _;

use super::figure::{Drawn, WIDTH, escape};
use crate::number::short;

/// Geometry in units of the view box.
const LEFT: f64 = 118.0;
const TOP: f64 = 52.0;
const ACROSS: f64 = WIDTH as f64 - LEFT - 14.0;
/// Colours of the scale.
const SHADES: usize = 5;

/// Each cell's colour is the value's place between the smallest and the largest; a sentence where all are the same.
pub(super) fn heat_map(title: &str, rows: &[String], columns: &[f64], values: &[Vec<f64>]) -> Drawn {
    let (low, high) = values.iter().flatten().fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
    let (Some(first), Some(last)) = (columns.first(), columns.last()) else { return Drawn::Nothing };
    if rows.is_empty() || !(low.is_finite() && high.is_finite()) {
        return Drawn::Nothing;
    }
    if high - low <= 1e-9 * high.abs() {
        return Drawn::Said(format!("<b>{}</b>: {} throughout, for all {}.", escape(title), short(low), rows.len()));
    }
    let cell = 13.0_f64.min(320.0 / rows.len() as f64).max(4.0);
    let bottom = TOP + cell * rows.len() as f64;
    let mut svg = format!(
        "<svg class=\"figure\" role=\"img\" aria-label=\"{0}\" data-x=\"step\" data-y=\"adapter\" viewBox=\"0 0 {WIDTH} {1:.0}\">\
         <text x=\"{2}\" y=\"20\" text-anchor=\"middle\" font-size=\"15\">{0}</text>\
         <text x=\"14\" y=\"{3:.0}\" font-size=\"12\">adapter</text>",
        escape(title),
        bottom + 36.0,
        WIDTH / 2,
        TOP - 6.0
    );
    svg.push_str(&scale(low, high));
    let step = ACROSS / columns.len() as f64;
    let every = (12.0 / cell).ceil() as usize;
    for (index, (name, row)) in rows.iter().zip(values).enumerate() {
        let y = TOP + cell * index as f64;
        if index % every == 0 {
            let label = name.replace("model.layers.", "").replace("transformer.h.", "").replace("self_attn.", "");
            let _ = write!(
                svg,
                "<text x=\"{:.0}\" y=\"{:.1}\" font-size=\"11\" text-anchor=\"end\">{}</text>",
                LEFT - 6.0,
                y + cell * 0.8,
                escape(&label)
            );
        }
        for (column, value) in row.iter().enumerate() {
            let _ = write!(
                svg,
                "<rect x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{cell:.1}\" fill=\"rgb(0,114,178)\" fill-opacity=\"{:.2}\">\
                 <title>{} at step {}: {}</title></rect>",
                LEFT + step * column as f64,
                step + 0.2,
                opacity((value - low) / (high - low)),
                escape(name),
                columns[column],
                short(*value)
            );
        }
    }
    let _ = write!(
        svg,
        "<text x=\"{LEFT}\" y=\"{0:.0}\" font-size=\"12\">{first}</text><text x=\"{1:.0}\" y=\"{0:.0}\" font-size=\"13\" \
         text-anchor=\"middle\">step</text><text x=\"{2:.0}\" y=\"{0:.0}\" font-size=\"12\" text-anchor=\"end\">{last}</text></svg>",
        bottom + 20.0,
        LEFT + 0.5 * ACROSS,
        LEFT + ACROSS
    );
    Drawn::Plot(format!("<div>{svg}</div>"))
}

/// Which colour is which value.
fn scale(low: f64, high: f64) -> String {
    let (width, y) = (18.0, TOP - 16.0);
    let left = LEFT + 0.5 * ACROSS - 0.5 * width * SHADES as f64;
    let mut svg = String::new();
    for shade in 0..SHADES {
        let depth = shade as f64 / (SHADES - 1) as f64;
        let _ = write!(
            svg,
            "<rect x=\"{:.1}\" y=\"{y}\" width=\"{width}\" height=\"10\" fill=\"rgb(0,114,178)\" fill-opacity=\"{:.2}\"/>",
            left + width * shade as f64,
            opacity(depth)
        );
    }
    let _ = write!(
        svg,
        "<text x=\"{:.0}\" y=\"{2:.0}\" font-size=\"12\" text-anchor=\"end\">{3}</text><text x=\"{1:.0}\" y=\"{2:.0}\" \
         font-size=\"12\">{4}</text>",
        left - 5.0,
        left + width * SHADES as f64 + 5.0,
        y + 10.0,
        short(low),
        short(high)
    );
    svg
}

fn opacity(depth: f64) -> f64 {
    0.08 + 0.92 * depth
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_of_one_colour_is_a_sentence() {
        let rows = ["a<b".to_owned(), "c".to_owned()];
        let map = |values: [f64; 2]| heat_map("Share", &rows, &[1.0, 2.0], &[vec![values[0]; 2], vec![values[1]; 2]]);
        assert_eq!(map([0.25, 0.25]), Drawn::Said("<b>Share</b>: 0.25 throughout, for all 2.".into()));
        let Drawn::Plot(svg) = map([0.25, 0.5]) else { panic!("it varies") };
        assert_eq!(svg.matches("<rect").count(), 4 + SHADES, "{svg}");
        assert!(svg.contains("a&lt;b at step 1: 0.25") && svg.contains("data-y=\"adapter\""), "{svg}");
        assert_eq!(heat_map("Share", &rows, &[], &[]), Drawn::Nothing);
    }
}
