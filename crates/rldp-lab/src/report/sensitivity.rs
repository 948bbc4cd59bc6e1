//! How perplexity depends on a setting that a grid varies.

use std::collections::BTreeMap;

use super::{
    axis::Axis,
    figure::{Axes, Drawn, Figure, Series},
};
use crate::{compare::Entry, error::LabError, statistics::Estimate};

/// One figure for every axis of numbers and every value of what else varies: a line a method over the setting, with the
/// 95 % t interval of mean log-perplexity as its band. A method's place in `order` is its colour.
pub(super) fn figures(entries: &[Entry], order: &[&str]) -> Result<Vec<Drawn>, LabError> {
    let mut axes: Vec<&String> = entries.iter().flat_map(|entry| entry.result.axes.keys()).collect();
    axes.sort();
    axes.dedup();
    let mut drawn = Vec::new();
    for axis in axes {
        for (rest, methods) in places(entries, axis) {
            if methods.values().any(|points| points.len() > 1) {
                let points = |method: &&str| methods.get(*method).map_or(&[][..], Vec::as_slice);
                let series: Vec<Series> = order.iter().map(|method| line(method, points(method))).collect();
                let axes = Axes { x: Axis::Linear, x_label: axis, y: Axis::Logarithmic, y_label: "perplexity" };
                let figure = Figure::new(rest.trim_end(), "").over(axes);
                drawn.push(figure.band("95 % t interval of the mean over seeds").draw(&series)?);
            }
        }
    }
    Ok(drawn)
}

/// A setting's value, and log-perplexities there.
type Point = (f64, Vec<f64>);

/// By everything but `axis`: each method's points, in order of the setting.
fn places<'a>(entries: &'a [Entry], axis: &str) -> BTreeMap<String, BTreeMap<&'a str, Vec<Point>>> {
    let mut found: BTreeMap<String, BTreeMap<&str, Vec<Point>>> = BTreeMap::new();
    for entry in entries {
        let result = &entry.result;
        let Some(value) = result.axes.get(axis).and_then(serde_json::Value::as_f64) else { continue };
        let Some(log) = result.perplexity_after.map(f64::ln) else { continue };
        let mut others = result.clone();
        others.axes.remove(axis);
        let rest = format!("{} on {} {}", result.model, result.dataset, others.axes_text());
        let points = found.entry(rest).or_default().entry(&result.method).or_default();
        match points.iter_mut().find(|(known, _)| *known == value) {
            Some((_, logs)) => logs.push(log),
            None => points.push((value, vec![log])),
        }
    }
    found.values_mut().flat_map(BTreeMap::values_mut).for_each(|points| points.sort_by(|a, b| a.0.total_cmp(&b.0)));
    found
}

fn line(method: &str, points: &[Point]) -> Series {
    let estimates: Vec<(f64, Estimate)> =
        points.iter().filter_map(|(value, logs)| Some((*value, Estimate::of(logs)?))).collect();
    // The axis is placed by powers of ten, and the band with it.
    let tens = |(_, estimate): &(f64, Estimate)| estimate.half_width.unwrap_or(0.0) / std::f64::consts::LN_10;
    Series {
        name: method.to_owned(),
        points: estimates.iter().map(|(value, estimate)| (*value, estimate.mean.exp())).collect(),
        band: estimates.iter().all(|(_, estimate)| estimate.is_enough()).then(|| estimates.iter().map(tens).collect()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::compare::tests::entry;

    fn at(interval: u64, seed: u64, log: f64) -> Entry {
        let mut entry = entry("sac", seed, [3.0, 2.5, log]);
        entry.result.axes.insert("interval".into(), json!(interval));
        entry
    }

    #[test]
    fn a_setting_of_several_values_gets_a_curve_and_one_of_a_single_value_none() {
        let mut entries = vec![at(10, 1, 2.0), at(2, 1, 2.2), at(10, 2, 2.1), at(2, 2, 2.4)];
        let found = places(&entries, "interval");
        let points = &found["m on d epsilon=0.5"]["sac"];
        assert_eq!(points.iter().map(|(value, _)| *value).collect::<Vec<_>>(), [2.0, 10.0]);
        let line = line("sac", points);
        assert!((line.points[0].1.ln() - 2.3).abs() < 1e-12, "{:?}", line.points);
        assert!(line.band.is_none(), "two seeds are too few");
        entries.extend([at(10, 3, 2.2), at(2, 3, 2.6)]);
        let line = super::line("sac", &places(&entries, "interval")["m on d epsilon=0.5"]["sac"]);
        // Half the width for three values 0.2 apart: 4.302653 · 0.2/√3.
        assert!((line.band.unwrap()[0] * std::f64::consts::LN_10 - 0.496_827).abs() < 1e-4);
        let drawn = figures(&entries, &["fixed", "sac"]).unwrap();
        let [Drawn::Plot(html)] = &drawn[..] else { panic!("epsilon has one value: {drawn:?}") };
        assert!(html.contains("data-x=\"interval\"") && html.contains("95 % t interval"));
    }
}
