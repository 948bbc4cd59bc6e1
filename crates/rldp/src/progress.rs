//! Progress on standard error: a bar on a terminal, plain lines elsewhere; or to the program that called.

use std::{
    io::{IsTerminal as _, stderr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use rldp_train::{Progress, StepView, evaluate::Evaluation};

use crate::host;

/// Shows a run to a person.
pub(crate) struct Terminal {
    bar: ProgressBar,
    interactive: bool,
    quiet: bool,
    stop: Arc<AtomicBool>,
    started: std::time::Instant,
    first_step: Option<u64>,
    /// First and last evaluation: step and perplexity.
    evaluations: Option<[(u64, f64); 2]>,
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
        Self { bar, interactive, quiet, stop, started: std::time::Instant::now(), first_step: None, evaluations: None }
    }

    /// Leaves the last state standing, and says what came of it.
    pub(crate) fn finish(&self) {
        self.bar.abandon();
        if let (false, Some([(first, before), (last, after)])) = (self.quiet, self.evaluations) {
            let label = self.bar.prefix();
            note(&label, &format!("perplexity {before:.2} at step {first}, {after:.2} at step {last}"));
        }
    }

    fn message(&mut self, view: &StepView) -> String {
        let first = *self.first_step.get_or_insert(view.step - 1);
        let per_second = (view.step - first) as f64 * view.batch_size / self.started.elapsed().as_secs_f64();
        let loss = view.record.loss.map_or(String::new(), |loss| format!("loss {loss:.2} "));
        let perplexity = self.evaluations.map_or(String::new(), |[_, (_, last)]| format!("ppl {last:.2} "));
        format!("{loss}{perplexity}ε {:.3} {per_second:.0} units/s", view.record.epsilon_spent)
    }
}

impl Progress for Terminal {
    #[expect(clippy::print_stderr, reason = "plain progress where there is no terminal")]
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
            eprintln!("{line}");
        }
    }

    fn evaluated(&mut self, step: u64, evaluation: &Evaluation) {
        let now = (step, evaluation.perplexity);
        let first = self.evaluations.map_or(now, |[first, _]| first);
        self.evaluations = Some([first, now]);
        tell("eval", step, evaluation, &format!("{} step {step} perplexity {:.2}", self.bar.prefix(), now.1));
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

/// Tells a person something, beside the data on standard output.
#[expect(clippy::print_stderr, reason = "notes go to standard error")]
pub(crate) fn note(label: &str, text: &str) {
    if let Some(host) = host::current() {
        return host.note(label, text);
    }
    eprintln!("{label}: {text}");
}

/// Asks for a line at the terminal.
#[expect(clippy::print_stderr, reason = "what is asked for is typed beside it")]
pub(crate) fn ask(prompt: &str) {
    eprint!("{prompt}");
}
