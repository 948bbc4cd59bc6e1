//! Box plots: one row a method, over seeds.

use std::fmt::Write as _;

use super::{axis::Axis, figure::escape};
use crate::number::short;

/// Geometry in units of the view box.
const LEFT: f64 = 118.0;
const WIDTH: f64 = 300.0;
const TOP: f64 = 34.0;
const ROW: f64 = 20.0;

/// A row's name and its values, one for each seed.
pub(super) type Row = (String, Vec<f64>);

/// Horizontal boxes from the first to the third quartile with the median, whiskers to the extremes, and every value as a
/// dot, on a logarithmic axis: one method that fails does not squeeze the others. Rows without positive values are left out;
/// without any there is no figure.
pub(super) fn boxes(title: &str, label: &str, rows: &[Row]) -> String {
    let rows: Vec<(&str, Vec<f64>)> =
        rows.iter().filter_map(|(name, values)| Some((name.as_str(), sorted(values)?))).collect();
    let places = rows.iter().flat_map(|(_, values)| values.iter().map(|value| Axis::Logarithmic.place(*value)));
    let ends = places.fold((f64::MAX, f64::MIN), |(low, high), place| (low.min(place), high.max(place)));
    if rows.is_empty() {
        return String::new();
    }
    let room = if ends.1 > ends.0 { 0.05 * (ends.1 - ends.0) } else { 0.1 };
    let (low, high) = (ends.0 - room, ends.1 + room);
    let along = |place: f64| LEFT + WIDTH * (place - low) / (high - low);
    let x = |value: f64| along(Axis::Logarithmic.place(value));
    let bottom = TOP + ROW * rows.len() as f64;
    let mut svg = format!(
        "<svg class=\"figure\" role=\"img\" aria-label=\"{0}\" data-x=\"{2}\" data-y=\"method\" viewBox=\"0 0 440 {1:.0}\">\
         <text x=\"220\" y=\"18\" text-anchor=\"middle\" font-size=\"15\">{0}</text>\
         <text x=\"{3:.0}\" y=\"{4:.0}\" font-size=\"13\" text-anchor=\"end\">method</text>",
        escape(title),
        bottom + 44.0,
        escape(label),
        LEFT - 8.0,
        bottom + 34.0
    );
    for place in Axis::Logarithmic.ticks((low, high)) {
        let _ = write!(
            svg,
            "<line x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{TOP}\" y2=\"{bottom}\" stroke=\"currentColor\" stroke-opacity=\"0.2\"/>\
             <text x=\"{0:.1}\" y=\"{1:.0}\" font-size=\"12\" text-anchor=\"middle\">{2}</text>",
            along(place),
            bottom + 15.0,
            Axis::Logarithmic.label(place)
        );
    }
    for (at, (name, values)) in rows.iter().enumerate() {
        let y = TOP + ROW * (at as f64 + 0.5);
        let at = |q: f64| x(quantile(values, q));
        let _ = write!(
            svg,
            "<text x=\"{0:.0}\" y=\"{1:.1}\" font-size=\"12\" text-anchor=\"end\">{2}</text>\
             <line x1=\"{3:.1}\" x2=\"{4:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"currentColor\"/>\
             <rect x=\"{5:.1}\" y=\"{6:.1}\" width=\"{7:.1}\" height=\"12\" fill=\"rgb(0,114,178)\" fill-opacity=\"0.35\" \
             stroke=\"currentColor\"/><line x1=\"{8:.1}\" x2=\"{8:.1}\" y1=\"{6:.1}\" y2=\"{9:.1}\" stroke=\"currentColor\" \
             stroke-width=\"2\"/>",
            LEFT - 8.0,
            y + 4.0,
            escape(name),
            at(0.0),
            at(1.0),
            at(0.25),
            y - 6.0,
            at(0.75) - at(0.25),
            at(0.5),
            y + 6.0
        );
        for value in values {
            let _ = write!(
                svg,
                "<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"2.2\" fill=\"rgb(213,94,0)\"><title>{}: {}</title></circle>",
                x(*value),
                escape(name),
                short(*value)
            );
        }
    }
    let _ = write!(
        svg,
        "<text x=\"{:.0}\" y=\"{:.0}\" font-size=\"13\" text-anchor=\"middle\">{}</text></svg>",
        LEFT + 0.5 * WIDTH,
        bottom + 34.0,
        escape(label)
    );
    svg
}

/// Finite positive values in order; `None` when there are none.
fn sorted(values: &[f64]) -> Option<Vec<f64>> {
    let mut values: Vec<f64> = values.iter().copied().filter(|value| value.is_finite() && *value > 0.0).collect();
    values.sort_by(f64::total_cmp);
    (!values.is_empty()).then_some(values)
}

/// Linear between the two nearest values, as numpy's default; `values` are in order.
fn quantile(values: &[f64], q: f64) -> f64 {
    let place = q * (values.len() - 1) as f64;
    let (low, part) = (place.floor() as usize, place.fract());
    let high = (low + 1).min(values.len() - 1);
    values[low] + part * (values[high] - values[low])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// numpy.quantile([1, 2, 4, 8], [0, 0.25, 0.5, 0.75, 1]).
    #[test]
    fn quartiles_are_numpys() {
        let found = [0.0, 0.25, 0.5, 0.75, 1.0].map(|q| quantile(&[1.0, 2.0, 4.0, 8.0], q));
        assert_eq!(found, [1.0, 1.75, 3.0, 5.0, 8.0]);
        assert_eq!(quantile(&[3.0], 0.75), 3.0);
    }

    #[test]
    fn every_seed_is_a_dot_and_what_diverged_is_none() {
        let rows = [("a<b".to_owned(), vec![1.0, 2.0, f64::INFINITY, 0.0]), ("none".to_owned(), vec![f64::NAN])];
        let svg = boxes("title", "perplexity", &rows);
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("a&lt;b") && !svg.contains("none") && !svg.contains("NaN"), "{svg}");
        assert_eq!(boxes("title", "perplexity", &rows[1..]), "");
    }

    /// Equal ratios are equally far apart.
    #[test]
    fn the_axis_is_logarithmic() {
        let svg = boxes("title", "perplexity", &[("a".to_owned(), vec![1.0, 10.0, 100.0])]);
        let places = svg.split("cx=\"").skip(1).map(|rest| rest.split('"').next().unwrap().parse::<f64>().unwrap());
        let places: Vec<f64> = places.collect();
        assert!((places[1] - places[0] - (places[2] - places[1])).abs() < 0.11, "{places:?}");
    }
}
