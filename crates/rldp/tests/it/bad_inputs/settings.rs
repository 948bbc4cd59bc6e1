//! Flags and settings files.

use super::{Case, train, train_with};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("epsilon of zero", train("--epsilon 8", "--epsilon 0")),
        Case::new("negative epsilon", train("--epsilon 8", "--epsilon=-1")),
        Case::new("epsilon that is no number", train("--epsilon 8", "--epsilon nan")),
        Case::new("infinite epsilon", train("--epsilon 8", "--epsilon inf")),
        Case::new("epsilon in words", train("--epsilon 8", "--epsilon four")),
        Case::new("delta of zero", train("--delta 1e-4", "--delta 0")),
        Case::new("delta of one", train("--delta 1e-4", "--delta 1")),
        Case::new("no delta", train("--delta 1e-4", "")),
        Case::new("no steps", train("--steps 6", "--steps 0")),
        Case::new("steps beyond any run", train("--steps 6", "--steps 9000000000000000000")),
        Case::new("steps beyond 63 bits", train("--steps 6", "--steps 18446744073709551615")),
        Case::new("negative steps", train("--steps 6", "--steps=-3")),
        Case::new("batch of zero", train("--batch-size 12", "--batch-size 0")),
        Case::new("batch larger than the data", train("--batch-size 12", "--batch-size 61")),
        Case::new("blocks too short", train("--max-length 48", "--max-length 1")),
        Case::new("blocks longer than the model", train("--max-length 48", "--max-length 4000000000")),
        Case::new("interval of zero", train("--interval 2", "--interval 0")),
        Case::new("a promise on the reference engine", train_with("--engine reference")),
        Case::new("a device that is none", train_with("--device gpu")),
        Case::new("a card without a number", train_with("--device cuda:x")),
        Case::new("a card in a build that knows none", train_with("--device cuda")),
        Case::new("another card in such a build", train_with("--device cuda:3")),
        Case::new("a card for the reference engine", train_with("--engine reference --device cuda")),
        Case::new("evaluation on a card in such a build", "evaluate --model model --data eval.csv --device cuda"),
        Case::new("text from a card in such a build", "generate --model model --prompt Patient --device cuda:1"),
        Case::new("ranks of a comparison that runs here", "compare grid.toml --out cmp --ranks 2"),
        Case::new("no ranks", "compare grid.toml --out cmp --export slurm --ranks 0"),
        Case::new("checkpoints never", train("--checkpoint-every 2", "--checkpoint-every 0")),
        Case::new("a probe without public records", train("--eval eval.csv", "--public-probe")),
        Case::new("ids without a unit column", train("--unit-column patient", "--unit-ids folded")),
        Case::new("required flags missing", "train --model model"),
        Case::new("no command", ""),
        Case::new("unknown command", "trian"),
        Case::new("generate with a negative temperature", "generate --model model --prompt a --temperature=-1"),
        Case::new(
            "generate with a temperature that is no number",
            "generate --model model --prompt a --temperature nan",
        ),
        Case::new("generate from an empty prompt", "generate --model model --prompt ''"),
        Case::new("sampling rate above one", epsilon("--sampling-rate 2 --noise-multiplier 1 --steps 10 --delta 1e-5")),
        Case::new("no noise", epsilon("--sampling-rate 0.1 --noise-multiplier 0 --steps 10 --delta 1e-5")),
        Case::new("epsilon at delta zero", epsilon("--sampling-rate 0.1 --noise-multiplier 1 --steps 10 --delta 0")),
        Case::new(
            "unknown accountant",
            epsilon("--sampling-rate 0.1 --noise-multiplier 1 --steps 1 --delta 0.1 --accountant prv"),
        ),
        Case::new("segments that are not there", epsilon("--segments nowhere.json --delta 1e-5")),
        Case::new("segments of another form", epsilon("--segments form.json --delta 1e-5"))
            .file("form.json", "{\"q\": 1}"),
        Case::new("no segments", epsilon("--segments none.json --delta 1e-5")).file("none.json", "[]"),
        Case::new(
            "calibrating to nothing",
            "privacy calibrate --epsilon 0 --delta 1e-5 --sampling-rate 0.1 --steps 10",
        ),
        Case::new("settings file that is not there", train_with("--config nowhere.toml")),
        Case::new("settings file that is no TOML", train_with("--config broken.toml"))
            .file("broken.toml", "epsilon = = 3"),
        Case::new("settings file with an unknown key", train_with("--config key.toml"))
            .file("key.toml", "epsilom = 3.0"),
        Case::new("settings file with an unknown key in a section", train_with("--config inner.toml"))
            .file("inner.toml", "[optimizer]\nbeta3 = 0.5"),
        Case::new("settings file with text for a number", train_with("--config text.toml"))
            .file("text.toml", "clip_norm = \"much\""),
    ];
    cases.extend(flags());
    cases
}

/// The small run with one flag more.
fn flags() -> Vec<Case> {
    let flags = [
        ("unknown flag", "--epslion 3"),
        ("rank of zero", "--rank 0"),
        ("rank beyond the bound", "--rank 5000"),
        ("unknown controller", "--controller sacc"),
        ("unknown regime", "--regime never"),
        ("unknown clipping", "--clipping round"),
        ("unknown decay", "--decay fast"),
        ("unknown engine", "--engine steam"),
        ("modules of another family", "--target-modules q_proj"),
        ("an empty list of modules", "--target-modules ''"),
        ("clip norm of zero", "--clip-norm 0"),
        ("clip norm beyond arithmetic", "--clip-norm 1e300"),
        ("alpha of zero", "--lora-alpha 0"),
        ("infinite learning rate", "--learning-rate inf"),
        ("statistics that eat the budget", "--statistics-share 0.9"),
        ("warm-up beyond the run", "--warmup 2"),
        ("momentum of one", "--beta1 1"),
        ("seed beyond 63 bits", "--seed 18446744073709551615"),
        ("prompt without completion", "--prompt-column text"),
        ("text and prompt", "--text-column text --prompt-column a --completion-column b"),
        ("no records of a unit", "--max-records-per-unit 0"),
        ("micro-batch of zero", "--micro-batch-tokens 0"),
        ("SAC without transitions", "--sac-batch-size 0"),
        ("unknown rule of ids", "--unit-ids loose"),
        ("a quote for a delimiter", "--delimiter '\"'"),
        ("two characters for a delimiter", "--delimiter ab"),
        ("an unknown escape", "--prompt-end '\\x'"),
    ];
    flags.into_iter().map(|(name, more)| Case::new(name, train_with(more))).collect()
}

fn epsilon(words: &str) -> String {
    format!("privacy epsilon {words}")
}
