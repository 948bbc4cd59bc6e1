//! What a run hides for its audit: who was held out by a coin, and planted canaries.
//!
//! Coins fall once, before the first step, and stand in the run's `private/` folder, which is never released. A unit or a
//! canary that was left out stays a unit of N that contributes nothing, so nothing released shows how many coins fell how.

use std::path::Path;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;
use rldp_data::{
    DataError, PrivacyUnits, RawRecord, TextTokenizer, UnitPolicy,
    canaries::{Canary, canaries},
    canary_file::{PlantedCanary, read_canaries, write_canaries},
    membership::{coins, read_membership, write_membership},
    tokenize,
};
use rldp_model::ModelConfig;

use super::{
    recorder::{create_private_folder, files},
    storage::{Disk, Storage as _},
};
use crate::{
    error::TrainError,
    settings::{CanarySettings, TrainSettings},
};

/// Chance of a canary's coin.
const CANARY_CHANCE: f64 = 0.5;

/// Secrets that were drawn for a new run and are yet to be written. Of a run that is resumed, there are none.
#[derive(Default)]
pub struct Secrets {
    /// Units of the file, the first of all, when coins were drawn for them.
    members: Option<usize>,
    canaries: Option<Vec<Canary>>,
}

/// Holds units out and plants canaries, as the settings ask. A run that has begun keeps its coins.
///
/// # Errors
/// When the coins of a run that has begun are missing or damaged, or the operating system gives no randomness.
pub(crate) fn plant(
    settings: &TrainSettings,
    mut units: PrivacyUnits,
    tokenizer: &TextTokenizer,
    config: &ModelConfig,
) -> Result<(PrivacyUnits, Secrets), TrainError> {
    let begun = settings.output.out.join(files::LEDGER).exists();
    let folder = settings.output.out.join(files::PRIVATE);
    let mut rng = generator(settings)?;
    let mut secrets = Secrets::default();
    if let Some(fraction) = settings.data.hold_out_members {
        let count = units.len();
        let drawn = if begun {
            let path = folder.join(files::MEMBERSHIP);
            present(&path, "data.hold_out_members")?;
            read_coins(&path, count)?
        } else {
            secrets.members = Some(count);
            (0..count).map(|_| !rng.random_bool(fraction)).collect()
        };
        units = units.kept_by(&drawn, 1.0 - fraction);
    }
    if let Some(CanarySettings { count, kinds, repetitions }) = &settings.data.canaries {
        let path = folder.join(files::CANARIES);
        let planted = if begun {
            present(&path, "data.canaries")?;
            read_canaries(&path)?
        } else {
            secrets.canaries.insert(canaries(*count, kinds, repetitions, &mut rng)?).iter().map(planted).collect()
        };
        units = units.and(canary_units(&path, &planted, settings, tokenizer, config)?);
    }
    Ok((units, secrets))
}

/// Refuses coins that a run which has begun does not have.
fn present(path: &Path, setting: &str) -> Result<(), TrainError> {
    if path.exists() {
        return Ok(());
    }
    Err(TrainError::Refused(format!(
        "`{setting}` is set, but {} is not there: a run that began without coins is resumed without it; restore the file of one that had them",
        path.display()
    )))
}

/// Secret coins, but for research runs whose seed is known anyway.
fn generator(settings: &TrainSettings) -> Result<ChaCha12Rng, TrainError> {
    let Some(seed) = settings.privacy.unsafe_noise_seed else {
        return ChaCha12Rng::try_from_os_rng().map_err(|error| DataError::Randomness(error.to_string()).into());
    };
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    rng.set_stream(3);
    Ok(rng)
}

fn read_coins(path: &Path, count: usize) -> Result<Vec<bool>, TrainError> {
    coins(&read_membership(path)?).filter(|coins| coins.len() == count).ok_or_else(|| TrainError::Corrupt {
        path: path.display().to_string(),
        reason: format!(
            "it does not hold one coin for each of the {count} units; restore the file, or start a new run"
        ),
    })
}

fn planted(canary: &Canary) -> PlantedCanary {
    let secret = Some((canary.kind, canary.prefix.clone()));
    PlantedCanary { text: canary.text.clone(), included: canary.included, units: canary.units, secret }
}

/// Every repetition is a unit of its own, with the coin of its canary.
fn canary_units(
    path: &Path,
    planted: &[PlantedCanary],
    settings: &TrainSettings,
    tokenizer: &TextTokenizer,
    config: &ModelConfig,
) -> Result<PrivacyUnits, TrainError> {
    let repeated = planted.iter().enumerate().flat_map(|(row, canary)| (0..canary.units).map(move |_| (row, canary)));
    let (mut records, mut coins) = (Vec::new(), Vec::new());
    for (row, canary) in repeated {
        records.push(RawRecord::text(row, canary.text.clone()));
        coins.push(canary.included);
    }
    let tokens = tokenize(path, &records, tokenizer, &settings.data.layout(config))?;
    let policy = UnitPolicy { max_length: settings.data.max_length, max_records: None, unsafe_seed: None };
    Ok(PrivacyUnits::by_record(&tokens, &policy)?.kept_by(&coins, CANARY_CHANCE))
}

impl Secrets {
    /// Whether coins were drawn that are yet to be written.
    pub(crate) fn are_fresh(&self) -> bool {
        self.members.is_some() || self.canaries.is_some()
    }

    /// Writes what was drawn into the run's private folder.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn write(&self, run: &Path, units: &PrivacyUnits) -> Result<(), TrainError> {
        if !self.are_fresh() {
            return Ok(());
        }
        let folder = run.join(files::PRIVATE);
        create_private_folder(&folder)?;
        if let Some(count) = self.members {
            replaced(&folder, files::MEMBERSHIP, |path| write_membership(path, units, count))?;
        }
        if let Some(canaries) = &self.canaries {
            replaced(&folder, files::CANARIES, |path| write_canaries(path, canaries))?;
        }
        Ok(())
    }
}

/// Writes a file anew and makes it durable before the first charge: a run that was killed before its ledger began leaves coins that fell for
/// nothing, and one that is charged must find its own again.
fn replaced(folder: &Path, name: &str, write: impl FnOnce(&Path) -> Result<(), DataError>) -> Result<(), TrainError> {
    let partial = folder.join(format!("partial-{name}"));
    if partial.exists() {
        fs_err::remove_file(&partial)?;
    }
    write(&partial)?;
    fs_err::File::open(&partial)?.sync_all()?;
    fs_err::rename(&partial, folder.join(name))?;
    Ok(Disk.sync_folder(folder)?)
}

/// What a run hides, in words that may be released; empty when it hides nothing.
pub(crate) fn words(settings: &TrainSettings) -> String {
    let mut words = Vec::new();
    if let Some(fraction) = settings.data.hold_out_members {
        words.push(format!("Every unit was held out with probability {fraction}, by a secret coin."));
    }
    if let Some(CanarySettings { count, kinds, repetitions }) = &settings.data.canaries {
        let list = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(", ");
        words.push(format!(
            "{count} canaries ({}) were planted, each with probability one half, repeated {} times.",
            list(&mut kinds.iter().map(ToString::to_string)),
            list(&mut repetitions.iter().map(ToString::to_string)),
        ));
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rldp_data::canaries::Kind;

    use super::*;
    use crate::{
        Silent, resume,
        testing::{demo_inputs, demo_settings, demo_trainer},
    };

    fn hiding(folder: &Path) -> TrainSettings {
        let mut settings = demo_settings(folder, 30);
        settings.data.hold_out_members = Some(0.5);
        settings.data.canaries = Some(CanarySettings { count: 6, kinds: vec![Kind::Digits], repetitions: vec![1, 4] });
        settings.privacy.batch_size = 5.0;
        settings.privacy.steps = 2;
        settings
    }

    #[test]
    fn coins_are_kept_on_resume_and_only_members_are_trained_on() {
        let folder = tempfile::tempdir().unwrap();
        let settings = hiding(folder.path());
        let mut trainer = demo_trainer(&settings);
        let included = |units: &PrivacyUnits| (0..units.len()).map(|unit| units.includes(unit)).collect::<Vec<_>>();
        let first = included(&trainer.mechanism.units);
        // 3 canaries of one unit and 3 of four; half of everything is expected.
        let patients = first.len() - 15;
        assert!((trainer.mechanism.units.expected() - 0.5 * first.len() as f64).abs() < 1e-9);
        assert!(
            (trainer.mechanism.spender.claim().sampling_rate - 5.0 / trainer.mechanism.units.expected()).abs() < 1e-12
        );
        assert!(trainer.mechanism.sampled().indices().iter().all(|unit| first[*unit]));
        trainer.private_step().unwrap().unwrap();
        trainer.checkpoint().unwrap();
        drop(trainer);
        let mut again = resume(settings.clone(), demo_inputs(&settings)).unwrap();
        assert_eq!(included(&again.mechanism.units), first);
        again.run(&mut Silent).unwrap();
        let private = settings.output.out.join(files::PRIVATE);
        assert_eq!(read_coins(&private.join(files::MEMBERSHIP), patients).unwrap(), first[..patients]);
        assert!(read_coins(&private.join(files::MEMBERSHIP), patients + 1).is_err());
        assert_eq!(read_canaries(&private.join(files::CANARIES)).unwrap().len(), 6);
        let manifest = fs_err::read_to_string(settings.output.out.join(files::MANIFEST)).unwrap();
        assert!(manifest.contains("held out with probability 0.5") && manifest.contains("6 canaries"), "{manifest}");
    }

    /// Otherwise the coins of a restored run would no longer be those that it was trained with.
    #[test]
    fn coins_of_a_run_without_its_ledger_are_not_drawn_again() {
        let folder = tempfile::tempdir().unwrap();
        let settings = hiding(folder.path());
        let mut trainer = demo_trainer(&settings);
        trainer.private_step().unwrap().unwrap();
        trainer.checkpoint().unwrap();
        drop(trainer);
        let run = &settings.output.out;
        let coins = || fs_err::read(run.join(files::PRIVATE).join(files::MEMBERSHIP)).unwrap();
        let (before, ledger) = (coins(), fs_err::read(run.join(files::LEDGER)).unwrap());
        fs_err::remove_file(run.join(files::LEDGER)).unwrap();
        let error = resume(settings.clone(), demo_inputs(&settings)).err().unwrap().to_string();
        assert!(error.contains("restore its own ledger"), "{error}");
        assert_eq!(coins(), before);
        // Coins that were drawn before another process began the run.
        let late = demo_inputs(&settings);
        fs_err::write(run.join(files::LEDGER), ledger).unwrap();
        let error = resume(settings.clone(), late).err().unwrap().to_string();
        assert!(error.contains("another process"), "{error}");
        assert_eq!(coins(), before);
        resume(settings.clone(), demo_inputs(&settings)).unwrap();
    }

    /// Fresh coins of two runs of 45 units agree by chance with probability 2^-45.
    #[test]
    fn coins_are_fresh_unless_they_are_seeded() {
        let coins = |seed: Option<u64>| {
            let folder = tempfile::tempdir().unwrap();
            let mut settings = hiding(folder.path());
            settings.privacy.unsafe_noise_seed = seed;
            let units = demo_inputs(&settings).units;
            (0..units.len()).map(|unit| units.includes(unit)).collect::<Vec<_>>()
        };
        assert_ne!(coins(None), coins(None));
        assert_eq!(coins(Some(4)), coins(Some(4)));
        assert_ne!(coins(Some(4)), coins(Some(5)));
    }
}
