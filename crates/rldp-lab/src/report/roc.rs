//! The report of an audit: what was found, and how well scores tell members from others.

use std::{fmt::Write as _, path::Path};

use super::{
    axis::Axis,
    figure::{Axes, Drawn, Figure, Series, escape},
    page::STYLE,
};
use crate::error::LabError;

/// Curves of one group of records.
#[derive(Clone, Debug)]
pub struct RocFigure {
    /// What was told apart.
    pub title: String,
    /// Name of a score, with false and true positive rates at every threshold.
    pub curves: Vec<(String, Vec<(f64, f64)>)>,
}

/// Writes an audit's page to `out`: lines of text, and the curves on logarithmic axes.
///
/// # Errors
/// When a figure cannot be drawn or the file cannot be written.
pub fn write_audit(title: &str, lines: &[String], figures: &[RocFigure], out: &Path) -> Result<(), LabError> {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"/><title>{0}</title><style>{STYLE}</style></head><body><h1>{0}</h1>\
         <div class=\"claim bad\"><strong>Not for release</strong>Scores of private records are private.</div><pre>",
        escape(title)
    );
    for line in lines {
        let _ = writeln!(html, "{}", escape(line));
    }
    html.push_str("</pre><div class=\"figures\">");
    for figure in figures {
        if let Drawn::Plot(svg) = roc(&figure.title, &figure.curves)? {
            html.push_str(&svg);
        }
    }
    let _ = writeln!(html, "</div></body></html>");
    super::replace(out, &html)
}

/// Curves with chance, both axes by powers of ten; rates below the smallest positive one stand at the edge.
fn roc(title: &str, curves: &[(String, Vec<(f64, f64)>)]) -> Result<Drawn, LabError> {
    let rates = curves.iter().flat_map(|(_, points)| points.iter().flat_map(|(x, y)| [*x, *y]));
    let least = rates.filter(|rate| *rate > 0.0).fold(1.0, f64::min);
    let place = |(x, y): &(f64, f64)| (x.max(least), y.max(least));
    let chance = (0..=40).map(|at| least.powf(1.0 - f64::from(at) / 40.0)).map(|rate| (rate, rate)).collect();
    let drawn = curves.iter().map(|(name, points)| Series::line(name.clone(), points.iter().map(place).collect()));
    let series: Vec<Series> = drawn.chain([Series::line("chance", chance)]).collect();
    let (x, y) = (Axis::Logarithmic, Axis::Logarithmic);
    Figure::new(title, "")
        .over(Axes { x, x_label: "false positive rate", y, y_label: "true positive rate" })
        .draw(&series)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_holds_every_curve_and_says_that_it_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("audit.html");
        let curve = |name: &str| (name.to_owned(), vec![(0.0, 0.0), (0.0, 0.2), (0.5, 0.9), (1.0, 1.0)]);
        let figure = RocFigure { title: "units <held out>".into(), curves: vec![curve("loss"), curve("rmia")] };
        write_audit("audit", &["AUC 0.9".into()], &[figure], &out).unwrap();
        let html = fs_err::read_to_string(&out).unwrap();
        for says in ["Not for release", "AUC 0.9", "loss", "rmia", "units &lt;held out&gt;", "<svg"] {
            assert!(html.contains(says), "{says} is missing");
        }
        assert!(!html.contains("NaN") && !html.contains("inf"));
    }
}
