//! Progress on standard error: a bar on a terminal, plain lines elsewhere; or to the program that called.

use std::{
    io::{IsTerminal as _, Write as _, stderr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use rldp_lab::{export::LiveEvents, readable_loss};
use rldp_train::{Progress, StepRecord, StepView, evaluate::Evaluation};

use crate::host;

/// Shows a run to a person.
pub(crate) struct Terminal {
    bar: ProgressBar,
    interactive: bool,
    quiet: bool,
    stop: Arc<AtomicBool>,
    started: std::time::Instant,
    first_step: Option<u64>,
    /// The last evaluation: its step, and perplexity.
    evaluation: Option<(u64, f64)>,
}

impl Terminal {
    /// A bar over `steps`, labelled `label`. `stop` is set by a signal.
    pub(crate) fn new(label: &str, steps: u64, quiet: bool, stop: Arc<AtomicBool>) -> Self {
        let interactive = stderr().is_terminal() && !quiet && host::current().is_none();
        let bar = if interactive { ProgressBar::new(steps) } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:24} {pos}/{len} {msg} eta {eta}") {
            bar.set_style(style);
        }
        bar.set_prefix(label.to_owned());
        bar.enable_steady_tick(Duration::from_millis(500));
        Self { bar, interactive, quiet, stop, started: std::time::Instant::now(), first_step: None, evaluation: None }
    }

    /// Leaves the last state standing.
    fn finish(&self) {
        self.bar.abandon();
    }

    fn message(&mut self, view: &StepView) -> String {
        let first = *self.first_step.get_or_insert(view.step - 1);
        let per_second = (view.step - first) as f64 * view.batch_size / self.started.elapsed().as_secs_f64();
        // Of the model before this step, as the line says: it is evaluated now and then.
        let perplexity = self.evaluation.map_or(String::new(), |(at, found)| format!("ppl {found:.2} @ {at} "));
        format!("{}{perplexity}ε {:.3} {per_second:.0} units/s", loss(view.record), view.record.epsilon_spent)
    }
}

/// The released loss, cut off at its public bounds, with its noise; a dash where noise is all of it.
fn loss(record: &StepRecord) -> String {
    let Some(loss) = record.loss else { return String::new() };
    let deviation = record.loss_std.unwrap_or_default();
    match readable_loss(loss, deviation, record.loss_bound) {
        Some(loss) => format!("loss {loss:.2}±{deviation:.2} "),
        None => "loss – (noise) ".to_owned(),
    }
}

impl Progress for Terminal {
    fn step(&mut self, view: &StepView) {
        let message = self.message(view);
        if self.interactive {
            self.bar.set_position(view.step);
            self.bar.set_message(message);
            return;
        }
        let milestone = view.step == view.steps || view.step.is_multiple_of((view.steps / 10).max(1));
        let left = self.started.elapsed().as_secs_f64() * (view.steps - view.step) as f64
            / (view.step - self.first_step.unwrap_or(0)).max(1) as f64;
        let line = format!("{} step {}/{} {message} eta {left:.0}s", self.bar.prefix(), view.step, view.steps);
        if let Some(host) = host::current() {
            let mut event = serde_json::to_value(view.record).unwrap_or_default();
            event["steps"] = view.steps.into();
            host.progress(&event, &line, milestone);
        } else if !self.quiet && milestone {
            say(&line);
        }
    }

    fn evaluated(&mut self, step: u64, evaluation: &Evaluation) {
        self.evaluation = Some((step, evaluation.perplexity));
        let words = format!("{} step {step} perplexity {:.2}", self.bar.prefix(), evaluation.perplexity);
        tell("eval", step, evaluation, &words);
    }

    fn warming(&mut self, updates: u64, held_out: &Evaluation) {
        let words = format!("public text, step {updates}: perplexity {:.2}", held_out.perplexity);
        tell("public", updates, held_out, &words);
        if !self.quiet {
            note(&self.bar.prefix(), &words);
        }
    }

    fn should_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || host::wants_to_stop()
    }
}

/// Hands what was found on public records to the program that called.
fn tell(kind: &str, step: u64, found: &Evaluation, words: &str) {
    if let Some(host) = host::current() {
        let mut event = serde_json::to_value(found).unwrap_or_default();
        (event["kind"], event["step"]) = (kind.into(), step.into());
        host.progress(&event, words, false);
    }
}

/// All who watch a run: a person, and TensorBoard where it was asked for.
pub(crate) struct Watching {
    terminal: Terminal,
    events: Option<LiveEvents>,
}

impl Watching {
    pub(crate) fn new(terminal: Terminal, events: Option<LiveEvents>) -> Self {
        Self { terminal, events }
    }

    /// After the run: what its last lines say, and the last state of the bar.
    pub(crate) fn finish(&mut self) {
        self.follow();
        self.terminal.finish();
    }

    /// A folder of events that cannot be written ends no run, which would lose what was paid for.
    fn follow(&mut self) {
        if let Some(Err(error)) = self.events.as_mut().map(LiveEvents::follow) {
            note("WARNING", &format!("no more TensorBoard events are written: {error}"));
            self.events = None;
        }
    }
}

impl Progress for Watching {
    fn step(&mut self, view: &StepView) {
        self.terminal.step(view);
        self.follow();
    }

    fn evaluated(&mut self, step: u64, evaluation: &Evaluation) {
        self.terminal.evaluated(step, evaluation);
        self.follow();
    }

    fn warming(&mut self, updates: u64, held_out: &Evaluation) {
        self.terminal.warming(updates, held_out);
    }

    fn should_stop(&self) -> bool {
        self.terminal.should_stop()
    }
}

/// Tells a person something, beside the data on standard output.
pub(crate) fn note(label: &str, text: &str) {
    if let Some(host) = host::current() {
        return host.note(label, text);
    }
    say(&format!("{label}: {text}"));
}

/// A line on standard error. Whoever stopped listening, as `head` does, stops no run.
fn say(line: &str) {
    let _ = writeln!(stderr(), "{line}");
}

/// Asks for a line at the terminal.
#[expect(clippy::print_stderr, reason = "what is asked for is typed beside it")]
pub(crate) fn ask(prompt: &str) {
    eprint!("{prompt}");
}
