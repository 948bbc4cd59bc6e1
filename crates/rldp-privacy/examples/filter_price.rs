//! What freedom of noise costs: filters against the same plan committed in advance, at equal (epsilon, delta).
//!
//! Prints two markdown tables. The first compares constant noise that was planned right, the second runs whose noise
//! turned out other than planned.

use rldp_privacy::accounting::{
    Accountant, AccountantKind, AccountingError, Event, FilterSpec, FilterUnion, GaussianFilter, PldAccountant,
    RenyiFilter, UnionSpec, calibrate_noise_multiplier, calibrate_steps,
};

const DELTA: f64 = 1e-5;
/// Planned noise, as a factor on the expected one, and share of delta, for each order of a union.
const EVEN: [(f64, f64); 4] = [(0.7, 0.25), (1.0, 0.25), (1.4, 0.25), (2.0, 0.25)];
const WEIGHTED: [(f64, f64); 4] = [(0.7, 0.04), (1.0, 0.88), (1.4, 0.04), (2.0, 0.04)];

/// A target and a plan.
#[derive(Clone, Copy)]
struct Plan {
    epsilon: f64,
    q: f64,
    steps: u64,
}

impl Plan {
    fn filter(self, noise: f64) -> Result<FilterSpec, AccountingError> {
        FilterSpec::plan(self.epsilon, DELTA, self.q, noise, self.steps)
    }

    fn union(self, noise: f64, orders: &[(f64, f64)]) -> Result<UnionSpec, AccountingError> {
        let plans: Vec<_> = orders.iter().map(|&(factor, share)| (factor * noise, share)).collect();
        UnionSpec::plan(self.epsilon, DELTA, self.q, &plans, self.steps)
    }

    fn fits(self, filter: &FilterSpec, noise: f64) -> bool {
        RenyiFilter::new(*filter).try_charge(&Event::new(self.q, noise, self.steps)).is_ok()
    }

    /// The least constant noise at which all steps are let through by filters planned for it.
    fn least_noise(start: f64, affords: impl Fn(f64) -> bool) -> f64 {
        let (mut low, mut high) = (0.9 * start, start);
        while !affords(high) {
            (low, high) = (high, 1.2 * high);
        }
        while high - low > 1e-4 * high {
            let middle = 0.5 * (low + high);
            if affords(middle) { high = middle } else { low = middle }
        }
        high
    }

    /// Steps at constant noise that are let through by filters planned for all steps at that noise.
    fn afforded(self, noise: f64, spec: Option<UnionSpec>) -> u64 {
        let Some(spec) = spec else { return 0 };
        let allows = |steps: u64| FilterUnion::new(spec.clone()).try_charge(&Event::new(self.q, noise, steps)).is_ok();
        let (mut low, mut high) = (0, 1);
        while allows(high) {
            (low, high) = (high, 4 * high);
        }
        while high - low > 1 {
            let middle = low.midpoint(high);
            if allows(middle) { low = middle } else { high = middle }
        }
        low
    }
}

fn single(spec: Result<FilterSpec, AccountingError>) -> Option<UnionSpec> {
    UnionSpec::new(vec![spec.ok()?]).ok()
}

#[allow(clippy::print_stdout)]
fn planned_right() {
    println!(
        "| q | T | ε | committed z | fixed order z | 4 orders, weighted z | 4 orders, even z | deck z | steps: fixed | weighted | even | deck |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    for q in [0.001, 0.01, 0.1] {
        for steps in [100, 1000, 10_000] {
            for epsilon in [1.0, 3.0, 8.0] {
                row(Plan { epsilon, q, steps });
            }
        }
    }
}

#[allow(clippy::print_stdout)]
fn row(plan: Plan) {
    let Plan { epsilon, q, steps } = plan;
    let committed = calibrate_noise_multiplier(AccountantKind::Pld, epsilon, DELTA, q, steps).expect("within range");
    let z = committed.noise_multiplier;
    let fixed = Plan::least_noise(z, |noise| plan.filter(noise).is_ok_and(|filter| plan.fits(&filter, noise)));
    let union = |orders: &'static [(f64, f64)]| {
        Plan::least_noise(z, |noise| {
            plan.union(noise, orders).is_ok_and(|spec| spec.filters().iter().any(|filter| plan.fits(filter, noise)))
        })
    };
    let (weighted, even) = (union(&WEIGHTED), union(&EVEN));
    let share = |spec| 100.0 * plan.afforded(z, spec) as f64 / steps as f64;
    println!(
        "| {q} | {steps} | {epsilon} | {z:.4} | +{:.1} % | +{:.1} % | +{:.1} % | +0 % | {:.0} % | {:.0} % | {:.0} % | 100 % |",
        100.0 * (fixed / z - 1.0),
        100.0 * (weighted / z - 1.0),
        100.0 * (even / z - 1.0),
        share(single(plan.filter(z))),
        share(plan.union(z, &WEIGHTED).ok()),
        share(plan.union(z, &EVEN).ok()),
    );
}

/// Steps afforded at other noise than planned, as a share of what a committed plan at that noise would afford.
#[allow(clippy::print_stdout)]
fn planned_wrong() {
    println!("\n| q | T | ε | actual over planned z | fixed order | 4 orders, weighted | 4 orders, even |");
    println!("|---|---|---|---|---|---|---|");
    for (q, steps) in [(0.001, 10_000), (0.01, 1000), (0.1, 1000)] {
        for epsilon in [1.0, 8.0] {
            let plan = Plan { epsilon, q, steps };
            let found = calibrate_noise_multiplier(AccountantKind::Pld, epsilon, DELTA, q, steps);
            let z = found.expect("within range").noise_multiplier;
            for factor in [0.7, 1.0, 1.5, 2.5] {
                let actual = factor * z;
                let best = calibrate_steps(AccountantKind::Pld, epsilon, DELTA, q, actual).map_or(0, |it| it.steps);
                let share = |spec| 100.0 * plan.afforded(actual, spec) as f64 / best as f64;
                println!(
                    "| {q} | {steps} | {epsilon} | {factor} | {:.0} % | {:.0} % | {:.0} % |",
                    share(single(plan.filter(z))),
                    share(plan.union(z, &WEIGHTED).ok()),
                    share(plan.union(z, &EVEN).ok()),
                );
            }
        }
    }
}

/// Full batches behind the Gaussian filter, and one deck beside its committed plan.
#[allow(clippy::print_stdout)]
fn free_ones() {
    let committed = calibrate_noise_multiplier(AccountantKind::Gdp, 3.0, DELTA, 1.0, 100).expect("within range");
    let filter = GaussianFilter::new(3.0, DELTA).expect("a target");
    let z = 10.0 / filter.mu();
    println!("\nGaussian filter, q 1, T 100, ε 3: z {z:.5} against {:.5} committed.", committed.noise_multiplier);
    let cards = [Event::new(0.01, 0.8, 300), Event::new(0.01, 1.0, 400), Event::new(0.01, 1.25, 300)];
    let epsilon = PldAccountant::default().epsilon(&cards, DELTA).expect("a plan");
    println!("Deck of 300 × 0.8, 400 × 1, 300 × 1.25 at q 0.01: ε {epsilon:.5} in every order, the committed plan's.");
}

fn main() {
    planned_right();
    planned_wrong();
    free_ones();
}
