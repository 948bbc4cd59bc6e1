//! One run in several processes: what rank 0 and the others do of `rldp train`, `rldp evaluate` and `rldp audit`.

use std::time::Duration;

use anyhow::{Result, anyhow};
use rldp_model::{AdapterLayout, Engine};
use rldp_ranks::{Follower, Group, SpreadEngine, Team, agree, engine_digest, join, serve, units_digest};
use rldp_train::{
    Inputs, Outcome, adapter_layout, load_records,
    settings::{GeometryKind, TrainSettings},
};
use sha2::{Digest as _, Sha256};

use super::train::{self, Job, Watch, engine_for, stop_flag};
use crate::{
    cli::{RankArguments, WaitArguments},
    exit,
    exit::Wrong,
    models,
    models::Opened,
    progress::note,
};

/// The processes of this command: one, unless a launcher started several.
pub(crate) fn group(arguments: &WaitArguments) -> Result<Box<dyn Group>> {
    let patience = Duration::try_from_secs_f64(arguments.rank_timeout).ok().filter(|patience| !patience.is_zero());
    let Some(patience) = patience else {
        anyhow::bail!(Wrong::usage(anyhow!(
            "--rank-timeout is {}, but must be a positive number of seconds; 600 is usual",
            arguments.rank_timeout
        )));
    };
    Ok(join(patience).map_err(Wrong::input)?)
}

/// Rank 0's job; on the others its settings with files as rank 0 sees them. Where it cannot be made, every rank ends; rank 0 says why.
pub(super) fn share(group: &mut dyn Group, make: impl FnOnce() -> Result<Job>) -> Result<Job> {
    if group.leads() {
        let job = make();
        let sent = job.as_ref().ok().and_then(|job| toml::to_string(&job.located).ok()).unwrap_or_default();
        let told = job.as_ref().ok().filter(|_| !sent.is_empty()).map(|job| job.finished);
        group.broadcast(sent.into_bytes()).map_err(Wrong::input)?;
        if let Some(finished) = told {
            group.broadcast(vec![u8::from(finished)]).map_err(Wrong::input)?;
        }
        return job;
    }
    let text = String::from_utf8(group.broadcast(Vec::new()).map_err(Wrong::input)?)?;
    if text.is_empty() {
        return Err(quiet());
    }
    let finished = group.broadcast(Vec::new()).map_err(Wrong::input)? == [1];
    let located = TrainSettings::from_toml(&text)?;
    Ok(Job { settings: located.clone(), located, resumed: false, finished })
}

/// An error that rank 0 has told, or tells.
fn quiet() -> anyhow::Error {
    Wrong::input(exit::Told).into()
}

/// A run by several ranks. Only rank 0 has an outcome, and writes.
pub(super) fn train(
    mut group: Box<dyn Group>,
    job: &Job,
    arguments: &RankArguments,
    watch: Watch,
) -> Result<Option<Outcome>> {
    let data = &job.located.data;
    let secret = data.canaries.is_some() || data.hold_out_members.is_some() || data.max_records_per_unit.is_some();
    let deals = arguments.deal_records || secret;
    if group.leads() {
        let inputs = job.inputs(&mut |warning| note("warning", warning));
        let inputs = prepared(group.as_mut(), &job.located, inputs, deals)?;
        return lead(group, job, inputs, deals, watch).map(Some);
    }
    let mut inputs = prepared_follower(group.as_mut(), follow_inputs(&job.located, deals), deals)?;
    let follower = Follower { engine: inputs.engine.as_mut(), units: inputs.units, stop: stop_flag()? };
    serve(group.as_mut(), follower).map_err(Wrong::input)?;
    Ok(None)
}

/// Rank 0 of a run. What fails after this began ends all ranks at once.
fn lead(group: Box<dyn Group>, job: &Job, mut inputs: Inputs, deals: bool, watch: Watch) -> Result<Outcome> {
    let settings = &job.settings;
    if !watch.quiet {
        note("ranks", &format!("{}, {}", group.size(), group.describe()));
    }
    let here = settings.privacy.unsafe_non_private
        || settings.privacy.geometry != GeometryKind::None
        || settings.control.unsafe_raw_observations;
    if here {
        note("warning", "--geometry and research without privacy sum on rank 0 alone; the other ranks only evaluate");
    }
    let team = Team::new(group, stop_flag()?, deals);
    inputs.engine = Box::new(SpreadEngine::new(inputs.engine, team.clone()));
    let outcome = job.begin(inputs).and_then(|mut trainer| {
        trainer.sum_by(Box::new(team.clone()));
        train::finish(trainer, settings, watch)
    });
    finish(&team, outcome)
}

/// Lets the other ranks go, or ends them where this one failed.
fn finish<T>(team: &Team, result: Result<T>) -> Result<T> {
    match result {
        Ok(done) => {
            team.end().map_err(Wrong::input)?;
            Ok(done)
        }
        Err(error) => {
            exit::report(&error);
            team.abort(i32::from(exit::code_of(&error)))
        }
    }
}

/// What a rank other than 0 works with.
struct Following {
    engine: Box<dyn Engine>,
    layout: AdapterLayout,
    units: Option<rldp_data::PrivacyUnits>,
}

fn follow_inputs(settings: &TrainSettings, deals: bool) -> Result<Following> {
    let (files, tokenizer) = models::open(&settings.model.model)?;
    let engine = engine_for(settings, &files)?;
    let layout = adapter_layout(settings, &files.config)?;
    let units = if deals {
        None
    } else {
        let mut settings = settings.clone();
        settings.data.eval = None;
        Some(load_records(&settings, &tokenizer, &files.config)?.units)
    };
    Ok(Following { engine, layout, units })
}

/// What ranks compare before the first step.
fn prepared(group: &mut dyn Group, settings: &TrainSettings, inputs: Result<Inputs>, deals: bool) -> Result<Inputs> {
    let inputs = inputs.and_then(|mut inputs| {
        let layout = adapter_layout(settings, inputs.engine.config())?;
        let values = values(inputs.engine.as_mut(), &layout, (!deals).then_some(&inputs.units))?;
        Ok((inputs, values))
    });
    ready(group, inputs)
}

fn prepared_follower(group: &mut dyn Group, inputs: Result<Following>, deals: bool) -> Result<Following> {
    let inputs = inputs.and_then(|mut inputs| {
        let units = inputs.units.as_ref().filter(|_| !deals);
        let values = values(inputs.engine.as_mut(), &inputs.layout, units)?;
        Ok((inputs, values))
    });
    ready(group, inputs)
}

/// Goes on when all ranks are ready to do the same. Otherwise each ends, and rank 0 says why.
fn ready<T>(group: &mut dyn Group, inputs: Result<(T, Vec<(&'static str, String)>)>) -> Result<T> {
    let state = |text: String| vec![("the state", text)];
    let (inputs, mut values) = match inputs {
        Ok((inputs, values)) => (Ok(inputs), values),
        Err(error) => {
            let values = state(format!("an error: {error:#}"));
            (Err(error), values)
        }
    };
    if inputs.is_ok() {
        values.splice(0..0, state("ready".to_owned()));
    }
    let verdict = agree(group, &values);
    match (inputs, verdict) {
        // Where rank 0 itself failed, its own error is the one to be told.
        (Err(error), _) if group.leads() => Err(error),
        (Ok(inputs), Ok(())) => Ok(inputs),
        (_, Err(error)) if group.leads() => Err(Wrong::input(error).into()),
        _ => Err(quiet()),
    }
}

fn values(
    engine: &mut dyn Engine,
    layout: &AdapterLayout,
    units: Option<&rldp_data::PrivacyUnits>,
) -> Result<Vec<(&'static str, String)>> {
    let mut values = base_values(engine)?;
    values.push(("the adapter's size", layout.parameter_count().to_string()));
    if let Some(units) = units {
        values.push(("the training file, or how it is read,", hex(&units_digest(units))));
    }
    Ok(values)
}

fn base_values(engine: &mut dyn Engine) -> Result<Vec<(&'static str, String)>> {
    Ok(vec![
        ("the program", format!("{} {}", env!("CARGO_PKG_VERSION"), hex(&Sha256::digest(program()?)))),
        ("the base model (its weights, precision or processor)", hex(&engine_digest(engine)?)),
    ])
}

fn program() -> Result<Vec<u8>> {
    Ok(fs_err::read(std::env::current_exe()?)?)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Evaluates by all ranks: rank 0's engine divides its losses and token statistics; on the others `None` comes back when there is nothing
/// more to do. `opened` has what else `evaluate` needs, which only rank 0 uses.
pub(crate) fn evaluating<X, T>(
    mut group: Box<dyn Group>,
    opened: Result<(Opened, X)>,
    evaluate: impl FnOnce(Opened, X) -> Result<T>,
) -> Result<Option<T>> {
    if group.size() == 1 {
        return opened.and_then(|(opened, with)| evaluate(opened, with)).map(Some);
    }
    let opened = opened.and_then(|(mut opened, with)| {
        // Adapters come from rank 0.
        let values = base_values(opened.engine.as_mut())?;
        Ok(((opened, with), values))
    });
    let (mut opened, with) = ready(group.as_mut(), opened)?;
    if group.leads() {
        let team = Team::new(group, stop_flag()?, true);
        opened.engine = Box::new(SpreadEngine::new(opened.engine, team.clone()));
        return finish(&team, evaluate(opened, with)).map(Some);
    }
    let follower = Follower { engine: opened.engine.as_mut(), units: None, stop: stop_flag()? };
    serve(group.as_mut(), follower).map_err(Wrong::input)?;
    Ok(None)
}

/// Refuses a command that works in one process where a launcher started several: each would do all of it.
pub(crate) fn refuse_several() -> Result<()> {
    match rldp_ranks::Launch::here() {
        Some(launch) if launch.size.is_none_or(|size| size > 1) => {
            let (launcher, size) = (launch.launcher, launch.size.map_or("several".to_owned(), |size| size.to_string()));
            anyhow::bail!(Wrong::usage(anyhow!(
                "this command works in one process, but {launcher} started {size}; start it alone (`rldp train`, `rldp evaluate` \
                 and `rldp audit RUN` share their work)"
            )))
        }
        _ => Ok(()),
    }
}
