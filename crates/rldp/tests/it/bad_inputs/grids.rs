//! Grids of comparisons.

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    let base = "[base]\nmodel = \"model\"\ntrain = \"train.csv\"\neval = \"eval.csv\"\nepsilon = 8.0\ndelta = 1e-4\n";
    let method = "[[method]]\nname = \"fixed\"\ncontroller = \"fixed\"\n";
    let grids = [
        ("grid that is no TOML", "[[method".to_owned()),
        ("grid without methods", base.to_owned()),
        ("grid with an unknown key", format!("colour = 1\n{base}{method}")),
        ("grid with an unknown setting", format!("{base}{method}warmth = 1\n")),
        ("grid with an unknown axis", format!("{base}{method}[axes]\nsede = [1]\n")),
        ("grid with an axis that is no list", format!("{base}{method}[axes]\nseed = 1\n")),
        ("grid with an empty axis", format!("{base}{method}[axes]\nseed = []\n")),
        ("grid with a value of the wrong kind", format!("{base}{method}[axes]\nepsilon = [\"much\"]\n")),
        ("grid of more runs than anybody waits for", {
            let many = (1..=2000).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
            format!("{base}{method}[axes]\nseed = [{many}]\nsteps = [{many}]\n")
        }),
        ("grid with an unknown baseline", format!("baseline = \"none\"\n{base}{method}")),
        ("grid with a method twice", format!("{base}{method}{method}")),
        ("grid with a method of no name", format!("{base}[[method]]\nname = \"\"\n")),
        ("grid that names run folders", format!("{base}out = \"x\"\n{method}")),
        ("grid with a promise out of range", format!("{base}{method}epsilon = -1.0\n")),
    ];
    let mut cases: Vec<Case> = grids
        .into_iter()
        .enumerate()
        .map(|(index, (name, text))| {
            let file = format!("grid-{index}.toml");
            Case::new(name, format!("compare {file} --out board")).file(file, text)
        })
        .collect();
    cases.push(Case::new("grid that is not there", "compare nowhere.toml --out board"));
    cases
}
