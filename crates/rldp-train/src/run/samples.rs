//! Two texts before and after: what the base and the adapter make of public prompts.
//!
//! An adapter is a function of what was released, so what it writes to a public prompt is post-processing and costs nothing.

use rldp_model::{
    Adapter,
    generate::{GenerateOptions, Sampling},
};
use serde::Serialize;

use crate::{
    error::TrainError,
    evaluate::{Opening, PublicRecords},
    trainer::Trainer,
};

/// Most tokens of a text.
const MOST_TOKENS: usize = 32;

/// A line of the metrics: a public prompt, and how it was continued.
#[derive(Clone, Debug, Serialize)]
struct SampleRecord {
    /// `sample`.
    kind: &'static str,
    /// Says that the prompt is assumed public.
    label: &'static str,
    prompt: String,
    /// What followed before the first private step; none where the engine could not say, as after a divergence.
    before: Option<String>,
    after: Option<String>,
}

impl Trainer {
    /// Writes what follows public prompts, unless an earlier process of the run did; whether anything was written.
    pub(super) fn write_samples(&mut self, warnings: &mut Vec<String>) -> Result<bool, TrainError> {
        let Self { engine, learner, run, .. } = self;
        let openings = run.eval.as_ref().map(PublicRecords::openings).unwrap_or_default();
        if openings.is_empty() || run.recorder.holds("sample")? {
            return Ok(false);
        }
        let first = Adapter::from_parameters(learner.layout().clone(), learner.first_parameters.clone());
        let last = learner.average.of(&learner.adapter).into_owned();
        let mut continued = |adapter: &Adapter, opening: &Opening| -> Result<Option<String>, TrainError> {
            let options = GenerateOptions {
                max_new_tokens: MOST_TOKENS,
                sampling: Sampling::GREEDY,
                seed: 0,
                stop_tokens: engine.config().eos_token_ids.clone(),
            };
            match engine.generate(Some(adapter), opening.tokens(), &options) {
                Ok(tokens) => Ok(Some(opening.continued_by(&tokens)?)),
                // A run that diverged ends as others do.
                Err(error) => {
                    warnings.push(format!("a public prompt could not be continued: {error}"));
                    Ok(None)
                }
            }
        };
        for opening in &openings {
            let record = SampleRecord {
                kind: "sample",
                label: "public eval file",
                prompt: opening.text()?,
                before: continued(&first, opening)?,
                after: continued(&last, opening)?,
            };
            run.recorder.metric(&record)?;
        }
        Ok(true)
    }
}
