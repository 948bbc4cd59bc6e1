//! `config.toml` of a run.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rldp_train::settings::TrainSettings;

fuzz_target!(|text: &str| {
    if let Ok(settings) = toml::from_str::<TrainSettings>(text)
        && settings.validate().is_ok()
    {
        let again = toml::to_string_pretty(&settings).expect("valid settings are TOML");
        assert!(toml::from_str::<TrainSettings>(&again).is_ok_and(|read| read == settings));
    }
});
