//! A ledger whose lines are hashed and chained rightly, whatever they say: verification and resuming never panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rldp_fuzz::chained;
use rldp_privacy::{LedgerPosition, LedgerSink, Secrecy, Spender, charged_steps, verify};

struct Nowhere;

impl LedgerSink for Nowhere {
    fn append(&mut self, _line: &str) -> std::io::Result<()> {
        Ok(())
    }
}

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let _ = verify(&text);
    let ledger = chained(&text);
    let found = verify(&ledger);
    let _ = charged_steps(&ledger);
    let saved = LedgerPosition { lines: data.len() as u64 % 4, hash: String::new() };
    let _ = saved.check(&ledger);
    if let Some(claim) = &found.claim
        && let Ok(mut spender) = Spender::resume(&ledger, claim, None, Box::new(Nowhere))
    {
        let _ = (spender.charge(1.0, Secrecy::Secret), spender.spent_fraction());
        assert!(spender.spent_epsilon() <= claim.target_epsilon);
    }
});
