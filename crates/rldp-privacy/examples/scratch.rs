//! scratch
use rldp_privacy::accounting::*;
fn main() {
    for q in [0.001, 0.01, 0.05, 0.2] {
        for z in [0.5, 0.7, 1.0, 2.0, 4.0] {
            for t in [100, 1000, 10000] {
                let now = std::time::Instant::now();
                let b = PldAccountant::default().epsilons(&[Event::new(q, z, t)], &[1e-5, 1e-6, 1e-8]);
                println!("{q} {z} {t} {b:?} {:?}", now.elapsed());
            }
        }
    }
}
