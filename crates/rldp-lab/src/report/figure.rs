//! Figures as inline SVG that follows the page's colours.

use std::fmt::Write as _;

use plotters::{
    coord::{
        ranged1d::{DefaultFormatting, KeyPointHint},
        types::RangedCoordf64,
    },
    prelude::*,
};

use super::axis::{Axis, short};
use crate::error::LabError;

/// Colours of series, told apart in light and dark and by the colour-blind (Okabe and Ito).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(128, 128, 128),
];

/// Stand-ins that the page replaces by its own text and line colours.
const TEXT: RGBColor = RGBColor(1, 2, 3);
const FAINT: RGBColor = RGBColor(3, 2, 1);

/// One line, with an optional band of ± around it.
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

/// Up to this many lines are named within the figure; more below it.
const MOST_IN_FIGURE: usize = 5;

/// How a line is told from others.
#[derive(Clone, Copy)]
struct Style {
    colour: RGBColor,
    /// 0 is solid; then dashes, shorter and shorter.
    dash: u32,
}

impl Style {
    fn of(index: usize) -> Self {
        Self { colour: COLOURS[index % COLOURS.len()], dash: (index / COLOURS.len()) as u32 }
    }
}

/// Names of lines below a figure that has no room for them.
fn legend(series: &[(Style, &Series)]) -> String {
    if series.len() <= MOST_IN_FIGURE {
        return String::new();
    }
    let entry = |(style, series): &(Style, &Series)| {
        let RGBColor(red, green, blue) = style.colour;
        let line = ["solid", "dashed", "dotted"][style.dash.min(2) as usize];
        format!("<li><i style=\"border-top:2px {line} rgb({red},{green},{blue})\"></i>{}</li>", escape(&series.name))
    };
    format!("<ul class=\"legend\">{}</ul>", series.iter().map(entry).collect::<String>())
}

/// Both axes of a figure.
#[derive(Clone, Copy)]
pub(super) struct Axes<'a> {
    pub(super) x: Axis,
    pub(super) x_label: &'a str,
    pub(super) y: Axis,
    pub(super) y_label: &'a str,
}

/// Lines over steps. Empty series are left out; without any point there is no figure.
pub(super) fn lines(title: &str, y_label: &str, series: &[Series]) -> Result<String, LabError> {
    lines_on(Axis::Linear, title, y_label, series)
}

/// [`lines`] on an axis of choice.
pub(super) fn lines_on(axis: Axis, title: &str, y_label: &str, series: &[Series]) -> Result<String, LabError> {
    lines_over(axis, title, ("step", y_label), series)
}

/// [`lines_on`] over something else than steps.
pub(super) fn lines_over(axis: Axis, title: &str, labels: (&str, &str), series: &[Series]) -> Result<String, LabError> {
    plot(title, Axes { x: Axis::Linear, x_label: labels.0, y: axis, y_label: labels.1 }, series)
}

/// Lines on any axes.
pub(super) fn plot(title: &str, axes: Axes, series: &[Series]) -> Result<String, LabError> {
    let placed: Vec<Series> = series.iter().map(|series| series.on(&axes)).collect();
    // A series keeps its colour also where others have no points.
    let series: Vec<(Style, &Series)> = placed
        .iter()
        .enumerate()
        .map(|(at, series)| (Style::of(at), series))
        .filter(|(_, s)| !s.points.is_empty())
        .collect();
    let Some((x_range, y_range)) = ranges(&series) else { return Ok(String::new()) };
    let mut svg = String::new();
    draw_lines(&mut svg, title, axes, &series, x_range, y_range)
        .map_err(|error| LabError::Figure(error.to_string()))?;
    Ok(format!("<div>{}{}</div>", themed(&svg, title), legend(&series)))
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

fn draw_lines(
    svg: &mut String,
    title: &str,
    axes: Axes,
    series: &[(Style, &Series)],
    x_range: (f64, f64),
    y_range: (f64, f64),
) -> Result<(), Box<dyn std::error::Error>> {
    let series_count = series.len();
    let root = SVGBackend::with_string(svg, (560, 320)).into_drawing_area();
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 16, &TEXT))
        .margin(10)
        .x_label_area_size(38)
        .y_label_area_size(62)
        .build_cartesian_2d(Ticked::new(axes.x, x_range), Ticked::new(axes.y, y_range))?;
    chart
        .configure_mesh()
        .x_desc(axes.x_label)
        .y_desc(axes.y_label)
        .axis_style(FAINT)
        .bold_line_style(FAINT.mix(0.2))
        .light_line_style(FAINT.mix(0.0))
        .label_style(("sans-serif", 12, &TEXT))
        .axis_desc_style(("sans-serif", 13, &TEXT))
        .x_label_formatter(&|place| axes.x.label(*place))
        .y_label_formatter(&|place| axes.y.label(*place))
        .draw()?;
    for (Style { colour, dash }, series) in series.iter().copied() {
        if let Some(band) = &series.band {
            let upper = series.points.iter().zip(band).map(|((x, y), b)| (*x, (y + b).min(y_range.1)));
            let lower = series.points.iter().zip(band).map(|((x, y), b)| (*x, (y - b).max(y_range.0)));
            let outline: Vec<(f64, f64)> = upper.chain(lower.rev()).collect();
            chart.draw_series(std::iter::once(Polygon::new(outline, colour.mix(0.18))))?;
        }
        let (points, stroke) = (series.points.iter().copied(), colour.stroke_width(2));
        let line = match dash {
            0 => chart.draw_series(LineSeries::new(points, stroke))?,
            dash => chart.draw_series(DashedLineSeries::new(points, 8 / dash, 4, stroke))?,
        };
        if !series.name.is_empty() && series_count <= MOST_IN_FIGURE {
            line.label(&series.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        }
    }
    if series_count <= MOST_IN_FIGURE && series.iter().any(|(_, series)| !series.name.is_empty()) {
        chart
            .configure_series_labels()
            .position(if rises(series) { SeriesLabelPosition::LowerRight } else { SeriesLabelPosition::UpperRight })
            .label_font(("sans-serif", 12, &TEXT))
            .draw()?;
    }
    root.present()?;
    Ok(())
}

/// Whether the lines end higher than they begin: then the legend goes below them.
fn rises(series: &[(Style, &Series)]) -> bool {
    let change = |(_, series): &(Style, &Series)| {
        let (first, last) = (series.points.first(), series.points.last());
        first.zip(last).map_or(0.0, |(first, last)| last.1 - first.1)
    };
    series.iter().map(change).sum::<f64>() > 0.0
}

/// Ranges with a little room; degenerate ones are widened.
fn ranges(series: &[(Style, &Series)]) -> Option<((f64, f64), (f64, f64))> {
    let points = || series.iter().flat_map(|(_, series)| series.points.iter()).filter(|(_, y)| y.is_finite());
    points().next()?;
    let span = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)))
    };
    let (x_low, x_high) = span(&mut points().map(|point| point.0));
    let (y_low, y_high) = span(&mut points().map(|point| point.1));
    let room = if y_high > y_low { 0.08 * (y_high - y_low) } else { 0.1 * y_high.abs().max(1e-9) };
    Some(((x_low, if x_high > x_low { x_high } else { x_low + 1.0 }), (y_low - room, y_high + room)))
}

/// Adapters × time: each cell's colour is the value's place between the smallest and the largest.
pub(super) fn heat_map(title: &str, rows: &[String], columns: &[f64], values: &[Vec<f64>]) -> String {
    let (low, high) = values.iter().flatten().fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
    if rows.is_empty() || columns.is_empty() || !(low.is_finite() && high.is_finite()) {
        return String::new();
    }
    let (left, top, cell, width) = (190.0, 44.0, 13.0_f64.min(420.0 / rows.len() as f64).max(4.0), 420.0);
    let step = width / columns.len() as f64;
    let varied = high - low > 1e-9 * high.abs();
    let height = top + cell * rows.len() as f64 + 40.0;
    let mut svg = format!(
        "<svg class=\"figure\" role=\"img\" aria-label=\"{0}\" viewBox=\"0 0 640 {height:.0}\"><text class=\"t\" x=\"320\" y=\"18\" \
         text-anchor=\"middle\" font-size=\"16\">{0}</text><text class=\"t\" x=\"{left}\" y=\"36\" font-size=\"11\">{1}</text>",
        escape(title),
        if varied {
            format!("from {} (pale) to {} (deep)", short(low), short(high))
        } else {
            format!("{} throughout", short(low))
        }
    );
    let every = (12.0 / cell).ceil() as usize;
    for (index, (name, row)) in rows.iter().zip(values).enumerate() {
        let y = top + cell * index as f64;
        if index % every == 0 {
            let label = name.replace("model.layers.", "").replace("transformer.h.", "").replace("self_attn.", "");
            let _ = write!(
                svg,
                "<text class=\"t\" x=\"{:.0}\" y=\"{:.1}\" font-size=\"10\" text-anchor=\"end\">{}</text>",
                left - 6.0,
                y + cell * 0.8,
                escape(&label)
            );
        }
        for (column, value) in row.iter().enumerate() {
            let depth = if varied { (value - low) / (high - low) } else { 0.5 };
            let _ = write!(
                svg,
                "<rect x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{cell:.1}\" fill=\"rgb(0,114,178)\" fill-opacity=\"{:.2}\"><title>{} at step {}: {}</title></rect>",
                left + step * column as f64,
                step + 0.2,
                0.06 + 0.94 * depth,
                escape(name),
                columns[column],
                short(*value)
            );
        }
    }
    let _ = write!(
        svg,
        "<text class=\"t\" x=\"{left}\" y=\"{0:.0}\" font-size=\"11\">step {1}</text><text class=\"t\" x=\"{2:.0}\" y=\"{0:.0}\" font-size=\"11\" text-anchor=\"end\">step {3}</text></svg>",
        height - 20.0,
        columns[0],
        left + width,
        columns[columns.len() - 1]
    );
    svg
}

/// Makes an SVG follow the page: scales with its box, takes text and line colours from the theme.
fn themed(svg: &str, title: &str) -> String {
    let body = svg.find("<svg").map_or(svg, |start| &svg[start..]);
    let open = format!("<svg class=\"figure\" role=\"img\" aria-label=\"{}\" viewBox=\"0 0 560 320\"", escape(title));
    let body = body.replacen(
        "<svg width=\"560\" height=\"320\" viewBox=\"0 0 560 320\" xmlns=\"http://www.w3.org/2000/svg\"",
        &open,
        1,
    );
    body.replace("#010203", "currentColor")
        .replace("#030201", "currentColor")
        .replace("xmlns=\"http://www.w3.org/2000/svg\"", "")
}

/// Text that may stand in HTML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn zero_on_an_axis_is_called_zero() {
        let svg = lines("title", "y", &[Series::line("", vec![(10.0, -0.02), (40.0, 0.07)])]).unwrap();
        assert!(svg.contains(">\n0\n<"), "no tick at 0:\n{svg}");
        assert!(!svg.contains("e-1"), "a tick next to 0:\n{svg}");
    }
}
