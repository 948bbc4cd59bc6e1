//! The table of a comparison: a row for each method of each cell, the best of a cell marked.

use std::fmt::Write as _;

use super::{
    figure::escape,
    page::{HINT, percent},
};
use crate::compare::{Cell, HEADS, MethodSummary, csv, rows};

/// Columns that are left out where they say the same in every row: model, data set, axes.
const OFTEN_ALIKE: usize = 3;
/// Where perplexity stands.
const PERPLEXITY: usize = 5;

/// The table with what its columns mean.
pub(super) fn html(cells: &[Cell], baseline: &str) -> String {
    let rows = rows(cells);
    let alike = |column: usize| rows.len() > 1 && rows.iter().all(|row| row[column] == rows[0][column]);
    let (left_out, shown): (Vec<usize>, Vec<usize>) = (0..HEADS.len()).partition(|at| *at < OFTEN_ALIKE && alike(*at));
    let mut html = String::from("<h2>Summary</h2>");
    let common: Vec<String> = left_out
        .iter()
        .filter(|at| rows[0][**at] != "–")
        .map(|at| format!("{} {}", HEADS[*at], escape(&rows[0][*at])))
        .collect();
    if !common.is_empty() {
        let _ = write!(html, "<p>All rows: {}.</p>", common.join(", "));
    }
    let _ = write!(html, "{HINT}<div class=\"wide\" tabindex=\"0\"><table><thead><tr>");
    for at in &shown {
        let _ = write!(html, "<th data-sort=\"none\">{}</th>", HEADS[*at]);
    }
    html.push_str("</tr></thead><tbody>");
    let best: Vec<bool> =
        cells.iter().flat_map(|cell| (0..cell.methods.len()).map(|at| best(cell) == Some(at))).collect();
    for (row, best) in rows.iter().zip(best) {
        let cell = |at: &usize| {
            let class = if best && *at == PERPLEXITY { " class=\"best\"" } else { "" };
            format!("<td{class}>{}</td>", escape(&row[*at]))
        };
        let _ = write!(html, "<tr>{}</tr>", shown.iter().map(cell).collect::<String>());
    }
    let comparisons = cells.iter().flat_map(|cell| &cell.methods).filter(|method| method.difference.is_some()).count();
    let _ = write!(
        html,
        "</tbody></table></div><p class=\"note\">★ the lowest mean, of methods that promise privacy in every run, or of all where none does; \
         whether it is lower than others by more than chance, intervals and p-values say.</p>\
         <p>Perplexity is the geometric mean over seeds with a 95 % t interval, from three seeds on. The baseline is {}; \
         differences are paired by seed, negative is better, and the p-value is that of the two-sided sign-flip test, which \
         cannot be below 2/2^n with n pairs. There are {comparisons} comparisons and no correction for their number. Steps \
         to baseline: median over seeds until a method is where the baseline of the same seed ends.</p>\
         <p class=\"download\"><a download=\"summary.csv\" href=\"data:text/csv;charset=utf-8,{}\">Download as CSV</a></p>",
        escape(baseline),
        percent(&csv(cells))
    );
    html
}

/// The method of the lowest mean perplexity in a cell, of those with a guarantee if there are any. One that diverged is none of them.
fn best(cell: &Cell) -> Option<usize> {
    let promises = |method: &MethodSummary| method.guaranteed == method.runs;
    let any = cell.methods.iter().any(promises);
    let mean = |(at, method): (usize, &MethodSummary)| {
        let fits = method.diverged == 0 && (!any || promises(method));
        Some((at, method.log_perplexity.as_ref().filter(|_| fits)?.mean))
    };
    let found = cell.methods.iter().enumerate().filter_map(mean);
    found.min_by(|one, two| one.1.total_cmp(&two.1)).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{summarize, tests::entry};

    #[test]
    fn the_best_of_a_cell_is_marked_and_columns_that_say_nothing_are_left_out() {
        let entries =
            [entry("fixed", 1, [3.0, 2.5, 2.0]), entry("sac", 1, [3.0, 2.0, 1.9]), entry("raw", 1, [3.0, 2.0, 1.0])];
        let mut cells = summarize(&entries, &["fixed".into(), "sac".into(), "raw".into()], "fixed");
        cells[0].methods[2].guaranteed = 0;
        let page = html(&cells, "fixed");
        assert!(page.contains("All rows: model m, dataset d, axes epsilon=0.5."), "{page}");
        assert!(
            page.contains("<td class=\"best\">6.686 (too few seeds)</td>")
                && page.matches("class=\"best\"").count() == 1,
            "{page}"
        );
        assert!(!page.contains("<th data-sort=\"none\">model"), "{page}");
    }
}
