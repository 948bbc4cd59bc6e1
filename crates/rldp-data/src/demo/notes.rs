//! Pseudo-clinical notes: an admission, follow-ups and a discharge for each patient.
//!
//! Notes of one patient share age, sex, history, complaint and drug, as real ones do; that is why the patient, not the
//! note, has to be the unit of privacy.

use rand::{Rng, SeedableRng as _, seq::IndexedRandom as _};
use rand_chacha::ChaCha12Rng;

use super::words::{COURSES, HISTORIES, PICTURES, PLANS, Picture};

/// One invented note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The patient's number.
    pub patient: String,
    /// The note.
    pub text: String,
}

/// What the notes of a patient have in common.
struct Patient {
    number: String,
    age: u32,
    sex: &'static str,
    history: &'static str,
    picture: &'static Picture,
    dose: u32,
}

/// Patients' numbers are this far apart, modulo a million with which it shares no divisor: they differ, and look drawn.
const NUMBER_STEP: usize = 618_033;

/// Notes of `patients` invented patients, one to six each, in the order of the patients.
pub fn notes(seed: u64, patients: usize) -> Vec<Note> {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    (0..patients).flat_map(|index| stay(index, &mut rng)).collect()
}

fn stay(index: usize, rng: &mut ChaCha12Rng) -> Vec<Note> {
    let patient = Patient {
        number: format!("P{:06}", (index * NUMBER_STEP + 104_729) % 1_000_000),
        age: rng.random_range(19..95),
        sex: if rng.random() { "male" } else { "female" },
        history: pick(HISTORIES, rng),
        picture: PICTURES.choose(rng).unwrap_or(&PICTURES[0]),
        dose: [5, 10, 20, 25, 40, 50, 100, 250, 500].choose(rng).copied().unwrap_or(5),
    };
    let days = rng.random_range(0..=4_u32);
    let mut texts = vec![patient.admission(rng)];
    texts.extend((1..=days).map(|day| patient.progress(day, rng)));
    if days > 0 && rng.random_bool(0.7) {
        texts.push(patient.discharge(days + 1, rng));
    }
    texts.into_iter().map(|text| Note { patient: patient.number.clone(), text }).collect()
}

impl Patient {
    fn admission(&self, rng: &mut ChaCha12Rng) -> String {
        let Picture { complaint, finding, diagnosis, drug, department } = self.picture;
        format!(
            "{department}. {} year-old {} admitted with {complaint} for {} days. Hx: {}. {}. On exam: {finding}. \
             Impression: {diagnosis}. Plan: start {drug} {} mg, {}.",
            self.age,
            self.sex,
            rng.random_range(1..9),
            self.history,
            vitals(rng),
            self.dose,
            pick(PLANS, rng),
        )
    }

    fn progress(&self, day: u32, rng: &mut ChaCha12Rng) -> String {
        let Picture { diagnosis, drug, .. } = self.picture;
        format!(
            "Day {day}. {} y {} with {diagnosis}, {}. {}. Continue {drug} {} mg, {}.",
            self.age,
            self.sex,
            pick(COURSES, rng),
            vitals(rng),
            self.dose,
            pick(PLANS, rng),
        )
    }

    fn discharge(&self, days: u32, rng: &mut ChaCha12Rng) -> String {
        let Picture { diagnosis, drug, department, .. } = self.picture;
        format!(
            "Discharge from {department} after {days} days. Dx: {diagnosis}. Hx: {}. Home on {drug} {} mg. Follow up in {} weeks, {}.",
            self.history,
            self.dose,
            rng.random_range(1..9),
            pick(PLANS, rng),
        )
    }
}

fn vitals(rng: &mut ChaCha12Rng) -> String {
    format!(
        "BP {}/{}, HR {}, T {}.{}, SpO2 {}%",
        rng.random_range(10..18) * 10 + rng.random_range(0..10),
        rng.random_range(55..100),
        rng.random_range(52..120),
        rng.random_range(36..39),
        rng.random_range(0..10),
        rng.random_range(89..100),
    )
}

fn pick(list: &[&'static str], rng: &mut impl Rng) -> &'static str {
    list.choose(rng).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn notes_repeat_by_seed_and_patients_have_several() {
        let once = notes(3, 50);
        assert_eq!(once, notes(3, 50));
        assert_ne!(once, notes(4, 50));
        let people: HashSet<&str> = once.iter().map(|note| note.patient.as_str()).collect();
        assert!(people.len() >= 49 && once.len() > 2 * people.len(), "{} notes of {}", once.len(), people.len());
    }
}
