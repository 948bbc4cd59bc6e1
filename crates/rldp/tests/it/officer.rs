//! What a privacy officer asks of a run: that its claim is about what was released, and that nothing can be put in its place.

use std::process::{Command, Stdio};

use crate::support::{Ran, SMALL_RUN, Scene};

const KEY: &str = include_str!("../../../rldp-privacy/testdata/sign/key");
const PUBLIC: &str = include_str!("../../../rldp-privacy/testdata/sign/key.pub");

/// A file that only its user may read, as OpenSSH asks of keys.
fn write_key(scene: &Scene) {
    scene.write("key", KEY);
    scene.write("key.pub", PUBLIC);
    scene.shell("chmod 600 key").expect(0);
}

#[test]
fn the_evaluation_file_is_not_the_training_file() {
    let scene = Scene::new();
    let train = scene.read("train.csv");
    scene.write("copy.csv", &train);
    scene.shell("ln -s train.csv link.csv").expect(0);
    for eval in ["train.csv", "./train.csv", "copy.csv", "link.csv"] {
        let words = SMALL_RUN.replace("--eval eval.csv", &format!("--eval {eval}"));
        for more in ["", "--allow-shared-eval"] {
            let ran = scene.rldp(&format!("{words} --out run {more}")).expect(1);
            assert!(ran.stderr.contains("is the training file"), "{eval}: {}", ran.stderr);
        }
    }
    assert!(!scene.path("run").exists());
    // One record of many, in another format.
    let record = train.lines().nth(3).unwrap().split_once(',').unwrap().1.trim_matches('"').replace("\"\"", "\"");
    scene.write("some.jsonl", format!("{}\n{{\"text\": \"another\"}}\n", serde_json::json!({ "text": record })));
    let words = SMALL_RUN.replace("--eval eval.csv", "--eval some.jsonl");
    let ran = scene.rldp(&format!("{words} --out run")).expect(1);
    assert!(ran.stderr.contains("how many is private") && ran.stderr.contains("--allow-shared-eval"), "{}", ran.stderr);
    assert!(!ran.stderr.contains(&record) && !scene.path("run").exists());
    let ran = scene.rldp(&format!("{words} --out run --public-probe")).expect(1);
    assert!(ran.stderr.contains("leave out --public-probe"), "{}", ran.stderr);
    scene.rldp(&format!("{words} --out run --public-probe --allow-shared-eval")).expect(2);
    scene.rldp(&format!("{words} --out run --allow-shared-eval")).expect(0);
    let verified = scene.rldp("privacy verify run").expect(0);
    assert!(verified.stdout.contains("but for the figures of the evaluation file"), "{}", verified.stdout);
    assert!(scene.read("run/report.html").contains("its figures are not part of the promise"));
}

#[test]
fn a_declared_number_of_units_is_all_that_is_written_of_it() {
    let scene = Scene::new();
    let ran = scene.rldp(&format!("{SMALL_RUN} --out run --units 59")).expect(1);
    assert!(ran.stderr.contains("more than the 59 units") && !ran.stderr.contains("60"), "{}", ran.stderr);
    let train = scene.read("train.csv");
    let last = train.lines().last().unwrap().split(',').next().unwrap().to_owned();
    let fewer: String = train.lines().filter(|line| !line.starts_with(&last)).flat_map(|line| [line, "\n"]).collect();
    scene.write("fewer.csv", fewer);
    let runs = [("train.csv", "one"), ("fewer.csv", "two")].map(|(file, out)| {
        let words = SMALL_RUN.replace("--train train.csv", &format!("--train {file}"));
        scene.rldp(&format!("{words} --units 70 --out {out}")).expect(0);
        let manifest = scene.read(&format!("{out}/manifest.json"));
        let kept = |line: &&str| !["\"started\"", "\"id\""].iter().any(|key| line.contains(key));
        let manifest: Vec<String> = manifest.lines().filter(kept).map(str::to_owned).collect();
        let claim = scene.json_lines(&format!("{out}/ledger.jsonl"))[0]["claim"].clone();
        assert!(scene.rldp(&format!("privacy verify {out}")).expect(0).stdout.contains("among at most 70 units"));
        (manifest, claim)
    });
    assert_eq!(runs[0], runs[1], "a neighbour's manifest or claim shows that somebody is missing");
    assert!(runs[0].0.concat().contains("\"units\": 70"));
    // Without a declared number it is public, and the claim is about emptying a unit.
    scene.rldp(&format!("{SMALL_RUN} --out three")).expect(0);
    let verified = scene.rldp("privacy verify three").expect(0).stdout;
    assert!(verified.contains("by nothing, where the number of units stays the same and is public"), "{verified}");
}

#[test]
fn a_signature_is_openssh_s_and_goes_with_the_ledger() {
    let scene = Scene::new();
    write_key(&scene);
    scene.rldp(&format!("{SMALL_RUN} --out run")).expect(0);
    let unsigned = scene.rldp("privacy verify run").expect(0);
    assert!(unsigned.stdout.contains("Not signed"), "{}", unsigned.stdout);
    let asked = scene.rldp("privacy verify run --public-key key.pub").expect(1);
    assert!(asked.stdout.contains("the run is not signed"), "{}", asked.stdout);
    scene.rldp("privacy sign run --key key").expect(0);
    let found = scene.rldp("privacy verify run --public-key key.pub --json").expect(0).json();
    assert!(found["signed_by"].as_str().unwrap().starts_with("SHA256:"), "{found}");
    assert!(found["signed_at"].as_str().unwrap().starts_with("20") && found["closed"] == true, "{found}");
    // Another program agrees, where there is one.
    scene.write("signers", format!("officer {PUBLIC}"));
    let check = "ssh-keygen -Y verify -f signers -I officer -n rldp -s run/seal.json.sig < run/seal.json";
    if Command::new("ssh-keygen").arg("-?").stderr(Stdio::null()).status().is_ok() {
        assert!(scene.shell(check).expect(0).stdout.contains("Good \"rldp\" signature for officer"));
        // And what it signs, this program takes.
        scene.shell("rm run/seal.json.sig; ssh-keygen -q -Y sign -n rldp -f key run/seal.json").expect(0);
        scene.rldp("privacy verify run --public-key key.pub").expect(0);
        scene.shell("ssh-keygen -q -t ed25519 -N secret -f locked").expect(0);
        let locked = scene.rldp("privacy sign run --key locked").expect(1);
        assert!(locked.stderr.contains("has a passphrase") && locked.stderr.contains("take run/seal.json.sig away"));
        scene.rldp("privacy verify run --public-key key.pub").expect(0);
        scene.shell("rm run/seal.json.sig").expect(0);
        let locked = scene.rldp("privacy sign run --key locked").expect(1);
        assert!(locked.stderr.contains("ssh-keygen -Y sign -n rldp"), "{}", locked.stderr);
    } else {
        eprintln!("skipped: there is no ssh-keygen to compare with");
    }
    let nonsense = scene.rldp("privacy sign run --key key.pub").expect(1);
    assert!(nonsense.stderr.contains("no private key of OpenSSH"), "{}", nonsense.stderr);
}

#[test]
fn what_leaves_is_what_may_leave_with_one_time_and_a_card() {
    let scene = Scene::new();
    write_key(&scene);
    scene.rldp(&format!("{SMALL_RUN} --out run --hold-out-members --canaries 2")).expect(0);
    scene.rldp("privacy sign run --key key").expect(0);
    scene.rldp("export run --out out").expect(0);
    let list = |ran: Ran| ran.expect(0).stdout.lines().map(str::to_owned).collect::<Vec<_>>();
    let files = list(scene.shell("cd out; find . -type f | LC_ALL=C sort"));
    assert_eq!(
        files,
        [
            "./adapter/README.md",
            "./adapter/adapter_config.json",
            "./adapter/adapter_model.safetensors",
            "./config.toml",
            "./ledger.jsonl",
            "./manifest.json",
            "./metrics.jsonl",
            "./policy/policy.json",
            "./report.html",
            "./seal.json",
            "./seal.json.sig",
        ]
    );
    let times = list(scene.shell("find out | xargs stat -c %Y | sort -u"));
    assert_eq!(times.len(), 1, "{times:?}");
    let verified = scene.rldp("privacy verify out --public-key key.pub").expect(0);
    assert!(verified.stdout.contains("model card"), "{}", verified.stdout);
    let card = scene.read("out/adapter/README.md");
    assert!(
        card.starts_with("---\nlibrary_name: peft\n") && card.contains("all records with the same `patient`"),
        "{card}"
    );
    scene.rldp("evaluate --model model --adapter out/adapter --data eval.csv").expect(0);
    scene.write("out/adapter/README.md", card.replace("differential privacy", "no doubt at all"));
    assert!(scene.rldp("privacy verify out").expect(1).stdout.contains("FAIL model card"));
    // What does not verify, or has not closed, stays.
    assert!(scene.rldp("export run --out out").expect(1).stderr.contains("not empty"));
    scene.shell("cp -r run cut; sed -i '$d' cut/ledger.jsonl").expect(0);
    assert!(scene.rldp("export cut --out new").expect(1).stderr.contains("does not verify"));
    assert!(!scene.path("new").exists());
}

#[test]
fn a_book_adds_up_runs_and_refuses_what_passes_its_limit() {
    let scene = Scene::new();
    let run = |out: &str, more: &str| scene.rldp(&format!("{SMALL_RUN} --out {out} --book people.book {more}"));
    assert!(run("run", "").expect(1).stderr.contains("there is no book"));
    let begun = scene.rldp("privacy book people.book --epsilon 10 --delta 3e-4 --json").expect(0).json();
    assert_eq!((&begun["epsilon"], &begun["limit"], &begun["runs"]), (&0.0.into(), &10.0.into(), &0.into()));
    assert!(
        scene.rldp("privacy book people.book --epsilon 20 --delta 3e-4").expect(1).stderr.contains("cannot be changed")
    );
    run("one", "").expect(0);
    run("two", "--controller sac").expect(0);
    let spent = scene.rldp("privacy book people.book --json").expect(0).json();
    let epsilon = spent["epsilon"].as_f64().unwrap();
    // Two runs of 8: more than one, less than their sum.
    assert!(epsilon > 8.0 && epsilon < 10.0 && spent["basic_epsilon"] == 16.0, "{spent}");
    let refused = run("three", "").expect(1);
    assert!(refused.stderr.contains("above the limit 10") && !scene.path("three").exists(), "{}", refused.stderr);
    // What another run spent stands on the page and in the manifest.
    assert!(scene.read("two/report.html").contains("run 2 in the budget book people.book"));
    scene.rldp("report one two --out both.html").expect(0);
    assert!(scene.read("both.html").contains("Whoever sees all 2 of these runs"));
    // No guarantee, no entry; and a book that was changed is no book.
    run("bare", "--unsafe-noise-seed 1").expect(2);
    let book = scene.read("people.book");
    scene.write("people.book", book.replacen("\"target_epsilon\":8.0", "\"target_epsilon\":1.0", 1));
    assert!(run("four", "").expect(1).stderr.contains("its hash does not fit"));
    scene.write("people.book", book.trim_end());
    assert!(run("four", "").expect(1).stderr.contains("not whole"));
    scene.write("people.book", book);
    // An audit that reads coins enters before it starts.
    scene.rldp("privacy book more.book --epsilon 90 --delta 3e-4").expect(0);
    scene.rldp(&format!("{SMALL_RUN} --out coins --book more.book --hold-out-members")).expect(0);
    scene.rldp("audit coins --bootstrap 10 --json").expect(0);
    assert!(scene.rldp("privacy book more.book").expect(0).stdout.contains("an audit read the coins of coins"));
}

#[test]
fn a_policy_says_where_it_was_learned() {
    let scene = Scene::new();
    scene.rldp(&format!("{SMALL_RUN} --controller sac --out first")).expect(0);
    let words = format!("{SMALL_RUN} --controller sac --policy first/policy");
    let ran = scene.rldp(&format!("{words} --out second")).expect(1);
    assert!(ran.stderr.contains("learned in a private run") && ran.stderr.contains("--allow-private-policy"));
    scene.rldp(&format!("{words} --allow-private-policy --out second")).expect(0);
    let verified = scene.rldp("privacy verify second").expect(0).stdout;
    assert!(verified.contains("began with a policy of another private run"), "{verified}");
    scene.rldp(&format!("{SMALL_RUN} --controller sac --out loose --unsafe-noise-seed 1")).expect(0);
    let loose = format!("{SMALL_RUN} --controller sac --policy loose/policy/policy.json --out third");
    for more in ["", "--allow-private-policy"] {
        let ran = scene.rldp(&format!("{loose} {more}")).expect(1);
        assert!(ran.stderr.contains("without a privacy guarantee"), "{}", ran.stderr);
    }
}

#[test]
fn units_that_look_wrong_are_said_on_standard_error_alone() {
    let scene = Scene::new();
    let rows: String = (0..130).map(|row| format!("P{},Note {row} of an odd file.\n", row % 6)).collect();
    scene.write("odd.csv", format!("patient,text\n{rows}"));
    let words = SMALL_RUN.replace("--train train.csv", "--train odd.csv").replace("--batch-size 12", "--batch-size 3");
    let ran = scene.rldp(&format!("{words} --out run")).expect(0);
    assert!(ran.stderr.contains("6 units in 130 records"), "{}", ran.stderr);
    assert!(!scene.shell("grep -r 'tells people apart?' run; true").stdout.contains("tells people apart?"));
}

#[test]
fn a_run_without_a_ledger_or_an_end_says_so_in_words() {
    let scene = Scene::new();
    scene.rldp(&format!("{SMALL_RUN} --out run")).expect(0);
    scene.shell("cp -r run none; rm none/ledger.jsonl; cp -r run old").expect(0);
    let ran = scene.rldp("privacy verify none").expect(1);
    assert!(ran.stderr.contains("Without it nothing is known of what was spent"), "{}", ran.stderr);
    assert!(scene.rldp("privacy verify nowhere").expect(1).stderr.contains("no such run folder"));
    // A process that was asked to stop says what it left, and the run goes on.
    let stopped =
        SMALL_RUN.replace("--steps 6", "--steps 4000").replace("--checkpoint-every 2", "--checkpoint-every 500");
    let mut child = scene.command(&format!("{stopped} --out long")).spawn().unwrap();
    let charges =
        || fs_err::read_to_string(scene.path("long/ledger.jsonl")).unwrap_or_default().matches("charge").count();
    while charges() < 3 {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    child.wait().unwrap();
    let found = scene.rldp("privacy verify long").expect(0).stdout;
    assert!(found.contains("NOT CLOSED: it was stopped") && found.contains("holds so far"), "{found}");
    scene.shell("cp run/adapter/* long/adapter/").expect(0);
    let found = scene.rldp("privacy verify long").expect(1).stdout;
    assert!(found.contains("adapter/adapter_model.safetensors is not what the run wrote"), "{found}");
}

/// A run that goes on from another says what both promise; nothing but the adapter that the first one's ledger binds will do.
#[test]
fn a_run_goes_on_from_another_with_one_promise_for_both() {
    let scene = Scene::new();
    let run = format!("{SMALL_RUN} --controller fixed");
    scene.rldp(&format!("{run} --rank 3 --out first")).expect(0);
    let said = scene.rldp(&format!("{} --after first --out second", run.replace(" --quiet", ""))).expect(0).stderr;
    assert!(!said.contains("its own training's claim"), "{said}");
    assert!(
        scene.read("second/adapter/adapter_config.json").contains("\"r\": 3"),
        "the adapter is not the first one's"
    );
    let verified = scene.rldp("privacy verify second --json").expect(0).json();
    let statement = verified["statement"].as_str().unwrap();
    let one = verified["epsilon"].as_f64().unwrap();
    assert!(
        statement.contains(&format!("is ({}, ", 2.0 * one)) && statement.contains("all of the 2 runs"),
        "{statement}"
    );
    // By privacy loss distributions two runs cost less than twice one.
    let both = statement.split("private, and (").nth(1).and_then(|rest| rest.split(',').next()).unwrap();
    let both: f64 = both.parse().unwrap();
    assert!(one < both && both < 2.0 * one, "{statement}");
    assert!(scene.read("second/report.html").contains("2 runs"));
    scene.open_again("second");
    scene.rldp("train --resume second --quiet").expect(0);
    // And a third.
    scene.rldp(&format!("{run} --after second --out third")).expect(0);
    let third = scene.rldp("privacy verify third --json").expect(0).json();
    assert!(third["statement"].as_str().unwrap().contains("all of the 3 runs"), "{third}");
    let refused = |words: &str, reason: &str| {
        let ran = scene.rldp(&format!("{run} {words} --out fourth")).expect(1);
        assert!(ran.stderr.contains(reason) && ran.stderr.contains("--adapter starts"), "{}", ran.stderr);
        assert!(!scene.path("fourth").exists());
    };
    refused("--after first --adapter second/adapter", "its ledger binds");
    scene.rldp(&format!("{} --unsafe-non-private --out open", run.replace("--epsilon 8 --delta 1e-4", ""))).expect(0);
    refused("--after open", "no privacy guarantee");
    scene.shell("rm first/ledger.jsonl").expect(0);
    refused("--after first", "ledger.jsonl cannot be read");
}
