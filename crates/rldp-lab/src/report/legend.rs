//! What tells the lines of a figure apart, below it: within, names would cover what they name.

use std::fmt::Write as _;

use plotters::style::RGBColor;

use super::figure::{Series, escape};

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

/// How a line is told from others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) colour: RGBColor,
    /// 0 is solid; then dashes, shorter and shorter.
    pub(super) dash: u32,
}

impl Style {
    pub(super) fn of(index: usize) -> Self {
        Self { colour: COLOURS[index % COLOURS.len()], dash: (index / COLOURS.len()) as u32 }
    }
}

/// Names of lines, levels and bands; nothing where nothing has a name.
pub(super) fn html(series: &[(Style, &Series)], levels: &[(String, f64)], band: &str) -> String {
    let mut entries = String::new();
    for (style, series) in series.iter().filter(|(_, series)| !series.name.is_empty()) {
        let RGBColor(red, green, blue) = style.colour;
        let line = ["solid", "dashed", "dotted"][style.dash.min(2) as usize];
        let _ = write!(
            entries,
            "<li><i style=\"border-top:2px {line} rgb({red},{green},{blue})\"></i>{}</li>",
            escape(&series.name)
        );
    }
    for (name, _) in levels {
        let _ = write!(entries, "<li><i style=\"border-top:1px dashed\"></i>{}</li>", escape(name));
    }
    if !band.is_empty() && series.iter().any(|(_, series)| series.band.is_some()) {
        let _ = write!(entries, "<li><i class=\"band\"></i>{}</li>", escape(band));
    }
    if entries.is_empty() { entries } else { format!("<ul class=\"legend\">{entries}</ul>") }
}
