//! What is written once is the same everywhere.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::*;
use crate::testing;

fn given() -> Given {
    let texts = [("model", "m"), ("train", "t.csv"), ("out", "run")];
    let given = texts.iter().fold(Given::default(), |given, (key, text)| given.with(key, *text));
    given.with("epsilon", 2.0).with("delta", 1e-5).with("steps", 50).with("batch_size", 20.0)
}

/// Every field of the resolved settings is described, and everything described is a field.
#[test]
fn the_table_has_every_field_once() {
    let mut settings = testing::settings();
    settings.privacy.noise_bands = Some(1);
    settings.privacy.unsafe_noise_seed = Some(1);
    settings.privacy.unsafe_non_private = true;
    let data = &mut settings.data;
    let text = || Some("x".to_owned());
    (data.prompt_column, data.completion_column, data.messages_column, data.unit_column) =
        (text(), text(), text(), text());
    (data.eval, data.max_records_per_unit, data.hold_out_members) = (Some("e".into()), Some(1), Some(0.5));
    settings.model.target_modules = Some(Vec::new());
    (settings.model.micro_batch_tokens, settings.model.memory_limit) = (Some(1), Some(MemorySize(1)));
    (settings.control.policy, settings.control.rate_adaptation) = (Some("p".into()), Some(true));
    settings.data.public = vec!["p".into()];
    (settings.data.text_column, settings.data.delimiter) = (text(), Some(';'));
    (settings.data.units, settings.data.allow_shared_eval) = (Some(9), true);
    (settings.data.prompt_end, settings.data.unit_ids) = (" ".into(), rldp_data::UnitIds::Folded);
    settings.control.allow_private_policy = true;
    (settings.model.adapter, settings.output.book) = (Some("a".into()), Some("b".into()));
    settings.model.after = Some("c".into());
    let mut fields = BTreeSet::new();
    for (section, value) in Table::try_from(&settings).unwrap() {
        match value {
            Value::Table(inner) => fields.extend(inner.keys().map(|key| format!("{section}.{key}"))),
            _ => _ = fields.insert(format!(".{section}")),
        }
    }
    let own = |setting: &&Setting| !setting.section.contains('.') && setting.key != "epochs";
    let described: BTreeSet<String> =
        all().iter().filter(own).map(|setting| format!("{}.{}", setting.section, setting.key)).collect();
    fields.remove("control.sac");
    assert_eq!(fields, described);
    let flags: BTreeSet<&str> = all().iter().filter_map(|setting| setting.flag.as_deref()).collect();
    assert_eq!(flags.len(), all().len(), "two settings have the same flag");
    assert!(all().iter().all(|setting| !setting.sentence.is_empty() && !setting.sentence.ends_with('.')));
}

/// The defaults of today, by name: who changes one changes this line.
#[test]
fn defaults_are_those_of_the_fields() {
    let settings = given().resolve(&Known::default()).unwrap();
    assert_eq!((settings.model.rank, settings.model.lora_alpha, settings.optimizer.beta1), (8, 16.0, 0.3));
    assert_eq!((settings.privacy.clip_norm, settings.privacy.statistics_share), (0.1, 0.02));
    assert_eq!((settings.data.max_length, settings.control.interval, settings.output.eval_every), (128, 10, 25));
    assert_eq!(settings.optimizer.learning_rate, None);
    assert_eq!(settings.control.sac, rldp_control::SacSettings::default());
}

#[test]
fn old_runs_have_what_was_the_default() {
    let settings = given().resolve(&Known::default()).unwrap();
    let mut table = Table::try_from(&settings).unwrap();
    for (section, key) in [("privacy", "scaling"), ("optimizer", "noise_floor"), ("control", "rate_search")] {
        table[section].as_table_mut().unwrap().remove(key).unwrap();
    }
    assert_eq!(TrainSettings::from_toml(&table.to_string()).unwrap(), settings);
    assert!(TrainSettings::from_toml("[privacy]\nspeed = 3").is_err());
}

#[test]
fn unknown_keys_and_wrong_values_are_loud() {
    let refused = |given: Given| given.resolve(&Known::default()).unwrap_err().to_string();
    assert!(refused(given().with("epsilom", 3.0)).contains("`epsilom`"));
    assert!(refused(given().with("clipping", "round")).contains("unknown variant `round`"));
    assert_eq!(refused(given().with("rank", 5000)), "rank is 5000, but must be between 1 and 1024");
    assert_eq!(refused(given().with("warmup", 2.0)), "warmup is 2.0, but must be between 0.0 and 1.0");
    assert!(
        refused(given().with("max_records_per_unit", 0))
            .starts_with("max-records-per-unit is 0, but must be at least 1")
    );
    assert!(refused(given().with("epochs", 2.0)).contains("exclude each other"));
    let mut table = Table::new();
    table.insert("epsilom".into(), 3.0.into());
    assert!(Given::from_table(table, "file").unwrap_err().to_string().contains("file: unknown setting `epsilom`"));
}

#[test]
fn a_plan_that_was_not_given_needs_the_number_of_units() {
    let mut table = Table::try_from(given().resolve(&Known::default()).unwrap()).unwrap();
    table["privacy"].as_table_mut().unwrap().remove("steps");
    table["privacy"].as_table_mut().unwrap().remove("batch_size");
    let open = Given::from_table(table, "file").unwrap();
    assert!(open.needs_units() && !given().needs_units());
    assert!(open.clone().resolve(&Known::default()).unwrap_err().to_string().contains("known number of units"));
    let known = Known { units: Some(5000.0), ..Known::default() };
    let chosen = open.resolve(&known).unwrap();
    assert_eq!(chosen.privacy.steps, 60);
    assert!(chosen.privacy.batch_size > 32.0);
    let passes = given().with("train", "t.csv");
    assert_eq!(passes.data().unwrap().train.to_string(), "t.csv");
}
