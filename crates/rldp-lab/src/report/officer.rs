//! The page for whoever signs: what a run promises, about whom, who said so, and what it leaves open. It comes first.

use std::fmt::Write as _;

use rldp_privacy::decimals::at_most;
use serde_json::Value;

use super::{Audited, Verdict, figure::escape};
use crate::{number::short, run::RunFolder};

/// What somebody may believe beforehand of a unit being in the data, in percent.
const BELIEFS: [f64; 4] = [1.0, 10.0, 50.0, 90.0];

/// The officer's page of one run.
pub(super) fn officer(run: &RunFolder, verdict: &Verdict, audited: Option<&Audited>) -> String {
    let mut rows = vec![("Run", origin(run)), ("Base model", model(run))];
    if run.without_guarantee().is_none() {
        rows.push(("Epsilon in words", odds(run)));
        rows.push(("Delta", delta(run)));
    }
    rows.extend([
        ("One unit", unit(run)),
        ("Number of units", units(run)),
        ("Evaluation file", evaluation(run)),
        ("Policy", policy(run)),
        ("Other runs", other_runs(run)),
        ("Audit", audit(run, audited)),
        ("Not covered", not_covered(run)),
        ("To check", to_check(verdict)),
        ("Intended use", "<span class=\"fill\"></span>".to_owned()),
        ("Signed", signatures()),
    ]);
    let rows: String = rows.iter().map(|(name, what)| format!("<dt>{name}</dt><dd>{what}</dd>")).collect();
    format!("<h2>For whoever signs</h2><dl class=\"officer\">{rows}</dl>")
}

fn origin(run: &RunFolder) -> String {
    let commit = run.manifest.get("commit").and_then(Value::as_str).map(|commit| format!(", commit {commit}"));
    let id = run.manifest.get("id").and_then(Value::as_str).map(|id| format!(" ({id})"));
    escape(&format!(
        "{}{}, begun {}, by rldp {}{}",
        run.title(),
        id.unwrap_or_default(),
        run.fact("started"),
        run.fact("rldp_version"),
        commit.unwrap_or_default()
    ))
}

fn model(run: &RunFolder) -> String {
    let model = run.manifest.get("model").unwrap_or(&Value::Null);
    let text = |key: &str| {
        model.get(key).map_or_else(String::new, |value| value.as_str().map_or(value.to_string(), str::to_owned))
    };
    let mut html = escape(&format!("{} ({}, {} parameters)", text("path"), text("family"), text("parameters")));
    for (name, digest) in model.get("digests").and_then(Value::as_object).into_iter().flatten() {
        let name = name.strip_prefix("base/").unwrap_or(name);
        let digest = digest.as_str().unwrap_or_default();
        let _ = write!(html, "<br/><code>{} {}</code>", escape(digest), escape(name));
    }
    html
}

/// What e^ε makes of a belief.
fn odds(run: &RunFolder) -> String {
    let Some(epsilon) = run.number("privacy", "epsilon") else { return "none was set".into() };
    let after = |percent: f64| {
        let odds = percent / (100.0 - percent) * epsilon.exp();
        format!("{}\u{a0}%", percent_of(100.0 * odds / (1.0 + odds)))
    };
    let before: String = BELIEFS.iter().map(|belief| format!("<td>{belief}\u{a0}%</td>")).collect();
    let then: String = BELIEFS.iter().map(|belief| format!("<td>{}</td>", after(*belief))).collect();
    format!(
        "ε = {epsilon}: whoever sees all that was released, and believed before that a certain unit is in the data with the first \
         number, believes it then with the second at most, whatever else is known.<table class=\"odds\"><tr><th>before</th>{before}\
         </tr><tr><th>after, at most</th>{then}</tr></table>"
    )
}

fn percent_of(percent: f64) -> String {
    let text = at_most(percent, if percent > 99.0 { 2 } else { 1 });
    // A bound is not rounded to certainty.
    if text == "100.00" { "more than 99.99".into() } else { text }
}

fn delta(run: &RunFolder) -> String {
    let (Some(delta), Ok(units)) = (run.number("privacy", "delta"), run.units().parse::<f64>()) else {
        return "none was set".into();
    };
    let share = delta * units;
    let class = if share < 0.1 { "good" } else { "alarm" };
    format!(
        "δ = {delta:?}: the bound may fail with this probability. Over {units} units that is {} of one unit, \
         <span class=\"{class}\">{}</span>.",
        short(share),
        if share < 0.1 {
            "well below one"
        } else {
            "NOT well below one: a release that shows a unit outright could pass"
        }
    )
}

fn unit(run: &RunFolder) -> String {
    let unit = run.fact("unit");
    if unit == "record" {
        return "one record, since no <code>--unit-column</code> was given: a person with several records is protected for each of them \
                alone. Declared by the operator."
            .into();
    }
    format!(
        "all records with the same <code>{}</code>, declared by the operator with <code>--unit-column {}</code>. Whether that column \
         tells people apart is for you to know.",
        escape(&unit),
        escape(&run.setting("data", "unit_column"))
    )
}

fn units(run: &RunFolder) -> String {
    let units = escape(&run.units());
    if run.manifest.get("units_declared").and_then(Value::as_bool) == Some(true) {
        return format!(
            "at most {units}, declared by the operator with <code>--units</code>. How many there are is in nothing that was released, and \
             the promise holds for adding and removing a unit."
        );
    }
    format!(
        "{units}, counted in the file and released with the run. The promise takes it for public: it is about a unit's records being \
         there or being empty (zero-out), not about how many units there are."
    )
}

fn evaluation(run: &RunFolder) -> String {
    let Some(eval) = run.config.get("data").and_then(|data| data.get("eval")).and_then(toml::Value::as_str) else {
        return "none".into();
    };
    let flag = |section: &str, key: &str| run.setting(section, key) == "true";
    let shared = if flag("data", "allow_shared_eval") {
        " <span class=\"alarm\">It may share records with the training file (<code>--allow-shared-eval</code>): its figures are not part of \
         the promise.</span>"
    } else if run.manifest.get("id").is_some() && run.without_guarantee().is_none() {
        " No record of it is a training record, word for word."
    } else {
        // Neither earlier versions nor runs without a guarantee looked.
        ""
    };
    let probe = if flag("control", "public_probe") {
        " The controller was rewarded by it (<code>--public-probe</code>)."
    } else {
        ""
    };
    format!(
        "{}, declared public by the operator with <code>--eval</code>; perplexity on it is exact.{shared}{probe}",
        escape(eval)
    )
}

fn policy(run: &RunFolder) -> String {
    match run.config.get("control").and_then(|control| control.get("policy")).and_then(toml::Value::as_str) {
        None => format!(
            "controller <code>{}</code>, which began with no saved policy",
            escape(&run.setting("control", "controller"))
        ),
        Some(path) if run.setting("control", "allow_private_policy") == "true" => format!(
            "began with {}, <span class=\"alarm\">learned in another private run: what that run spent adds to this one's where people are \
             the same</span>",
            escape(path)
        ),
        Some(path) => format!("began with {}, learned on public records", escape(path)),
    }
}

fn other_runs(run: &RunFolder) -> String {
    let mut html = match run.manifest.get("book").filter(|book| book.is_object()) {
        Some(book) => {
            let number = |key: &str| book.get(key).and_then(Value::as_f64).unwrap_or(f64::NAN);
            format!(
                "run {} in the budget book {}. All of these together: ε = {} at δ = {:?}, of a limit of {}, as far as the book had \
                 them when this run began.",
                number("runs"),
                escape(book.get("file").and_then(Value::as_str).unwrap_or_default()),
                at_most(number("epsilon"), 4),
                number("delta"),
                number("limit")
            )
        }
        None => "no budget book was kept (<code>--book</code>). Every other run on the same people, also one that was thrown away after a \
                 look, adds to this one's ε."
            .into(),
    };
    let others = run.setting("privacy", "other_steps");
    if !["0", "–"].contains(&others.as_str()) {
        let _ = write!(html, " This run's ε covers {} steps of other runs as well.", escape(&others));
    }
    html
}

fn audit(run: &RunFolder, audited: Option<&Audited>) -> String {
    let planted = run.manifest.get("planted").and_then(Value::as_str).unwrap_or_default();
    let mut html = if planted.is_empty() {
        "none was prepared: no secret was planted, and nobody was held out. ".to_owned()
    } else {
        format!("prepared. {} ", escape(planted))
    };
    match audited {
        Some(Audited { lines }) => {
            let lines: String = lines.iter().map(|line| format!("<li>{}</li>", escape(line))).collect();
            let _ = write!(
                html,
                "What it found, an exact function of private coins and <span class=\"alarm\">not for release</span>:<ul>{lines}</ul>An \
                 attack that fails proves nothing; one above the claim refutes it."
            );
        }
        None if planted.is_empty() => {}
        None => html.push_str(
            "What <code>rldp audit</code> printed is not for release, so it is not here; <code>rldp report --audit FILE</code> puts it \
             on a copy for the desk. Lower bound on ε: <span class=\"fill short\"></span>",
        ),
    }
    html
}

fn not_covered(run: &RunFolder) -> String {
    let unit = run.fact("unit");
    let shared = if unit == "record" {
        "<li>People with more than one record, and text that stands in several.</li>"
    } else {
        "<li>Text that several units share, such as a history of the family, and who lives in one household: each unit is protected alone.</li>"
    };
    format!(
        "<ul><li>The operator of the machine, and whoever can read its memory, disk or the training file.</li><li>How long steps took.</li>\
         {shared}<li>Settings that were chosen by trying them on these records.</li><li>What the base model had learned before.</li>\
         <li>What follows from the data about everybody, such as that a drug does harm.</li></ul>"
    )
}

fn to_check(verdict: &Verdict) -> String {
    let head = verdict.head.as_deref().unwrap_or("–");
    format!(
        "<code>rldp privacy verify RUN --public-key KEY.pub</code>. Last hash of the ledger: <code>{}</code>. Kept elsewhere, on this paper \
         or in a mail, it shows whether the folder was put back to an older state.",
        escape(head)
    )
}

fn signatures() -> String {
    ["Operator, who declared unit, number of units and evaluation file", "Privacy officer"]
        .iter()
        .map(|who| {
            format!("<div class=\"sign\"><span class=\"fill\"></span><span class=\"fill short\"></span><small>{who}; date</small></div>")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1 % becomes at most 1.7 % at ε = 0.5 and 97 % at ε = 8; a bound is never called certain.
    #[test]
    fn beliefs_are_moved_by_e_to_the_epsilon() {
        let page = |epsilon: &str| {
            let config = format!("[privacy]\nepsilon = {epsilon}\ndelta = 1e-5").parse().unwrap();
            odds(&RunFolder::empty(config, Value::Null))
        };
        assert!(
            page("0.5").contains("<td>1.7\u{a0}%</td>") && page("8.0").contains("<td>96.8\u{a0}%</td>"),
            "{}",
            page("8.0")
        );
        assert!(page("30.0").contains("more than 99.99\u{a0}%"));
    }

    #[test]
    fn a_delta_of_the_size_of_one_unit_is_an_alarm() {
        let of = |units: u64| {
            let config = "[privacy]\nepsilon = 1.0\ndelta = 1e-3".parse().unwrap();
            delta(&RunFolder::empty(config, serde_json::json!({ "units": units })))
        };
        assert!(of(10).contains("good") && of(1000).contains("alarm"));
    }
}
