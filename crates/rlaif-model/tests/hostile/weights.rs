//! Weights: headers, shards, indices, pickles.

use serde_json::json;

use crate::support::{Case, case, fixture, header, replace, rewrite, set, write};

const WHOLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const SHARD: &str = "model-00002-of-00004.safetensors";
const BIN: &str = "pytorch_model-00001-of-00002.bin";
const BIN_INDEX: &str = "pytorch_model.bin.index.json";
const NORM: &str = "language_model.model.norm.weight";

/// A case on the header's text of the whole file.
fn in_header(
    name: &'static str,
    expected: &'static [&'static str],
    change: impl Fn(String) -> String + 'static,
) -> Case {
    case(name, "llava-a", expected, move |folder| header(folder, WHOLE, &change))
}

/// Replaces the first occurrence after the norm's name.
fn at_norm(header: &str, from: &str, to: &str) -> String {
    let (before, after) = header.split_once(NORM).expect("the norm is there");
    assert!(after.contains(from), "no {from}");
    format!("{before}{NORM}{}", after.replacen(from, to, 1))
}

fn length(value: u64) -> impl Fn(&std::path::Path) + 'static {
    move |folder| {
        rewrite(folder, WHOLE, |mut bytes| {
            bytes[..8].copy_from_slice(&value.to_le_bytes());
            bytes
        });
    }
}

fn safetensors() -> Vec<Case> {
    vec![
        case("data cut off", "llava-a", &[WHOLE, "cut off"], |folder| {
            rewrite(folder, WHOLE, |bytes| bytes[..bytes.len() - 7].to_vec());
        }),
        case("header cut off", "llava-a", &[WHOLE, "does not fit in"], |folder| {
            rewrite(folder, WHOLE, |bytes| bytes[..100].to_vec());
        }),
        case("empty file", "llava-a", &[WHOLE, "0 bytes"], |folder| write(folder, WHOLE, "")),
        case("header length 2^64 - 1", "llava-a", &[WHOLE, "does not fit in"], length(u64::MAX)),
        case("header length 2^40", "llava-a", &[WHOLE, "does not fit in"], length(1 << 40)),
        case("header length 0", "llava-a", &[WHOLE, "header is broken"], length(0)),
        case("header length 50", "llava-a", &[WHOLE, "header is broken"], length(50)),
        case("a long header", "llava-a", &[WHOLE, "at most 33554432"], |folder| {
            header(folder, WHOLE, |header| header + &" ".repeat(33 << 20));
        }),
        in_header("negative offset", &[WHOLE, NORM, "invalid value: integer `-1`"], |header| {
            at_norm(&header, "\"data_offsets\":[", "\"data_offsets\":[-1,")
        }),
        in_header("overlapping tensors", &[WHOLE, "begins at"], |header| {
            at_norm(&header, "\"data_offsets\":[", "\"data_offsets\":[1")
        }),
        in_header("offsets past the end", &[WHOLE, "begins at"], |header| {
            at_norm(&header, "\"data_offsets\":[", "\"data_offsets\":[9999999999")
        }),
        in_header("shape of 2^60", &[WHOLE, NORM, "a shape that no file holds"], |header| {
            at_norm(&header, "[24]", "[1152921504606846976]")
        }),
        in_header("shape of 2^120", &[WHOLE, NORM, "a shape that no file holds"], |header| {
            at_norm(&header, "[24]", "[1152921504606846976,1152921504606846976]")
        }),
        in_header("shape of 1e400", &[WHOLE, NORM, "number out of range"], |header| {
            at_norm(&header, "[24]", "[1e400]")
        }),
        in_header("shape of a thousand axes", &[WHOLE, NORM, "at most 8 sizes"], |header| {
            at_norm(&header, "[24]", &format!("[24{}]", ",1".repeat(1000)))
        }),
        in_header("unknown format", &[WHOLE, NORM, "unknown variant `FLOAT`"], |header| {
            at_norm(&header, "\"F32\"", "\"FLOAT\"")
        }),
        in_header("whole numbers", &[WHOLE, NORM, "is I32; supported: F32"], |header| {
            at_norm(&header, "\"F32\"", "\"I32\"")
        }),
        in_header("a name twice", &[WHOLE, "stands twice"], |header| {
            header.replace("multi_modal_projector.linear_2.bias", NORM)
        }),
        in_header(
            "a tensor under two names",
            &[WHOLE, "the same tensor in two layouts"],
            |header| header.replace("multi_modal_projector.linear_2.bias", "model.norm.weight"),
        ),
        in_header("deep nesting", &[WHOLE, "header is broken"], |header| {
            header.replacen('{', &format!("{{\"x\":{}", "[".repeat(1_000_000)), 1)
        }),
        in_header("not JSON", &[WHOLE, "header is broken"], |header| header.replace(':', ";")),
        in_header(
            "other names",
            &["missing: language_model.model.norm.weight", "unknown: x"],
            |h| h.replace(NORM, "x"),
        ),
        case("a folder for a file", "llava-a", &[WHOLE, "not a regular file"], |folder| {
            std::fs::remove_file(folder.join(WHOLE)).expect("the file");
            std::fs::create_dir(folder.join(WHOLE)).expect("a folder");
        }),
        #[cfg(unix)]
        case("a pipe for a file", "llava-a", &["config.json", "not a regular file"], |folder| {
            std::fs::remove_file(folder.join("config.json")).expect("the file");
            let mut mkfifo = std::process::Command::new("mkfifo");
            assert!(mkfifo.arg(folder.join("config.json")).status().expect("mkfifo").success());
        }),
        #[cfg(unix)]
        case("a device for a file", "llava-a", &["config.json", "not a regular file"], |folder| {
            std::fs::remove_file(folder.join("config.json")).expect("the file");
            std::os::unix::fs::symlink("/dev/zero", folder.join("config.json")).expect("a link");
        }),
    ]
}

/// A case on the shard that the index names for the norm.
fn in_index(name: &'static str, expected: &'static [&'static str], shard: &'static str) -> Case {
    case(name, "llava-b", expected, move |folder| {
        set(folder, INDEX, &format!("/weight_map/{NORM}"), json!(shard));
    })
}

fn indices() -> Vec<Case> {
    vec![
        in_index("index names itself", &[INDEX, "expected the name of a .safetensors"], INDEX),
        in_index("index leads out", &[INDEX, "a .safetensors file in this"], "../x.safetensors"),
        in_index("index with a root", &[INDEX, "a .safetensors file in"], "/etc/x.safetensors"),
        in_index("index names config", &[INDEX, "a .safetensors file in"], "config.json"),
        in_index("shard is not there", &["x.safetensors", "cannot read"], "x.safetensors"),
        in_index("tensor in another shard", &[INDEX, "where the index says it is"], SHARD),
        case("index names a tensor twice", "llava-b", &[INDEX, "twice"], |folder| {
            let twice = format!("\"weight_map\": {{\"{NORM}\": \"{SHARD}\",");
            replace(folder, INDEX, "\"weight_map\": {", &twice);
        }),
        case("index of lists", "llava-b", &[INDEX, "an object from tensors"], |folder| {
            set(folder, INDEX, "/weight_map", json!([1, 2]));
        }),
        case("index of numbers", "llava-b", &[INDEX, "invalid type: integer"], |folder| {
            set(folder, INDEX, &format!("/weight_map/{NORM}"), json!(7));
        }),
        case("index of nothing", "llava-b", &[INDEX, "names no tensor"], |folder| {
            set(folder, INDEX, "/weight_map", json!({}));
        }),
        case("index without end", "llava-b", &[INDEX, "more than 8388608"], |folder| {
            rewrite(folder, INDEX, |bytes| [bytes, vec![b' '; 9 << 20]].concat());
        }),
        case("index cut off", "llava-b", &[INDEX, "not valid JSON"], |folder| {
            rewrite(folder, INDEX, |bytes| bytes[..200].to_vec());
        }),
        #[cfg(unix)]
        case("shards that link to each other", "llava-b", &[SHARD, "symbolic link"], |folder| {
            std::fs::remove_file(folder.join(SHARD)).expect("the file");
            for (from, to) in [(SHARD, "loop"), ("loop", SHARD)] {
                std::os::unix::fs::symlink(from, folder.join(to)).expect("a link");
            }
        }),
        case(
            "one shard under two names",
            "llava-b",
            &["the same tensor in two layouts"],
            |folder| {
                std::fs::copy(folder.join(SHARD), folder.join("x.safetensors")).expect("a copy");
                let more = "\"weight_map\": {\"x\": \"x.safetensors\",";
                replace(folder, INDEX, "\"weight_map\": {", more);
            },
        ),
        case("nothing", "llava-b", &["no weights", "is this a checkpoint folder?"], |folder| {
            std::fs::remove_file(folder.join(INDEX)).expect("the file");
        }),
    ]
}

/// A case on a byte string of the first shard; the same length, so that nothing else is wrong.
fn in_pickle(
    name: &'static str,
    expected: &'static [&'static str],
    from: &'static [u8],
    to: &'static [u8],
) -> Case {
    case(name, "llava-original-a", expected, move |folder| {
        rewrite(folder, BIN, |mut bytes| {
            let at = bytes.windows(from.len()).position(|part| part == from).expect("it is there");
            bytes[at..at + to.len()].copy_from_slice(to);
            bytes
        });
    })
}

/// Puts a file of the torch fixtures in the place of a shard.
fn foreign(name: &'static str, expected: &'static [&'static str], file: &'static str) -> Case {
    case(name, "llava-original-a", expected, move |folder| {
        std::fs::copy(fixture("torch").join(file), folder.join(BIN)).expect("a copy");
    })
}

fn torch() -> Vec<Case> {
    vec![
        foreign("a pickle that runs a command", &[BIN, "asks for `posix.system`"], "system.bin"),
        foreign("a whole module", &[BIN, "asks for `torch.nn.modules"], "module.bin"),
        foreign("the old format", &[BIN, "before 1.6"], "legacy.bin"),
        foreign("a compressed archive", &[BIN, "compressed"], "deflated.bin"),
        foreign("a training checkpoint", &[BIN, "tensor `epoch` is a number"], "nested.bin"),
        foreign("other tensors", &[BIN_INDEX, "is not in", BIN], "state_dict.bin"),
        foreign("safetensors by another name", &[BIN, "no zip archive"], "golden.safetensors"),
        case("archive cut off", "llava-original-a", &[BIN, "cut off"], |folder| {
            rewrite(folder, BIN, |bytes| bytes[..bytes.len() / 2].to_vec());
        }),
        case("index of PyTorch leads out", "llava-original-a", &[BIN_INDEX, "a .bin"], |folder| {
            set(folder, BIN_INDEX, "/weight_map/model.norm.weight", json!("../x.bin"));
        }),
        in_pickle(
            "another function",
            &[BIN, "asks for `torch._utils._rebuild_tensor_v9`"],
            b"_rebuild_tensor_v2",
            b"_rebuild_tensor_v9",
        ),
        in_pickle("another opcode", &[BIN, "instruction 0x69"], b"\x80\x02}q", b"\x80\x02i"),
        in_pickle(
            "another storage",
            &[BIN, "which the file does not hold"],
            b"X\x01\0\0\x000",
            b"X\x01\0\0\0?",
        ),
        case("no projector", "llava-original-b", &["mm_projector.bin", "no zip"], |folder| {
            write(folder, "mm_projector.bin", "junk");
        }),
        case(
            "a tower of another size",
            "llava-original-b",
            &["shape of vision_tower."],
            |folder| {
                let file = "clip-tiny-b/config.json";
                set(folder, file, "/vision_config/intermediate_size", json!(1 << 19));
            },
        ),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    safetensors().into_iter().chain(indices()).chain(torch()).collect()
}
