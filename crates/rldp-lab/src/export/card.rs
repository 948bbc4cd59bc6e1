//! The model card that goes with an adapter: `README.md` as the Hugging Face hub reads it.

use crate::run::RunFolder;

/// Name of the card, beside the adapter's files.
pub const CARD: &str = "README.md";

/// The card of a run: what was trained, what is promised, what is not, and how to check it. A function of the run folder alone;
/// `statement` is the claim in words as the ledger has it, `head` the hash of its last line.
pub fn model_card(run: &RunFolder, statement: &str, head: &str) -> String {
    let model = run.manifest.get("model").and_then(|model| model.get("path")).and_then(serde_json::Value::as_str);
    let model = model.unwrap_or("the base model");
    let (epsilon, delta) = (run.setting("privacy", "epsilon"), run.setting("privacy", "delta"));
    let setting = |section: &str, key: &str| run.setting(section, key);
    let quoted = serde_json::Value::from(model).to_string();
    let unit = run.fact("unit");
    let unit = if unit == "record" { "one record".to_owned() } else { format!("all records with the same `{unit}`") };
    let perplexity = match (run.evals.first(), run.evals.last()) {
        (Some(_), _) if setting("data", "allow_shared_eval") == "true" => {
            "The evaluation file may share records with the training file, so its figures are no part of this card."
                .to_owned()
        }
        (Some(first), Some(last)) => format!(
            "Perplexity on the evaluation file, which was declared public: {:.3} at step {}, {:.3} at step {}.",
            first.perplexity, first.step, last.perplexity, last.step
        ),
        _ => "No public evaluation file was used.".to_owned(),
    };
    format!(
        "---\n\
         library_name: peft\n\
         base_model: {quoted}\n\
         tags:\n- lora\n- differential-privacy\n- rldp\n\
         ---\n\n\
         # {title}: a LoRA adapter with differential privacy\n\n\
         An adapter of rank {rank} for {model}, trained by rldp {version} from {started} on private records.\n\n\
         ## What is promised\n\n\
         {statement}\n\n\
         | | |\n| --- | --- |\n| ε, δ | {epsilon}, {delta} |\n| one unit | {unit} |\n| units | {units} |\n| steps, expected batch | {steps}, {batch} |\n\n\
         ## What is not\n\n\
         - What the base model had learned before, and what follows from the data about everybody.\n\
         - Text that stands in several units; people who are in several units.\n\
         - Settings that were chosen by trying them on these records, and other runs on the same people: they add up.\n\
         - Whoever could read the machine, its disk or its clock while it trained.\n\n\
         ## How to check it\n\n\
         The run folder that this adapter came from (`ledger.jsonl`, `config.toml`, `manifest.json`, `metrics.jsonl`, `adapter/`, `policy/`, {public}\
         `report.html`) proves it:\n\n\
         ```sh\nrldp privacy verify RUN --public-key SIGNER.pub\n```\n\n\
         The last hash of its ledger is `{head}`. It binds this adapter, the base model's weights and tokenizer, and every step's charge.\n\n\
         ## How to use it\n\n\
         ```python\nfrom peft import PeftModel\nfrom transformers import AutoModelForCausalLM\n\n\
         model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained({quoted}), \"adapter\")\n```\n\n\
         {perplexity} Intended use, known limits and who answers for them belong here before this is published.\n",
        title = run.title(),
        rank = setting("model", "rank"),
        version = run.fact("rldp_version"),
        started = run.fact("started"),
        public = if run.warmed { "`public/`, " } else { "" },
        units = run.units(),
        steps = run.steps.last().map_or(0.0, |line| line.step),
        batch = setting("privacy", "batch_size"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_has_the_hubs_head_and_says_what_is_promised_and_what_is_not() {
        let config = "[privacy]\nepsilon = 2.0\ndelta = 1e-6\nsteps = 9\nbatch_size = 8.0\n[model]\nrank = 4\n[output]\nout = \"runs/ward\"";
        let manifest = serde_json::json!({"model": {"path": "owner/name"}, "unit": "patient", "units": 70});
        let card = model_card(&RunFolder::empty(config.parse().unwrap(), manifest), "Everything is private.", "abc");
        let head = card.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n")).unwrap().0;
        assert_eq!(
            head,
            "library_name: peft\nbase_model: \"owner/name\"\ntags:\n- lora\n- differential-privacy\n- rldp"
        );
        for says in
            ["# ward:", "Everything is private.", "all records with the same `patient`", "`abc`", "## What is not"]
        {
            assert!(card.contains(says), "{says} is missing in {card}");
        }
    }
}
