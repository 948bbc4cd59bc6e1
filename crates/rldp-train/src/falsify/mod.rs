//! Attempts to break the loop's promise: detectors that the honest step passes, and planted bugs that each of them catches.
//!
//! A bug that nobody catches is a hole in the tests; every one below names the detector that exposes it.

#![allow(clippy::unwrap_used)]

mod audits;
mod coins;
mod detectors;
mod mutants;
mod neighbours;
mod white_box;

use rldp_privacy::{NoiseSource, NoisyRelease};

use self::detectors::{
    batch_sizes_vary, empty_batches_release_noise, noise_has_the_charged_energy, observation_is_post_processing,
    one_unit_moves_a_window_too_far, one_unit_moves_the_release_too_far, resumed_noise_repeats,
    unplanned_noise_is_granted,
};
use crate::{TrainError, Trainer};

/// How a step is made.
type Step = fn(&mut Trainer) -> Result<Option<NoisyRelease>, TrainError>;

const HONEST: Step = Trainer::private_step;

#[test]
fn the_honest_step_passes_every_detector() {
    let largest = one_unit_moves_the_release_too_far(HONEST).unwrap_or_else(|fault| panic!("{fault}"));
    assert!(largest > 0.7, "no unit came near its bound ({largest}): the detector sees nothing");
    let largest = one_unit_moves_a_window_too_far(HONEST).unwrap_or_else(|fault| panic!("{fault}"));
    assert!(largest > 0.7, "no unit came near its bound ({largest}): the detector sees nothing");
    empty_batches_release_noise(HONEST).unwrap_or_else(|fault| panic!("{fault}"));
    noise_has_the_charged_energy(HONEST).unwrap_or_else(|fault| panic!("{fault}"));
    batch_sizes_vary(HONEST).unwrap_or_else(|fault| panic!("{fault}"));
    unplanned_noise_is_granted(HONEST).unwrap_or_else(|fault| panic!("{fault}"));
    resumed_noise_repeats(|| NoiseSource::os().unwrap()).unwrap_or_else(|fault| panic!("{fault}"));
    observation_is_post_processing(mutants::honest_observation).unwrap_or_else(|fault| panic!("{fault}"));
}

#[test]
fn bug_one_sigma_is_charged_for_all_pairs() {
    one_unit_moves_the_release_too_far(mutants::single_sigma_charge).unwrap_err();
}

#[test]
fn bug_division_by_the_realised_batch() {
    one_unit_moves_the_release_too_far(mutants::realised_batch_size).unwrap_err();
}

#[test]
fn bug_turns_are_ignored_under_correlated_noise() {
    one_unit_moves_a_window_too_far(mutants::ignores_turns).unwrap_err();
}

#[test]
fn bug_clip_after_averaging() {
    one_unit_moves_the_release_too_far(mutants::clip_after_averaging).unwrap_err();
}

#[test]
fn bug_blocks_are_units() {
    one_unit_moves_the_release_too_far(mutants::blocks_as_units).unwrap_err();
}

#[test]
fn bug_shuffled_batches_are_accounted_as_poisson() {
    batch_sizes_vary(mutants::shuffled_batches).unwrap_err();
}

#[test]
fn bug_noise_for_every_micro_batch() {
    noise_has_the_charged_energy(mutants::noise_per_micro_batch).unwrap_err();
}

#[test]
fn bug_an_empty_batch_is_skipped() {
    empty_batches_release_noise(mutants::skips_empty_batches).unwrap_err();
}

#[test]
fn bug_noise_is_drawn_again_on_resume() {
    resumed_noise_repeats(|| NoiseSource::unsafe_seeded(7)).unwrap_err();
}

#[test]
fn bug_realised_noise_is_composed_by_pld() {
    unplanned_noise_is_granted(mutants::charges_whatever_it_drew).unwrap_err();
}

#[test]
fn bug_the_controller_sees_the_raw_loss() {
    observation_is_post_processing(mutants::raw_loss_in_the_observation).unwrap_err();
}

/// What an audit of a step found: the share of the claim that it proved, or an accusation.
type Verdict = Result<f64, String>;

/// An honest step that is accused may have met the one case in ten thousand; accused twice running, it met one in 10^8.
fn passes(audit: impl Fn() -> Verdict) -> f64 {
    audit().or_else(|_| audit()).unwrap_or_else(|fault| panic!("{fault}"))
}

/// An audit with coins and noise of its own misses a planted bug now and then: the weakest, of shuffling, once in five hundred by the
/// mean and deviation of 25 runs; none of the others in 40. It does not miss it four times running.
fn exposes(bug: &str, audit: impl Fn() -> Verdict) {
    assert!((0..4).any(|_| audit().is_err()), "{bug}: not exposed in four audits");
}

/// The honest loop passes every audit, and the first proves a good part of what the step claims, so it does see something: 0.42
/// on average over twelve runs, with a deviation of 0.035.
#[test]
fn the_honest_step_passes_every_audit() {
    let proved = passes(|| audits::one_step(HONEST, 1.0));
    assert!(proved > 0.2, "only {proved} of the claim was proved: the audit sees nothing");
    passes(|| audits::sampled_step(HONEST));
    passes(|| audits::resumed_steps(|| NoiseSource::os().unwrap()));
    for others in [0, 1] {
        passes(|| audits::trials(others, |trainer| audits::energy(HONEST, trainer)));
    }
    passes(|| audits::trials(11, |trainer| seen(trainer, mutants::honest_observation)));
}

/// What the controller sees after an honest step.
fn seen(trainer: &mut Trainer, observe: fn(&mut Trainer, &NoisyRelease) -> Vec<f64>) -> Vec<f64> {
    let release = trainer.private_step().unwrap().unwrap();
    observe(trainer, &release)
}

#[test]
fn audit_of_gradient_canaries_exposes_too_little_noise_and_unclipped_units() {
    for (bug, step) in [
        ("one sigma for all pairs", mutants::single_sigma_charge as Step),
        ("clip after averaging", mutants::clip_after_averaging),
        ("blocks as units", mutants::blocks_as_units),
    ] {
        exposes(bug, || audits::one_step(step, 1.0));
    }
    exposes("noise that was not planned", || audits::one_step(mutants::charges_whatever_it_drew, 4.0));
}

#[test]
fn audit_of_gradient_canaries_exposes_shuffling_accounted_as_poisson() {
    exposes("shuffled batches", || audits::sampled_step(mutants::shuffled_batches));
}

#[test]
fn audit_of_two_processes_exposes_noise_that_is_drawn_again() {
    exposes("noise drawn again", || audits::resumed_steps(|| NoiseSource::unsafe_seeded(7)));
}

#[test]
fn audit_of_trials_exposes_the_size_of_the_batch() {
    exposes("realised batch", || audits::trials(1, |trainer| audits::energy(mutants::realised_batch_size, trainer)));
    exposes("no empty batches", || audits::trials(0, |trainer| audits::energy(mutants::skips_empty_batches, trainer)));
}

#[test]
fn audit_of_the_controllers_channel_exposes_the_raw_loss() {
    exposes("raw loss", || audits::trials(11, |trainer| seen(trainer, mutants::raw_loss_in_the_observation)));
}

#[test]
fn coins_turns_and_noise_of_the_honest_loop_say_nothing_of_other_steps() {
    coins::coins_repeat_between_runs(coins::honest).unwrap_or_else(|fault| panic!("{fault}"));
    coins::coins_depend_on_earlier_ones(coins::honest).unwrap_or_else(|fault| panic!("{fault}"));
    coins::turns_drift(|trainer, _| coins::honest(trainer)).unwrap_or_else(|fault| panic!("{fault}"));
    coins::noise_depends_on_earlier_noise(|_, _| ()).unwrap_or_else(|fault| panic!("{fault}"));
}

#[test]
fn bug_coins_are_keyed_by_the_public_seed() {
    coins::coins_repeat_between_runs(coins::keyed_by_the_public_seed).unwrap_err();
}

#[test]
fn bug_coins_are_used_for_two_steps() {
    coins::coins_depend_on_earlier_ones(coins::used_twice()).unwrap_err();
}

#[test]
fn bug_turns_are_counted_by_process_or_by_update() {
    coins::turns_drift(|trainer, clock| coins::class_of(trainer, clock.in_process)).unwrap_err();
    coins::turns_drift(|trainer, clock| coins::class_of(trainer, clock.updates)).unwrap_err();
}

#[test]
fn bug_noise_repeats_beyond_the_bands() {
    coins::noise_depends_on_earlier_noise(coins::noise_of_five_keys).unwrap_err();
}

#[test]
fn metrics_of_neighbours_under_the_same_releases_are_the_same_bytes() {
    neighbours::metrics_tell_more_than_was_released(neighbours::honest).unwrap_or_else(|fault| panic!("{fault}"));
    neighbours::metrics_have_unknown_keys(neighbours::honest).unwrap_or_else(|fault| panic!("{fault}"));
}

#[test]
fn bug_the_size_of_a_batch_stands_in_the_metrics() {
    neighbours::metrics_tell_more_than_was_released(neighbours::writes_the_size_of_batches).unwrap_err();
    neighbours::metrics_have_unknown_keys(neighbours::writes_the_size_of_batches).unwrap_err();
}

/// Whole runs of sixty steps give 0.826 of their claim on average, with a deviation of 0.024 over twelve, as a simulation of the same attack
/// does (0.80 to 0.87). Less than 0.75 is seen about once in a thousand, twice running once in a million.
#[test]
fn white_box_attacks_come_close_to_the_claim_and_never_above_it() {
    let proved = passes(|| white_box::one_step(HONEST));
    assert!(proved > 0.9, "only {proved} of one step's claim was proved");
    let whole_runs = || passes(|| white_box::whole_runs(HONEST));
    let proved = Some(whole_runs()).filter(|proved| *proved > 0.75).unwrap_or_else(whole_runs);
    assert!(proved > 0.75, "only {proved} of a run's claim was proved");
}

#[test]
fn audit_of_one_step_exposes_thirteen_percent_too_much_sensitivity() {
    exposes("13 % too much", || white_box::one_step(mutants::a_little_too_much));
}
