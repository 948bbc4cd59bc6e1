//! What a setting or a file means is the same everywhere: in another folder, in the last step, in a plan, in a book.

use crate::support::{SMALL_RUN, Scene};

/// A run that the filter ends before its last step is evaluated where it ended.
#[test]
fn a_run_that_ends_early_is_evaluated_at_its_end() {
    let scene = Scene::new();
    let words = SMALL_RUN.replace("--steps 6", "--steps 40").replace("--eval-every 3", "--eval-every 1000");
    scene.rldp(&format!("{words} --regime adaptive --controller noise-falling --out run")).expect(0);
    let lines = scene.json_lines("run/metrics.jsonl");
    let last = |kind: &str| lines.iter().rfind(|line| line["kind"] == kind).unwrap()["step"].as_u64().unwrap();
    let evals = lines.iter().filter(|line| line["kind"] == "eval").count();
    assert_eq!((last("eval"), evals), (last("step"), 2));
    assert!(last("step") < 40, "the filter never refused");
}

/// What a run goes on from was spent on the same people: a book that did not have it gets it.
#[test]
fn a_book_counts_what_a_run_goes_on_from() {
    let scene = Scene::new();
    scene.rldp(&format!("{SMALL_RUN} --out first")).expect(0);
    let second = |out: &str, book: &str| scene.rldp(&format!("{SMALL_RUN} --after first --out {out} --book {book}"));
    scene.rldp("privacy book small.book --epsilon 9 --delta 3e-4").expect(0);
    assert!(second("refused", "small.book").expect(1).stderr.contains("above the limit 9"));
    scene.rldp("privacy book people.book --epsilon 60 --delta 8e-4").expect(0);
    second("second", "people.book").expect(0);
    let spent = scene.rldp("privacy book people.book --json").expect(0).json();
    assert_eq!((spent["runs"].as_u64(), spent["basic_epsilon"].as_f64()), (Some(2), Some(16.0)));
    // The next one finds both.
    scene.rldp(&format!("{SMALL_RUN} --after second --out third --book people.book")).expect(0);
    assert_eq!(scene.rldp("privacy book people.book --json").expect(0).json()["runs"], 3);
    // So does one after a run that is in no book itself, of the one before that.
    scene.rldp(&format!("{SMALL_RUN} --after first --out beside")).expect(0);
    scene.rldp(&format!("{SMALL_RUN} --after beside --out fourth --book people.book")).expect(0);
    assert_eq!(scene.rldp("privacy book people.book --json").expect(0).json()["runs"], 5);
    // Whose neighbours are others has no epsilon in common with them.
    let declared = scene.rldp(&format!("{SMALL_RUN} --units 100 --out other --book people.book")).expect(1);
    assert!(declared.stderr.contains("no epsilon in common"), "{}", declared.stderr);
}

/// The model of a run is where the run was started, not where somebody stands who asks; so are what an audit reads and the book.
#[test]
fn checks_and_audits_do_not_depend_on_the_folder() {
    let scene = Scene::new();
    scene.rldp("privacy book people.book --epsilon 40 --delta 4e-4").expect(0);
    scene.rldp(&format!("{SMALL_RUN} --out run --hold-out-members --book people.book")).expect(0);
    let elsewhere = scene.shell("mkdir -p other/model && cp model/config.json model/tokenizer.json other/model && cd other && \"$0\" privacy verify ../run");
    assert!(elsewhere.stdout.contains("are those that the run worked with"), "{}", elsewhere.stdout);
    assert_eq!(elsewhere.code, 0, "{}", elsewhere.stdout);
    let audited = scene.shell("cd other && \"$0\" audit ../run --json").expect(0).json();
    assert!(audited["membership"]["one_run"]["epsilon"].is_number(), "{audited}");
    let items = scene.rldp("privacy book people.book --json").expect(0).json();
    assert_eq!(items["items"].as_array().unwrap().last().unwrap()["kind"], "audit");
    scene.write("audit.json", audited.to_string());
    scene.rldp("report run --audit audit.json --out desk.html").expect(0);
    assert!(scene.read("desk.html").contains("units that were held out or not: epsilon is at least"));
}

/// Evaluations of other records cannot be compared.
#[test]
fn another_evaluation_file_begins_anew() {
    let scene = Scene::new();
    let long = SMALL_RUN.replace("--steps 6", "--steps 120");
    scene.shell(&format!("\"$0\" {long} --out run & pid=$!; while ! [ -f run/checkpoint.bin ]; do sleep 0.02; done; kill -INT $pid; wait $pid"));
    let rows = scene.read("eval.csv");
    scene.write("other.csv", rows.lines().take(4).map(|line| format!("{line}\n")).collect::<String>());
    let resumed = scene.rldp("train --resume run --eval other.csv --quiet").expect(0);
    let changed = scene.read("run/metrics.jsonl").contains("\"key\":\"eval\"");
    assert!(changed, "the run had ended before it was stopped: {}", resumed.stderr);
    scene.rldp("report run --out again.html").expect(0);
    let page = scene.read("again.html");
    assert!(!page.contains("WORSE THAN THE BASE") && !page.contains("Better than the base"), "two files were compared");
}

/// What is made of public text is bound and leaves with the rest.
#[test]
fn a_warm_up_is_bound_and_exported() {
    let scene = Scene::new();
    let lines = (0..40).map(|row| format!("the ward has {row} beds and {} chairs\n", 3 * row)).collect::<String>();
    scene.write("public.csv", format!("text\n{lines}"));
    scene.rldp(&format!("{SMALL_RUN} --out run --public public.csv")).expect(0);
    scene.rldp("export run --out leaves").expect(0);
    scene.rldp("privacy verify leaves").expect(0);
    let mut bytes = fs_err::read(scene.path("leaves/public/adapter_model.safetensors")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    scene.write("leaves/public/adapter_model.safetensors", bytes);
    let found = scene.rldp("privacy verify leaves").expect(1).stdout;
    assert!(found.contains("public/adapter_model.safetensors is not what the run wrote"), "{found}");
    // A run without public text has no such folder, and what lies in one does not leave.
    scene.rldp(&format!("{SMALL_RUN} --out plain")).expect(0);
    fs_err::create_dir(scene.path("plain/public")).unwrap();
    scene.write("plain/public/people.csv", "patient\n");
    let found = scene.rldp("privacy verify plain").expect(1).stdout;
    assert!(found.contains("public/people.csv is no file of this run"), "{found}");
    scene.rldp("export plain --out nothing").expect(1);
}

#[test]
fn plans_keep_to_what_was_asked_for() {
    let scene = Scene::new();
    let target = "--epsilon 8 --delta 1e-4";
    let plan = |words: &str| scene.rldp(&format!("plan {target} {words}"));
    // Of 2,000 units half are held out, with and without a file.
    let held = plan("--units 2000 --hold-out-members --json").expect(0).json();
    assert_eq!(held["units"], 1000.0);
    let floor = plan("--units 2000 --records 150 --batch-size 100 --json").expect(0).json();
    let best = &floor["plans"][floor["recommended"].as_u64().unwrap() as usize];
    assert!(best["records"].as_f64().unwrap() <= 150.0, "{best}");
    for (wrong, says) in [
        ("--units 600 --epochs -1", "epochs is -1"),
        ("--units 600 --epochs 2 --records 50", "leave --hours and --records out"),
        ("--units 600 --steps 9 --batch-size 9 --records 50", "leave --hours and --records out"),
        ("--units 600 --batch-size 100 --records 50", "trains on 100 at least"),
        ("--units 600 --model model --hours 0.0000001", "too little for 60 steps"),
    ] {
        let ran = plan(wrong).expect(2);
        assert!(ran.stderr.contains(says), "{wrong}: {}", ran.stderr);
    }
    // The shape of an adapter to start from is its own.
    scene.rldp(&format!("{SMALL_RUN} --rank 4 --out first")).expect(0);
    plan("--units 600 --model model --adapter first/adapter").expect(0);
    // Planted secrets are counted as they are planted.
    let own = "--model model --train train.csv --unit-column patient --canaries 12 --max-length 48";
    let planned = plan(&format!("{own} --json")).expect(0).json()["units"].as_f64().unwrap();
    let run = SMALL_RUN.replace("--quiet", "--canaries 12 --quiet --out planted");
    scene.rldp(&run).expect(0);
    let manifest: serde_json::Value = serde_json::from_str(&scene.read("planted/manifest.json")).unwrap();
    assert_eq!(planned, manifest["expected_units"].as_f64().unwrap());
}

/// The head of a ledger, which a signature and later runs hold on to.
fn head(scene: &Scene, run: &str) -> serde_json::Value {
    scene.rldp(&format!("privacy verify {run} --json")).expect(0).json()["head"].take()
}

fn statement(scene: &Scene, run: &str) -> String {
    scene.rldp(&format!("privacy verify {run} --json")).expect(0).json()["statement"].as_str().unwrap().to_owned()
}

/// What an adapter had learned is in what the run releases: the claim names it, and so does that of a run after this one.
#[test]
fn a_claim_names_the_adapter_that_a_run_starts_from() {
    let scene = Scene::new();
    scene
        .rldp(&format!("{} --unsafe-non-private --out open", SMALL_RUN.replace("--epsilon 8 --delta 1e-4", "")))
        .expect(0);
    scene.rldp(&format!("{SMALL_RUN} --adapter open/adapter --out second")).expect(0);
    let digest = scene.shell("sha256sum open/adapter/adapter_model.safetensors").expect(0).stdout;
    let words = format!("began with an adapter (SHA-256 {})", &digest[..64]);
    assert!(statement(&scene, "second").contains(&words), "{}", statement(&scene, "second"));
    scene.open_again("second");
    scene.rldp("train --resume second --quiet").expect(0);
    scene.rldp(&format!("{SMALL_RUN} --after second --out third")).expect(0);
    assert!(statement(&scene, "third").contains(&words), "{}", statement(&scene, "third"));
    scene.open_again("second");
    let changed = "cp second/adapter/adapter_model.safetensors open/adapter/ && \"$0\" train --resume second";
    assert!(scene.shell(changed).expect(1).stderr.contains("`start_adapter` was"));
}

/// A promise of two runs leaves out what either of them leaves out.
#[test]
fn a_run_after_another_takes_over_its_exceptions() {
    let scene = Scene::new();
    let shared: String = scene.read("train.csv").lines().take(4).flat_map(|line| [line, "\n"]).collect();
    scene.write("shared.csv", shared);
    let words = SMALL_RUN.replace("--eval eval.csv", "--eval shared.csv --allow-shared-eval");
    scene.rldp(&format!("{words} --out first")).expect(0);
    scene.rldp(&format!("{SMALL_RUN} --after first --out second")).expect(0);
    let both = statement(&scene, "second");
    assert!(both.contains("released, but for figures of evaluation files"), "{both}");
    // Public text of the first is public for the second.
    let lines =
        (0..40).map(|row| format!("P{row},the ward has {row} beds and {} chairs\n", 3 * row)).collect::<String>();
    scene.write("public.csv", format!("patient,text\n{lines}"));
    scene.rldp(&format!("{SMALL_RUN} --out third --public public.csv")).expect(0);
    scene.rldp(&format!("{SMALL_RUN} --after third --out fourth")).expect(0);
    let both = statement(&scene, "fourth");
    assert!(both.contains("began with text that was declared public"), "{both}");
    let words = SMALL_RUN.replace("--train train.csv", "--train public.csv");
    for after in ["third", "fourth"] {
        let refused = scene.rldp(&format!("{words} --after {after} --out fifth")).expect(1).stderr;
        assert!(refused.contains("was declared public text by a run"), "{refused}");
    }
}

/// A run that went on from another stays resumable when that one is taken up once more, and a finished one is left as it is.
#[test]
fn a_finished_run_that_is_resumed_harms_nobody() {
    let scene = Scene::new();
    scene.rldp(&format!("{SMALL_RUN} --out first")).expect(0);
    scene.rldp(&format!("{SMALL_RUN} --after first --out second")).expect(0);
    let before = head(&scene, "first");
    scene.shell("rm first/report.html").expect(0);
    let said = scene.rldp("train --resume first").expect(0);
    assert!(said.stderr.contains("nothing is left to do") && said.stdout.trim() == "first", "{}", said.stderr);
    assert_eq!(head(&scene, "first"), before);
    assert!(scene.path("first/report.html").exists());
    let refused = scene.rldp("train --resume first --interval 5 --quiet").expect(1).stderr;
    assert!(refused.contains("`control.interval` was 2") && refused.contains("has taken all its steps"), "{refused}");
    let elsewhere = scene.rldp("train --resume first --out second --quiet").expect(2).stderr;
    assert!(elsewhere.contains("two folders"), "{elsewhere}");
    scene.write("second.toml", "out = \"second\"\n");
    scene.rldp("train --resume first --config second.toml --quiet").expect(0);
    assert_eq!(head(&scene, "first"), before);
    scene.open_again("second");
    scene.rldp("train --resume second --quiet").expect(0);
    assert!(statement(&scene, "second").contains(before.as_str().unwrap()));
}

#[test]
fn a_run_cannot_be_moved_into_a_book() {
    let scene = Scene::new();
    scene.rldp(&format!("{SMALL_RUN} --out run")).expect(0);
    scene.rldp("privacy book people.book --epsilon 40 --delta 4e-4").expect(0);
    scene.open_again("run");
    let refused = scene.rldp("train --resume run --book people.book").expect(1);
    assert!(refused.stderr.contains("`output.book` was not set when the run began"), "{}", refused.stderr);
    // Its own it keeps, wherever it is resumed.
    scene.rldp(&format!("{SMALL_RUN} --out in --book people.book")).expect(0);
    scene.open_again("in");
    scene.shell("mkdir other && cd other && \"$0\" train --resume ../in --quiet").expect(0);
    assert_eq!(scene.rldp("privacy book people.book --json").expect(0).json()["runs"], 1);
}

/// Coins that fell before a run was killed, and before its ledger began, decided nothing.
#[test]
fn a_run_that_was_killed_before_its_ledger_draws_its_coins_again() {
    let scene = Scene::new();
    scene.rldp("privacy book people.book --epsilon 60 --delta 9e-4").expect(0);
    scene.rldp(&format!("{SMALL_RUN} --hold-out-members --canaries 4 --out run --book people.book")).expect(0);
    scene.shell("cd run && rm -r ledger.jsonl checkpoint* adapter policy report.html && : > metrics.jsonl").expect(0);
    scene.rldp("train --resume run --quiet").expect(0);
    scene.rldp("privacy verify run").expect(0);
    // Its own canaries are the run's, by whatever name.
    scene.rldp("audit run --canaries run/private/../private/canaries.csv").expect(0);
    let items = scene.rldp("privacy book people.book --json").expect(0).json();
    assert_eq!(items["items"].as_array().unwrap().last().unwrap()["kind"], "audit");
}

#[test]
fn a_report_takes_the_audit_of_its_own_run_and_each_run_once() {
    let scene = Scene::new();
    for run in ["one", "two"] {
        scene.rldp(&format!("{SMALL_RUN} --hold-out-members --out {run}")).expect(0);
        let found = scene.rldp(&format!("audit {run} --json --bootstrap 20")).expect(0).stdout;
        scene.write(&format!("{run}.json"), found);
    }
    scene.rldp("report one --audit one.json --out desk.html").expect(0);
    let other = scene.rldp("report one --audit two.json --out other.html").expect(1).stderr;
    assert!(other.contains("about another adapter (two/adapter)"), "{other}");
    scene.shell("cp -r one copy").expect(0);
    scene.rldp("report one one copy --out once.html").expect(0);
    assert!(!scene.read("once.html").contains("<strong>Together</strong>"), "a run was added to itself");
    fs_err::create_dir(scene.path("folder")).unwrap();
    scene.rldp("report one --out folder").expect(1);
    assert!(!scene.path("folder.partial").exists());
    for (words, reason) in [
        ("--confidence 2", "--confidence is 2"),
        ("--candidates 0", "--candidates is 0"),
        ("--delta 2", "--delta is 2"),
    ] {
        let refused = scene.rldp(&format!("audit one {words}")).expect(2).stderr;
        assert!(refused.contains(reason) && !refused.contains("scored"), "{refused}");
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let scene = Scene::new();
    scene.write("twice.toml", "epsilon = 4.0\n[privacy]\nepsilon = 5.0\n");
    let twice =
        scene.rldp(&format!("{} --config twice.toml --out run", SMALL_RUN.replace("--epsilon 8", ""))).expect(2).stderr;
    assert!(twice.contains("`epsilon` is given twice"), "{twice}");
    let deaf = scene.rldp(&format!("{SMALL_RUN} --controller sac --statistics-share 0 --out run")).expect(2).stderr;
    assert!(deaf.contains("learns from the paid loss"), "{deaf}");
    let gdp = scene.rldp(&format!("{SMALL_RUN} --regime adaptive --accountant gdp --out run")).expect(2).stderr;
    assert!(gdp.contains("use rdp"), "{gdp}");
    scene.rldp(&format!("{SMALL_RUN} --lora-alpha 8 --out run")).expect(0);
    scene.open_again("run");
    let alpha = scene.rldp("train --resume run --lora-alpha 256 --quiet").expect(1).stderr;
    assert!(alpha.contains("`model.lora_alpha` was 8"), "{alpha}");
    let coins = scene.rldp("train --resume run --canaries 3 --quiet").expect(1).stderr;
    assert!(coins.contains("`data.canaries` is set") && coins.contains("canaries.csv is not there"), "{coins}");
    scene.rldp(&format!("{SMALL_RUN} --controller set --out steered")).expect(0);
    scene.rldp("policy show steered").expect(0);
    let plan = scene.rldp("plan --units 300 --epsilon 4 --delta 1e-5 --records 10 --json").expect(0).json();
    let row = &plan["plans"][plan["recommended"].as_u64().unwrap() as usize];
    assert!(row["records"].as_f64().unwrap() <= 10.0, "{row}");
}
