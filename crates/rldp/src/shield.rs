//! What keeps records inside the process when things go wrong: no memory dumps, and panics that do not quote values.

use std::{any::Any, panic::PanicHookInfo, sync::Once};

/// Puts both in place, first thing.
pub(crate) fn raise() {
    forbid_dumps();
    std::panic::set_hook(Box::new(report));
}

/// The same for one call of a program that goes on afterwards, whose own ways are given back to it at the end.
pub(crate) fn raise_for_call(private: bool) -> Raised {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| std::panic::set_hook(Box::new(report)));
    Raised::new(private)
}

/// What a call changed of its process; only one that reads private records changes anything.
pub(crate) struct Raised {
    #[cfg(unix)]
    umask: Option<rustix::fs::Mode>,
    #[cfg(target_os = "linux")]
    dumpable: Option<rustix::process::DumpableBehavior>,
}

impl Raised {
    fn new(private: bool) -> Self {
        Self {
            #[cfg(unix)]
            umask: private.then(|| rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077))),
            #[cfg(target_os = "linux")]
            dumpable: private.then(forbid_dumps_until_later).flatten(),
        }
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(umask) = self.umask {
            rustix::process::umask(umask);
        }
        #[cfg(target_os = "linux")]
        if let Some(dumpable) = self.dumpable {
            // It was allowed before.
            let _ = rustix::process::set_dumpable_behavior(dumpable);
        }
    }
}

/// Returns what was allowed before. The limit on dumps cannot be lifted again, so it stays as it is.
#[cfg(target_os = "linux")]
fn forbid_dumps_until_later() -> Option<rustix::process::DumpableBehavior> {
    use rustix::process::{DumpableBehavior, dumpable_behavior, set_dumpable_behavior};
    let before = dumpable_behavior().ok()?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).ok()?;
    Some(before)
}

/// Files and folders that are made from here on are the user's alone: runs tell of private records.
pub(crate) fn keep_files_private() {
    #[cfg(unix)]
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
}

/// A dump of this process would hold the records.
fn forbid_dumps() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        // Lowering one's own limit is always allowed; where it is not, there is nothing else to do.
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        // Programs that collect dumps are not bound by the limit.
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}

#[expect(clippy::print_stderr, reason = "a panic has no other way to tell")]
fn report(info: &PanicHookInfo) {
    let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    eprintln!(
        "internal error at {place}: {}\nThis is a defect of rldp; please report it with this line.",
        words(info.payload())
    );
}

/// What a panic says, when it cannot hold a value: a message that was composed while running may quote a record.
fn words(payload: &(dyn Any + Send)) -> &'static str {
    payload.downcast_ref::<&'static str>().copied().unwrap_or("the message is withheld, since it may quote a record")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn composed_messages_are_withheld() {
        let record = "SECRET";
        let caught = |panic: fn(&str)| std::panic::catch_unwind(|| panic(record)).unwrap_err();
        assert_eq!(words(&*caught(|_| panic!("a fixed sentence"))), "a fixed sentence");
        for panic in [
            (|record| panic!("{record}")) as fn(&str),
            |record| drop(record[..99].to_owned()),
            |record| assert!(record.parse::<u8>().is_ok(), "{record} is no number"),
        ] {
            assert!(!words(&*caught(panic)).contains(record));
        }
    }
}
