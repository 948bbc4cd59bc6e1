//! Models by their name on the hub: from the cache, and from a server on this machine.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::support::{Ran, SMALL_RUN, Scene};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const FILES: [&str; 3] = ["config.json", "tokenizer.json", "model.safetensors"];

/// Runs a command with an own cache, offline or against an endpoint.
fn hub(scene: &Scene, words: &str, variable: (&str, &str)) -> Ran {
    let mut command = scene.command(words);
    command.env("HF_HOME", scene.path("hf")).env_remove("HF_TOKEN").env_remove("HF_HUB_OFFLINE");
    Ran::of(command.env("HF_ENDPOINT", "http://127.0.0.1:9").env(variable.0, variable.1))
}

#[test]
fn a_cached_model_is_used_offline_by_branch_and_by_commit() {
    let scene = Scene::new();
    let cached = scene.path("hf/hub/models--owner--tiny");
    fs_err::create_dir_all(cached.join("refs")).unwrap();
    fs_err::create_dir_all(cached.join("snapshots").join(COMMIT)).unwrap();
    fs_err::write(cached.join("refs/main"), COMMIT).unwrap();
    for file in FILES {
        fs_err::copy(scene.path("model").join(file), cached.join("snapshots").join(COMMIT).join(file)).unwrap();
    }
    let evaluate = |model: &str| format!("evaluate --model {model} --data eval.csv --json");
    let expected = scene.rldp(&evaluate("model")).expect(0).stdout;
    for name in ["owner/tiny", "owner/tiny@main", &format!("owner/tiny@{COMMIT}")] {
        assert_eq!(hub(&scene, &evaluate(name), ("HF_HUB_OFFLINE", "1")).expect(0).stdout, expected, "{name}");
    }
    let absent = hub(&scene, &evaluate("owner/absent"), ("HF_HUB_OFFLINE", "1")).expect(1).stderr;
    assert!(absent.contains("HF_HUB_OFFLINE") && absent.contains("hf download owner/absent"), "{absent}");
    fs_err::remove_file(cached.join("snapshots").join(COMMIT).join("model.safetensors")).unwrap();
    hub(&scene, &evaluate("owner/tiny"), ("HF_HUB_OFFLINE", "1")).expect(1);
}

#[test]
fn the_cache_lies_where_python_puts_it() {
    let scene = Scene::new();
    let fill = |cache: &str| {
        let cached = scene.path(cache).join("models--owner--tiny");
        fs_err::create_dir_all(cached.join("refs")).unwrap();
        fs_err::create_dir_all(cached.join("snapshots").join(COMMIT)).unwrap();
        fs_err::write(cached.join("refs/main"), COMMIT).unwrap();
        for file in FILES {
            fs_err::copy(scene.path("model").join(file), cached.join("snapshots").join(COMMIT).join(file)).unwrap();
        }
    };
    for cache in ["a", "b", "c/hub", "d/huggingface/hub"] {
        fill(cache);
    }
    let code = |variables: &[(&str, &str)]| {
        let mut command = scene.command("evaluate --model owner/tiny --data eval.csv");
        for name in ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HF_HUB_OFFLINE"] {
            command.env_remove(name);
        }
        let path = |value: &str| value.replace("HERE", scene.path("").to_str().unwrap().trim_end_matches('/'));
        command.env("TRANSFORMERS_OFFLINE", "1").env("ROOM", scene.path("c"));
        command.envs(variables.iter().map(|(name, value)| (*name, path(value))));
        Ran::of(&mut command).code
    };
    let absent = ("HF_HOME", "HERE/nowhere");
    assert_eq!(code(&[absent]), 1);
    assert_eq!(code(&[absent, ("HF_HUB_CACHE", "HERE/a")]), 0);
    assert_eq!(code(&[absent, ("HUGGINGFACE_HUB_CACHE", "HERE/b")]), 0);
    assert_eq!(code(&[("HF_HUB_CACHE", "HERE/nowhere"), ("HUGGINGFACE_HUB_CACHE", "HERE/b")]), 1);
    assert_eq!(code(&[("HF_HOME", "$ROOM")]), 0);
    assert_eq!(code(&[("HF_HOME", "~/c"), ("HOME", "HERE")]), 0);
    assert_eq!(code(&[("XDG_CACHE_HOME", "HERE/d")]), 0);
    assert_eq!(code(&[("XDG_CACHE_HOME", "HERE/c"), ("HF_HOME", "HERE/c")]), 0);
}

#[test]
fn what_the_hub_does_not_have_or_would_pickle_is_refused() {
    let scene = Scene::new();
    let unreachable = hub(&scene, "evaluate --model owner/tiny --data eval.csv", ("X", "")).expect(1).stderr;
    assert!(unreachable.contains("fetching it from the Hugging Face hub failed"), "{unreachable}");
    let (endpoint, _) = serve(&scene.path("model"), &["config.json", "pytorch_model.bin"]);
    let pickled =
        hub(&scene, "evaluate --model owner/tiny --data eval.csv", ("HF_ENDPOINT", &endpoint)).expect(1).stderr;
    assert!(pickled.contains("pickles") && pickled.contains("save_pretrained"), "{pickled}");
}

#[test]
fn a_model_is_fetched_once_and_then_comes_from_the_cache() {
    let scene = Scene::new();
    let listed = ["config.json", "tokenizer.json", "model.safetensors", "pytorch_model.bin", "modeling.py"];
    let (endpoint, requests) = serve(&scene.path("model"), &listed);
    let words = "evaluate --model owner/tiny --data eval.csv --json";
    let expected = scene.rldp("evaluate --model model --data eval.csv --json").expect(0).stdout;
    assert_eq!(hub(&scene, words, ("HF_ENDPOINT", &endpoint)).expect(0).stdout, expected);
    let after_first = requests.load(Ordering::Relaxed);
    assert_eq!(hub(&scene, words, ("HF_ENDPOINT", &endpoint)).expect(0).stdout, expected);
    assert_eq!(requests.load(Ordering::Relaxed), after_first, "the second command asked the server again");
    let snapshot = scene.path("hf/hub/models--owner--tiny/snapshots").join(COMMIT);
    let mut found: Vec<String> =
        fs_err::read_dir(snapshot).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    assert_eq!(found, ["config.json", "model.safetensors", "tokenizer.json"], "neither pickle nor code");
}

#[test]
fn a_data_set_is_fetched_once_by_its_split() {
    let scene = Scene::new();
    scene
        .shell("mkdir set; cp train.csv set/train-0.csv; cp eval.csv set/validation.csv; cp eval.csv set/other.csv")
        .expect(0);
    let (endpoint, requests) =
        serve(&scene.path("set"), &["data/train-0.csv", "validation.csv", "other.csv", "README.md", "set.py"]);
    let named = |out: &str, name: &str| {
        let words = SMALL_RUN
            .replace("--train train.csv --eval eval.csv", &format!("--train {name} --eval {name} --out {out}"));
        format!("{} --controller fixed", words.replace("--steps 6", "--steps 1"))
    };
    hub(&scene, &named("run", "hf://datasets/owner/set"), ("HF_ENDPOINT", &endpoint)).expect(0);
    let after_first = requests.load(Ordering::Relaxed);
    hub(&scene, &named("again", "hf://datasets/owner/set@main"), ("HF_ENDPOINT", &endpoint)).expect(0);
    assert_eq!(requests.load(Ordering::Relaxed), after_first, "the second command asked the server again");
    let manifest = |run: &str| -> serde_json::Value {
        serde_json::from_str(&scene.read(&format!("{run}/manifest.json"))).unwrap()
    };
    assert_eq!(manifest("run")["units"], manifest("again")["units"]);
    let refused = |name: &str, reason: &str| {
        let said = hub(&scene, &named("no", name), ("HF_ENDPOINT", &endpoint)).expect(1).stderr;
        assert!(said.contains(reason), "{said}");
    };
    refused("hf://datasets/owner/set/other.parquet", "it has no file other.parquet");
    refused("hf://datasets/owner", "OWNER/NAME");
    let offline = hub(&scene, &named("no", "hf://datasets/owner/absent"), ("HF_HUB_OFFLINE", "1")).expect(1).stderr;
    assert!(offline.contains("--repo-type dataset owner/absent"), "{offline}");
}

/// A server that behaves like the hub for one repository; counts requests.
fn serve(folder: &Path, listed: &[&str]) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let files: Vec<String> = listed.iter().map(|name| format!(r#"{{"rfilename": "{name}"}}"#)).collect();
    let info = format!(r#"{{"siblings": [{}], "sha": "{COMMIT}"}}"#, files.join(", "));
    let (folder, requests) = (folder.to_owned(), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&requests);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            counter.fetch_add(1, Ordering::Relaxed);
            answer(stream.unwrap(), &folder, &info);
        }
    });
    (endpoint, requests)
}

fn answer(mut stream: TcpStream, folder: &Path, info: &str) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let path = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned();
    let range = lines.take_while(|line| !line.is_empty()).find_map(|line| {
        let bounds = line.to_ascii_lowercase().strip_prefix("range: bytes=")?.to_owned();
        let (from, to) = bounds.split_once('-')?;
        Some((from.parse::<usize>().ok()?, to.parse::<usize>().ok()))
    });
    if path.starts_with("/api/") {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}", info.len());
        let _ = stream.write_all(format!("{head}\r\nconnection: close\r\n\r\n{info}").as_bytes());
        return;
    }
    let name = path.rsplit('/').next().unwrap_or_default();
    let Ok(bytes) = fs_err::read(folder.join(name)) else {
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        return;
    };
    let (from, to) = range.unwrap_or((0, None));
    let to = to.unwrap_or(bytes.len() - 1).min(bytes.len() - 1);
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\netag: \"{name}\"\r\nx-repo-commit: {COMMIT}\r\ncontent-range: bytes {from}-{to}/{}\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        bytes.len(),
        to + 1 - from
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&bytes[from..=to]));
}
