//! Figures as inline SVG that follows the page's colours. What has no shape to show is a sentence instead.

use plotters::{
    coord::{
        ranged1d::{DefaultFormatting, KeyPointHint},
        types::RangedCoordf64,
    },
    prelude::*,
};

use super::{
    axis::Axis,
    legend::{self, Style},
};
use crate::{error::LabError, number::short};

/// Size of a figure's view box.
pub(super) const WIDTH: u32 = 440;
const HEIGHT: u32 = 290;

/// Stand-ins that the page replaces by its own text and line colours.
const TEXT: RGBColor = RGBColor(1, 2, 3);
const FAINT: RGBColor = RGBColor(3, 2, 1);

/// Up to this many points of a line are marked.
const MOST_MARKED: usize = 64;

/// What came of a figure.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Drawn {
    /// There was nothing to show.
    Nothing,
    /// Nothing varies: words say it better. As HTML.
    Said(String),
    /// SVG with its legend.
    Plot(String),
}

/// One line, with an optional band of ± around it.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
    pub(super) band: Option<Vec<f64>>,
}

impl Series {
    pub(super) fn line(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, band: None }
    }

    fn on(&self, axes: &Axes) -> Self {
        let place = |(x, y): &(f64, f64)| (axes.x.place(*x), axes.y.place(*y));
        Self { name: self.name.clone(), points: self.points.iter().map(place).collect(), band: self.band.clone() }
    }
}

/// Both axes of a figure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axes<'a> {
    pub(super) x: Axis,
    pub(super) x_label: &'a str,
    pub(super) y: Axis,
    pub(super) y_label: &'a str,
}

/// A figure before its lines.
#[derive(Clone, Debug)]
pub(super) struct Figure<'a> {
    title: &'a str,
    axes: Axes<'a>,
    with_zero: bool,
    /// Horizontal lines: name and value.
    levels: Vec<(String, f64)>,
    band: &'a str,
}

impl<'a> Figure<'a> {
    /// A figure over steps.
    pub(super) fn new(title: &'a str, y_label: &'a str) -> Self {
        let axes = Axes { x: Axis::Steps, x_label: "step", y: Axis::Linear, y_label };
        Self { title, axes, with_zero: false, levels: Vec::new(), band: "" }
    }

    /// On other axes.
    pub(super) fn over(mut self, axes: Axes<'a>) -> Self {
        self.axes = axes;
        self
    }

    /// With values by powers of ten.
    pub(super) fn logarithmic(mut self) -> Self {
        self.axes.y = Axis::Logarithmic;
        self
    }

    /// With 0 on the axis of values.
    pub(super) fn with_zero(mut self) -> Self {
        self.with_zero = true;
        self
    }

    /// With horizontal lines.
    pub(super) fn levels(mut self, levels: Vec<(String, f64)>) -> Self {
        self.levels = levels;
        self
    }

    /// Says what bands are.
    pub(super) fn band(mut self, name: &'a str) -> Self {
        self.band = name;
        self
    }

    /// Lines of `series`; a sentence where none of them changes.
    pub(super) fn draw(&self, series: &[Series]) -> Result<Drawn, LabError> {
        let filled: Vec<&Series> = series.iter().filter(|series| !series.points.is_empty()).collect();
        if filled.is_empty() {
            return Ok(Drawn::Nothing);
        }
        if filled.len() <= MOST_SAID && filled.iter().all(|series| is_constant(series)) {
            return Ok(Drawn::Said(said(self.title, self.axes.x_label, &filled)));
        }
        let placed: Vec<Series> = series.iter().map(|series| series.on(&self.axes)).collect();
        // A series keeps its colour also where others have no points.
        let styled = placed.iter().enumerate().map(|(at, series)| (Style::of(at), series));
        let styled: Vec<(Style, &Series)> = styled.filter(|(_, series)| !series.points.is_empty()).collect();
        let Some((x_range, y_range)) = self.ranges(&styled) else { return Ok(Drawn::Nothing) };
        let mut svg = String::new();
        self.draw_on(&mut svg, &styled, x_range, y_range).map_err(|error| LabError::Figure(error.to_string()))?;
        let legend = legend::html(&styled, &self.levels, self.band);
        Ok(Drawn::Plot(format!("<div>{}{legend}</div>", self.themed(&svg))))
    }

    fn draw_on(
        &self,
        svg: &mut String,
        series: &[(Style, &Series)],
        x_range: (f64, f64),
        y_range: (f64, f64),
    ) -> Result<(), Box<dyn std::error::Error>> {
        let axes = self.axes;
        let root = SVGBackend::with_string(svg, (WIDTH, HEIGHT)).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .caption(self.title, ("sans-serif", 18, &TEXT))
            .margin(10)
            .margin_right(20)
            .x_label_area_size(42)
            .y_label_area_size(64)
            .build_cartesian_2d(Ticked::new(axes.x, x_range), Ticked::new(axes.y, y_range))?;
        chart
            .configure_mesh()
            .x_desc(axes.x.named(axes.x_label))
            .y_desc(axes.y.named(axes.y_label))
            .axis_style(FAINT)
            .bold_line_style(FAINT.mix(0.2))
            .light_line_style(FAINT.mix(0.0))
            .label_style(("sans-serif", 14, &TEXT))
            .axis_desc_style(("sans-serif", 16, &TEXT))
            .x_label_formatter(&|place| axes.x.label(*place))
            .y_label_formatter(&|place| axes.y.label(*place))
            .draw()?;
        for (_, level) in &self.levels {
            let ends = [x_range.0, x_range.1].map(|x| (x, axes.y.place(*level)));
            chart.draw_series(DashedLineSeries::new(ends, 7, 5, FAINT.stroke_width(1)))?;
        }
        for (Style { colour, dash }, series) in series.iter().copied() {
            if let Some(band) = &series.band {
                let edge = |(x, y): &(f64, f64), b: f64| (*x, (y + b).clamp(y_range.0, y_range.1));
                let upper = series.points.iter().zip(band).map(|(point, b)| edge(point, *b));
                let lower = series.points.iter().zip(band).map(|(point, b)| edge(point, -b));
                let outline: Vec<(f64, f64)> = upper.chain(lower.rev()).collect();
                chart.draw_series(std::iter::once(Polygon::new(outline, colour.mix(0.18))))?;
            }
            let (points, stroke) = (series.points.iter().copied(), colour.stroke_width(2));
            match dash {
                0 => chart.draw_series(LineSeries::new(points, stroke))?,
                dash => chart.draw_series(DashedLineSeries::new(points, 8 / dash, 4, stroke))?,
            };
            if series.points.len() <= MOST_MARKED {
                chart.draw_series(series.points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
            }
        }
        root.present()?;
        Ok(())
    }

    /// Ranges of places with a little room; degenerate ones are widened.
    fn ranges(&self, series: &[(Style, &Series)]) -> Option<((f64, f64), (f64, f64))> {
        let points = || series.iter().flat_map(|(_, series)| series.points.iter()).filter(|(_, y)| y.is_finite());
        points().next()?;
        let span = |values: &mut dyn Iterator<Item = f64>| {
            values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)))
        };
        let levels = self.levels.iter().map(|(_, level)| self.axes.y.place(*level));
        let (x_low, x_high) = span(&mut points().map(|point| point.0));
        let (y_low, y_high) = span(&mut points().map(|point| point.1).chain(levels));
        let room = if y_high > y_low { 0.08 * (y_high - y_low) } else { 0.1 * y_high.abs().max(1e-9) };
        let y_low = if self.with_zero { 0.0 } else { y_low - room };
        Some(((x_low, if x_high > x_low { x_high } else { x_low + 1.0 }), (y_low, y_high + room)))
    }

    /// Makes an SVG follow the page: scales with its box, takes text and line colours from the theme. It says what its axes are, so that
    /// a test can see whether they are named.
    fn themed(&self, svg: &str) -> String {
        let Axes { x, x_label, y, y_label } = self.axes;
        let body = svg.find("<svg").map_or(svg, |start| &svg[start..]);
        let open = format!(
            "<svg class=\"figure\" role=\"img\" aria-label=\"{}\" data-x=\"{}\" data-y=\"{}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\"",
            escape(self.title),
            escape(&x.named(x_label)),
            escape(&y.named(y_label))
        );
        let size = format!("width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\"");
        body.replacen(&format!("<svg {size} xmlns=\"http://www.w3.org/2000/svg\""), &open, 1)
            .replace("#010203", "currentColor")
            .replace("#030201", "currentColor")
    }
}

/// Up to this many lines that do not change are told in a sentence.
const MOST_SAID: usize = 8;

fn is_constant(series: &Series) -> bool {
    let first = series.points.first().map_or(0.0, |point| point.1);
    series.points.iter().all(|(_, y)| (y - first).abs() <= 1e-9 * first.abs())
}

/// Series that do not change, in words.
fn said(title: &str, x_label: &str, series: &[&Series]) -> String {
    let one = |series: &Series| {
        let value = short(series.points.first().map_or(0.0, |point| point.1));
        let deviation = series.band.as_ref().and_then(|band| band.first()).map(|band| format!(" ± {}", short(*band)));
        let place = match &series.points[..] {
            [(x, _)] => format!("at {x_label} {}", short(*x)),
            _ => "throughout".to_owned(),
        };
        format!("{value}{} {place}", deviation.unwrap_or_default())
    };
    let mut words: Vec<String> = series.iter().map(|series| one(series)).collect();
    if words.iter().all(|one| *one == words[0]) {
        words.truncate(1);
    } else {
        words = words.iter().zip(series).map(|(words, series)| format!("{} {words}", series.name)).collect();
    }
    format!("<b>{}</b>: {}.", escape(title), escape(&words.join(", ")))
}

/// A range of places with ticks at round values.
struct Ticked {
    places: RangedCoordf64,
    ticks: Vec<f64>,
}

impl Ticked {
    fn new(axis: Axis, range: (f64, f64)) -> Self {
        Self { places: (range.0..range.1).into(), ticks: axis.ticks(range) }
    }
}

impl Ranged for Ticked {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, place: &f64, limit: (i32, i32)) -> i32 {
        self.places.map(place, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.places.range()
    }
}

/// Text that may stand in HTML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn plot(figure: &Figure, series: &[Series]) -> String {
        match figure.draw(series).unwrap() {
            Drawn::Plot(html) => html,
            other => panic!("no plot but {other:?}"),
        }
    }

    #[test]
    fn zero_on_an_axis_is_called_zero() {
        let svg = plot(&Figure::new("title", "y"), &[Series::line("", vec![(10.0, -0.02), (40.0, 0.07)])]);
        assert!(svg.contains(">\n0\n<"), "no tick at 0:\n{svg}");
        assert!(!svg.contains("e-1"), "a tick next to 0:\n{svg}");
        assert_eq!(svg.matches("<circle").count(), 2, "points are marked:\n{svg}");
    }

    #[test]
    fn axes_are_named_with_how_they_are_divided() {
        let svg =
            plot(&Figure::new("t", "perplexity").logarithmic(), &[Series::line("", vec![(0.0, 9.0), (5.0, 8.0)])]);
        assert!(
            svg.contains("data-y=\"perplexity (logarithmic)\"") && svg.contains(">\nperplexity (logarithmic)\n<"),
            "{svg}"
        );
        assert!(svg.contains("data-x=\"step\"") && svg.contains(">\nstep\n<"), "{svg}");
    }

    #[test]
    fn what_does_not_vary_is_said() {
        let line = |name: &str, y: f64, steps: usize| Series::line(name, (1..=steps).map(|x| (x as f64, y)).collect());
        let figure = Figure::new("Clip & norm", "C");
        let said = |series: &[Series]| match figure.draw(series).unwrap() {
            Drawn::Said(words) => words,
            other => panic!("{other:?}"),
        };
        assert_eq!(said(&[line("", 0.5, 1)]), "<b>Clip &amp; norm</b>: 0.5 at step 1.");
        assert_eq!(said(&[line("a", 0.5, 3), line("b", 0.5, 3)]), "<b>Clip &amp; norm</b>: 0.5 throughout.");
        assert_eq!(
            said(&[line("a", 0.5, 3), line("b", 2.0, 3)]),
            "<b>Clip &amp; norm</b>: a 0.5 throughout, b 2 throughout."
        );
        assert_eq!(figure.draw(&[line("a", 0.5, 0)]).unwrap(), Drawn::Nothing);
    }

    #[test]
    fn a_budget_begins_at_nothing_and_shows_its_target() {
        let figure = Figure::new("Budget", "epsilon").with_zero().levels(vec![("target".into(), 4.0)]);
        let svg = plot(&figure, &[Series::line("", vec![(0.0, 0.0), (1.0, 3.0)])]);
        assert!(svg.contains(">\n0\n<") && svg.contains(">\n4\n<") && svg.contains("target"), "{svg}");
    }
}
