//! What the targets share.

use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Lines of JSON objects as a ledger whose chain is whole: fuzzing is to reach what stands behind the hashes.
pub fn chained(text: &str) -> String {
    let (mut ledger, mut previous, mut index) = (String::new(), "rldp-ledger".to_owned(), 0);
    for line in text.lines() {
        let Ok(serde_json::Value::Object(mut body)) = serde_json::from_str(line) else { continue };
        body.remove("hash");
        body.insert("version".into(), 1.into());
        body.insert("index".into(), index.into());
        body.insert("previous".into(), previous.into());
        let hash = hex(&Sha256::digest(serde_json::Value::from(body.clone()).to_string()));
        body.insert("hash".into(), hash.clone().into());
        ledger += &format!("{}\n", serde_json::Value::from(body));
        (previous, index) = (hash, index + 1);
    }
    ledger
}

/// A file of this process that is written anew for each input; in memory where there is such a folder.
pub fn file(name: &str, content: &[u8]) -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let path = folder.join(format!("rldp-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&path).expect("a folder for one input");
    let path = path.join(name);
    std::fs::write(&path, content).expect("a file for one input");
    path
}
