use super::*;

#[test]
fn names_on_the_hub_are_told_from_paths() {
    for name in
        ["llava-hf/llava-1.5-7b-hf", "Qwen/Qwen2.5-VL-3B-Instruct", "a/b@main", "a/b@refs/pr/1"]
    {
        assert!(is_name(name), "{name}");
    }
    for path in [
        "nowhere", "a/b/c", "/a/b", "./a", "../a", "~/a", "a/", "/a", "a/..", "a/.b", "a/b@",
        "a/b@../x", "a/b@/x", "a/b@x//y", "a/b c", "a/b?c", "a/b#c", "a/b--c", "a/b%2e", "-a/b",
        "a/b@x\n", "a\\b/c",
    ] {
        assert!(!is_name(path), "{path}");
    }
}

mod server;

use std::collections::BTreeMap;

use burn::tensor::Device;
use server::{COMMIT, Served, Server, sha256};

use crate::folder::Folder;

const TOKEN: &str = "hf_verysecret";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../rlaif-model/tests/fixtures").join(name)
}

/// A checkpoint in four shards, with files beside it that are not read.
fn checkpoint() -> Served {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(fixture("llava-b")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            files.insert(name, std::fs::read(path).unwrap());
        }
    }
    files.insert("README.md".to_owned(), b"read me".to_vec());
    let large = files.keys().filter(|name| name.ends_with(".safetensors")).cloned().collect();
    Served { files, large, ..Served::default() }
}

fn hub(server: &Server, cache: &Path) -> Hub {
    Hub {
        cache: cache.to_owned(),
        endpoint: server.address.clone(),
        token: Token::new(TOKEN),
        offline: false,
    }
}

fn refused(hub: &Hub, model: &str) -> String {
    let error = format!("{:#}", hub.resolve(model, None).unwrap_err());
    assert!(!error.contains(TOKEN), "{error}");
    assert!(!format!("{hub:?}").contains(TOKEN));
    error
}

const SHARD: &str = "model-00002-of-00004.safetensors";

#[test]
fn a_model_is_fetched_once_and_opens() {
    let (server, cache) = (Server::start(checkpoint()), tempfile::tempdir().unwrap());
    let hub = hub(&server, cache.path());
    let folder = hub.resolve("org/name", None).unwrap();
    let root = cache.path().join("models--org--name");
    assert_eq!(folder, root.join("snapshots").join(COMMIT));
    assert_eq!(std::fs::read_to_string(root.join("refs/main")).unwrap(), COMMIT);
    let opened = Folder::open(&folder, &Device::flex()).unwrap();
    let here = Folder::open(&fixture("llava-b"), &Device::flex()).unwrap();
    assert_eq!(
        crate::folder::tower_digest(&opened.model),
        crate::folder::tower_digest(&here.model)
    );
    // Nothing that is not read, and blobs as Python's library names them.
    for name in ["README.md", "golden.safetensors", "golden.json"] {
        assert!(!folder.join(name).exists(), "{name}");
        assert!(server.requests().iter().all(|request| !request.path.ends_with(name)));
    }
    let shard = std::fs::read(fixture("llava-b").join(SHARD)).unwrap();
    assert_eq!(std::fs::read(root.join("blobs").join(sha256(&shard))).unwrap(), shard);
    #[cfg(unix)]
    assert_eq!(
        std::fs::read_link(folder.join(SHARD)).unwrap(),
        Path::new("../../blobs").join(sha256(&shard))
    );
    // The token goes to the hub, and not to where large files lie.
    let requests = server.requests();
    assert!(requests.iter().any(|request| request.elsewhere));
    for request in &requests {
        let expected = (!request.elsewhere).then(|| format!("Bearer {TOKEN}"));
        assert_eq!(request.token, expected, "{request:?}");
    }
    // Whole in the cache, it is used without a request, by branch or by commit, offline too.
    for offline in [false, true] {
        let hub = Hub { offline, ..hub.clone() };
        assert_eq!(hub.resolve("org/name", None).unwrap(), folder);
        assert_eq!(hub.resolve(&format!("org/name@{COMMIT}"), None).unwrap(), folder);
        assert_eq!(hub.resolve("org/name", Some(COMMIT)).unwrap(), folder);
    }
    assert_eq!(server.requests().len(), requests.len());
    // What is fetched for another branch is linked to the same blobs.
    hub.resolve("org/name@refs/pr/1", None).unwrap();
    assert_eq!(std::fs::read_to_string(root.join("refs/refs/pr/1")).unwrap(), COMMIT);
    assert!(server.requests()[requests.len()].path.ends_with("/revision/refs%2Fpr%2F1"));
    assert_eq!(server.requests().len(), requests.len() + 1);
}

#[test]
fn a_folder_is_taken_before_a_name_and_a_renamed_repository_is_found() {
    let (server, cache) = (Server::start(checkpoint()), tempfile::tempdir().unwrap());
    let hub = hub(&server, cache.path());
    let local = cache.path().to_str().unwrap();
    assert_eq!(hub.resolve(local, None).unwrap(), cache.path());
    assert!(server.requests().is_empty());
    // An old name redirects to the new one, on the same host: the token goes along.
    let folder = hub.resolve("old/name", None).unwrap();
    assert!(folder.starts_with(cache.path().join("models--old--name")));
    let requests = server.requests();
    let renamed = |r: &&server::Request| !r.elsewhere && r.path.contains("org/name");
    assert!(requests.iter().filter(renamed).count() > 10);
    assert!(requests.iter().filter(renamed).all(|request| request.token.is_some()));
}

#[test]
fn an_interrupted_download_goes_on_where_it_stopped() {
    for rangeless in [false, true] {
        let cut = BTreeMap::from([(SHARD.to_owned(), (1000, 2))]);
        let server = Server::start(Served { cut, rangeless, ..checkpoint() });
        let cache = tempfile::tempdir().unwrap();
        let folder = hub(&server, cache.path()).resolve("org/name", None).unwrap();
        assert_eq!(
            std::fs::read(folder.join(SHARD)).unwrap(),
            std::fs::read(fixture("llava-b").join(SHARD)).unwrap()
        );
        let requests = server.requests();
        let ranges: Vec<Option<u64>> = requests
            .iter()
            .filter(|request| request.elsewhere && request.path.ends_with(SHARD))
            .map(|request| request.range)
            .collect();
        let second = if rangeless { 1000 } else { 2000 };
        assert_eq!(ranges, [None, Some(1000), Some(second)]);
    }
}

#[test]
fn what_came_is_kept_for_the_next_time() {
    let cut = BTreeMap::from([(SHARD.to_owned(), (0, usize::MAX))]);
    let server = Server::start(Served { cut, ..checkpoint() });
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(&server, cache.path());
    let error = refused(&hub, "org/name");
    assert!(error.contains("the cache lacks its model-00002-of-00004"), "{error}");
    // Offline now, the message names what is missing.
    let offline = Hub { offline: true, ..hub.clone() };
    let error = refused(&offline, "org/name");
    assert!(error.contains(SHARD) && error.contains("HF_HUB_OFFLINE"), "{error}");
    assert!(!error.contains("model-00001-of-00004"), "{error}");
    // A part that an earlier run left is continued.
    let whole = std::fs::read(fixture("llava-b").join(SHARD)).unwrap();
    let part = format!("models--org--name/blobs/{}.incomplete", sha256(&whole));
    std::fs::write(cache.path().join(part), &whole[..700]).unwrap();
    server.change(|served| served.cut.clear());
    let folder = hub.resolve("org/name", None).unwrap();
    assert_eq!(std::fs::read(folder.join(SHARD)).unwrap(), whole);
    assert!(server.requests().iter().any(|r| r.range == Some(700) && r.path.ends_with(SHARD)));
}

#[test]
fn a_snapshot_without_its_processor_is_completed() {
    // As a program leaves it that asks for the tokenizer and the weights alone.
    let (server, cache) = (Server::start(checkpoint()), tempfile::tempdir().unwrap());
    let hub = hub(&server, cache.path());
    let folder = hub.resolve("org/name", None).unwrap();
    for name in ["preprocessor_config.json", "processor_config.json"] {
        let _ = std::fs::remove_file(folder.join(name));
    }
    let error = refused(&Hub { offline: true, ..hub.clone() }, "org/name");
    assert!(error.contains("preprocessor_config.json"), "{error}");
    hub.resolve("org/name", None).unwrap();
    Folder::open(&folder, &Device::flex()).unwrap();
}

#[test]
fn a_file_that_is_not_what_the_hub_says_is_thrown_away() {
    let server = Server::start(checkpoint());
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(&server, cache.path());
    server.change(|served| served.etag = Some("a".repeat(64)));
    let error = refused(&hub, "org/name");
    assert!(error.contains("SHA-256"), "{error}");
    let blobs = cache.path().join("models--org--name/blobs");
    assert_eq!(std::fs::read_dir(blobs).unwrap().count(), 0);
    server.change(|served| served.etag = None);
    hub.resolve("org/name", None).unwrap();
}

#[test]
fn refusals_say_what_to_do_and_never_the_token() {
    for (status, part) in [
        (401, "set HF_TOKEN"),
        (403, "Accept its conditions"),
        (404, "no such model"),
        (500, "HTTP 500"),
    ] {
        let served = Served { status: Some(status), echo: Some(TOKEN.to_owned()), ..checkpoint() };
        let server = Server::start(served);
        let cache = tempfile::tempdir().unwrap();
        let error = refused(&hub(&server, cache.path()), "org/name@v1");
        let folder = cache.path().join("models--org--name/snapshots/<commit>");
        for part in [
            part,
            "`org/name`",
            "`hf download org/name --revision v1`",
            folder.to_str().unwrap(),
            "config.json, model.safetensors",
        ] {
            assert!(error.contains(part), "{status}: `{part}` in: {error}");
        }
        assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 0, "nothing is left behind");
    }
}

#[test]
fn without_a_network_the_message_says_what_to_fetch() {
    let cache = tempfile::tempdir().unwrap();
    // A port that nobody listens on.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut hub = Hub {
        cache: cache.path().to_owned(),
        endpoint: format!("http://{closed}"),
        token: Token::new("hf_bad\ntoken"),
        offline: false,
    };
    for (offline, part) in [(false, "no answer from the hub"), (true, "HF_HUB_OFFLINE is set")] {
        hub.offline = offline;
        let error = refused(&hub, "org/name");
        for part in [part, "it is not in the cache", "`hf download org/name`"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(!error.contains("hf_bad"), "{error}");
        hub.token = Token::new(TOKEN);
    }
    let error = refused(&hub, "nowhere");
    assert!(error.contains("`nowhere` is no checkpoint folder"), "{error}");
}

#[test]
fn hostile_repositories_write_nothing_outside_the_cache() {
    let inside = |server: &Server| {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("a/b/cache");
        std::fs::create_dir_all(&cache).unwrap();
        let result = hub(server, &cache).resolve("org/name", None);
        let outside: Vec<_> = ["", "a", "a/b"]
            .iter()
            .flat_map(|at| std::fs::read_dir(folder.path().join(at)).unwrap())
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert!(outside.iter().all(|name| ["a", "b", "cache"].contains(&name.as_str())));
        result.map_err(|error| format!("{error:#}"))
    };
    let mut served = checkpoint();
    served.listed = vec!["../../x".to_owned(), "/etc/x".to_owned(), "../../config.json".to_owned()];
    inside(&Server::start(served)).unwrap();

    let mut served = checkpoint();
    let index = r#"{"weight_map": {"x": "../../../../x.safetensors"}}"#;
    served.files.insert("model.safetensors.index.json".to_owned(), index.into());
    let error = inside(&Server::start(served)).unwrap_err();
    assert!(error.contains("`weight_map.x` is not a file name"), "{error}");

    let mut served = checkpoint();
    let index = r#"{"weight_map": {"x": "unlisted.safetensors"}}"#;
    served.files.insert("model.safetensors.index.json".to_owned(), index.into());
    let error = inside(&Server::start(served)).unwrap_err();
    assert!(error.contains("`unlisted.safetensors`, which is not in the repository"), "{error}");

    let error =
        inside(&Server::start(Served { commit: Some("../../../../x".to_owned()), ..checkpoint() }));
    assert!(error.unwrap_err().contains("names no commit"));
    let error = inside(&Server::start(Served { etag: Some("../../x".to_owned()), ..checkpoint() }));
    assert!(error.unwrap_err().contains("which version of a file"));

    let mut served = checkpoint();
    served.files.remove("config.json");
    let error = inside(&Server::start(served)).unwrap_err();
    assert!(error.contains("its repository has no config.json"), "{error}");
}
