//! Against files that PyTorch wrote (`tools/make_torch_fixtures.py`), and against hostile ones.

use std::io::Cursor;

use super::*;
use crate::hf::Weights;
use crate::hf::testing::fixture;

/// Little-endian bytes of the tensors in `golden.safetensors`, which the library reads.
#[test]
fn the_tensors_of_torch_save_are_read_bit_for_bit() {
    let bytes = std::fs::read(fixture("torch/golden.safetensors")).unwrap();
    let golden = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    for file in ["state_dict.bin", "plain_dict.bin"] {
        let weights = Weights::open_file(fixture("torch").join(file)).unwrap();
        let mut names = golden.names();
        names.sort_unstable();
        assert_eq!(weights.names().collect::<Vec<_>>(), names, "{file}");
        assert!(names.len() == 14);
        for (name, view) in golden.tensors() {
            let raw = weights.raw(&name).unwrap();
            assert_eq!((raw.dtype, &raw.shape[..]), (view.dtype(), view.shape()), "{file} {name}");
            assert_eq!(raw.bytes(), view.data(), "{file} {name}");
        }
    }
    // Also under a name that says nothing.
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("reward_head");
    std::fs::copy(fixture("torch/state_dict.bin"), &plain).unwrap();
    let weights = Weights::open_file(plain).unwrap();
    assert!(weights.tensor("half").unwrap().1.iter().all(|v| *v != 0.0));
    let message = weights.tensor("long").unwrap_err().to_string();
    assert!(message.ends_with("tensor `long` is I64; supported: F32, F16, BF16"), "{message}");
}

#[test]
fn other_files_of_torch_save_are_refused_with_the_reason() {
    for (file, expected) in [
        ("system.bin", "asks for `posix.system`"),
        ("module.bin", "asks for `torch.nn.modules.linear.Linear`"),
        ("legacy.bin", "before 1.6"),
        ("nested.bin", "tensor `epoch` is a number and no tensor; save the state dict alone"),
        ("deflated.bin", "compressed or encrypted"),
        ("float8.bin", "asks for `torch._utils._rebuild_tensor_v3`"),
    ] {
        let error = Weights::open_file(fixture("torch").join(file)).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(file) && message.contains(expected), "{message}");
    }
    assert!(!std::path::Path::new("OWNED").exists());
}

/// A zip archive of stored entries, its sizes in Zip64 fields where `wide`.
fn archive(entries: &[(&str, &[u8])], wide: bool) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in entries {
        let start = u32::try_from(file.len()).unwrap();
        let len = u32::try_from(data.len()).unwrap();
        let name_len = u16::try_from(name.len()).unwrap();
        file.extend(0x0403_4B50_u32.to_le_bytes());
        file.extend([0; 14]);
        file.extend(len.to_le_bytes());
        file.extend(len.to_le_bytes());
        file.extend(name_len.to_le_bytes());
        file.extend([0; 2]);
        file.extend(name.as_bytes());
        file.extend(*data);
        directory.extend(0x0201_4B50_u32.to_le_bytes());
        directory.extend([0; 16]);
        let short = |value: u32| if wide { u32::MAX } else { value }.to_le_bytes();
        directory.extend(short(len));
        directory.extend(short(len));
        directory.extend(name_len.to_le_bytes());
        directory.extend(if wide { 28_u16 } else { 0 }.to_le_bytes());
        directory.extend([0; 10]);
        directory.extend(short(start));
        directory.extend(name.as_bytes());
        if wide {
            directory.extend([1, 0, 24, 0]);
            for value in [len, len, start] {
                directory.extend(u64::from(value).to_le_bytes());
            }
        }
    }
    let (at, len) = (file.len() as u64, directory.len() as u64);
    let count = entries.len() as u64;
    file.extend(directory);
    if wide {
        let record = file.len() as u64;
        file.extend(0x0606_4B50_u32.to_le_bytes());
        file.extend(44_u64.to_le_bytes());
        file.extend([0; 12]);
        for value in [count, count, len, at] {
            file.extend(value.to_le_bytes());
        }
        file.extend(0x0706_4B50_u32.to_le_bytes());
        file.extend([0; 4]);
        file.extend(record.to_le_bytes());
        file.extend(1_u32.to_le_bytes());
    }
    file.extend(0x0605_4B50_u32.to_le_bytes());
    file.extend([0; 4]);
    let short = |value: u64| if wide { u16::MAX } else { u16::try_from(value).unwrap() };
    file.extend(short(count).to_le_bytes());
    file.extend(short(count).to_le_bytes());
    for value in [len, at] {
        let value = if wide { u32::MAX } else { u32::try_from(value).unwrap() };
        file.extend(value.to_le_bytes());
    }
    file.extend([0; 2]);
    file
}

fn read(bytes: &[u8]) -> Result<Vec<Stored>, String> {
    read_state_dict(&mut Cursor::new(bytes), bytes.len() as u64).map_err(|fault| match fault {
        Fault::Torch(error) => error.to_string(),
        other => format!("{other:?}"),
    })
}

/// `archive/data.pkl` and storage `0` of 24 bytes.
fn with_pickle(program: &[u8]) -> Vec<u8> {
    archive(&[("archive/data.pkl", program), ("archive/data/0", &[7; 24])], false)
}

/// `{name: tensor}` of six floats, with these sizes and strides.
fn tensor(elements: i32, offset: i32, shape: &[i32], strides: &[i32]) -> Vec<u8> {
    let int = |value: i32| [vec![b'J'], value.to_le_bytes().to_vec()].concat();
    let ints =
        |list: &[i32]| [b"(".to_vec(), list.iter().flat_map(|v| int(*v)).collect(), b"t".to_vec()];
    [
        b"\x80\x02}X\x01\0\0\0xctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
        b"X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpu".to_vec(),
        int(elements),
        b"tQ".to_vec(),
        int(offset),
        ints(shape).concat(),
        ints(strides).concat(),
        b"\x89ccollections\nOrderedDict\n)RtRs.".to_vec(),
    ]
    .concat()
}

#[test]
fn views_lie_where_their_strides_say() {
    let found = read(&with_pickle(&tensor(6, 0, &[2, 3], &[3, 1]))).unwrap();
    assert_eq!((found[0].name.as_str(), found[0].len, &found[0].strides), ("x", 24, &None));
    // A column: elements 1, 3 and 5 of six.
    let found = read(&with_pickle(&tensor(6, 1, &[3, 1], &[2, 1]))).unwrap();
    assert_eq!((found[0].len, &found[0].strides), (20, &Some(vec![2, 1])));
    // One row: its stride across rows says nothing.
    let found = read(&with_pickle(&tensor(6, 2, &[1, 4], &[999, 1]))).unwrap();
    assert_eq!((found[0].len, &found[0].strides), (16, &None));
    // No element, beside axes whose product no number holds.
    let (shape, strides) = ([0, i32::MAX, i32::MAX, i32::MAX], [0, 0, i32::MAX, 1]);
    let found = read(&with_pickle(&tensor(6, 0, &shape, &strides))).unwrap();
    assert_eq!((found[0].len, &found[0].strides), (0, &None));
}

#[test]
fn tensors_that_do_not_fit_their_storage_are_refused() {
    for (program, expected) in [
        (tensor(6, 0, &[7], &[1]), "past the 6 elements"),
        (tensor(6, 1, &[6], &[1]), "past the 6 elements"),
        (tensor(6, 0, &[2, 3], &[4, 1]), "past the 6 elements"),
        (tensor(6, i32::MAX, &[1], &[1]), "past the 6 elements"),
        (tensor(7, 0, &[7], &[1]), "storage of 7 elements of 4 bytes, but the file holds 24"),
        (tensor(i32::MAX, 0, &[1], &[1]), "but the file holds 24 bytes"),
        (tensor(-1, 0, &[1], &[1]), "names no storage"),
        (tensor(6, -1, &[1], &[1]), "wrong arguments for RebuildTensor"),
        (tensor(6, 0, &[-1], &[1]), "wrong arguments for RebuildTensor"),
        (tensor(6, 5, &[2], &[-1]), "wrong arguments for RebuildTensor"),
        (tensor(6, 0, &[2, 2], &[1]), "wrong arguments for RebuildTensor"),
        (tensor(6, 0, &[1; 9], &[1; 9]), "wrong arguments for RebuildTensor"),
        // A stride of zero makes a huge tensor out of one element.
        (tensor(6, 0, &[i32::MAX], &[0]), "repeats the 6 elements of its storage"),
        (tensor(6, 0, &[i32::MAX; 3], &[0; 3]), "a shape that no file holds"),
        (tensor(6, 0, &[i32::MAX; 2], &[i32::MAX; 2]), "past the 6 elements"),
    ] {
        let message = read(&with_pickle(&program)).unwrap_err();
        assert!(message.contains(expected), "{message}");
    }
    let elsewhere = tensor(6, 0, &[6], &[1]);
    let message = read(&archive(&[("archive/data.pkl", &elsewhere)], false)).unwrap_err();
    assert!(message.contains("storage \"0\", which the file does not hold"), "{message}");
}

#[test]
fn pickles_that_are_no_state_dict_are_refused() {
    let repeated = |part: &[u8], times: usize| part.repeat(times);
    for (program, expected) in [
        (b"".to_vec(), "broken at byte 0: it is cut off"),
        (b"\x80\x02.".to_vec(), "more values than there are"),
        (b"\x80\x02N.".to_vec(), "holds None, not a dict of tensors"),
        (b"\x80\x02}X\xFF\xFF\xFF\xFFx".to_vec(), "cut off"),
        (b"\x80\x02cos\nsystem\n(X\x02\0\0\0lstR.".to_vec(), "asks for `os.system`"),
        (b"\x80\x02c__builtin__\neval\n.".to_vec(), "asks for `__builtin__.eval`"),
        (b"\x80\x02ctorch\nload\n.".to_vec(), "asks for `torch.load`"),
        (b"\x80\x02ctorch\nUntypedStorage\n.".to_vec(), "asks for `torch.UntypedStorage`"),
        (b"\x80\x02c\x1b[2J\n\x07\n.".to_vec(), r"asks for `\u{1b}[2J.\u{7}`"),
        (b"\x80\x04\x95\0\0\0\0\0\0\0\0}.".to_vec(), "instruction 0x95 at byte 2"),
        (b"\x80\x02]".to_vec(), "instruction 0x5d at byte 2"),
        (b"\x80\x02\x81.".to_vec(), "instruction 0x81 at byte 2"),
        (b"\x80\x02ccollections\nOrderedDict\n}R.".to_vec(), "it calls a class or function"),
        (b"\x80\x02}h\x05.".to_vec(), "recalls value 5"),
        (b"\x80\x02q\0.".to_vec(), "remembers a value that is not there"),
        (b"\x80\x02t.".to_vec(), "goes back to a mark that is not there"),
        (b"\x80\x02}((t0".to_vec(), "instruction 0x30"),
        (b"\x80\x02}NNs.".to_vec(), "a key is None and no string"),
        (b"\x80\x02}(X\x01\0\0\0xu.".to_vec(), "a key has no value"),
        (b"\x80\x02NNNs.".to_vec(), "something else than a dict"),
        (b"\x80\x02NNb.".to_vec(), "attributes are set on something else"),
        (b"\x80\x02}(NNu".to_vec(), "a key is None"),
        (b"\x80\x02NQ.".to_vec(), "names no storage"),
        (b"\x80\x02\x8A\x09\0\0\0\0\0\0\0\0\x01.".to_vec(), "a number of 9 bytes"),
        // Deep recursion: a million tuples in each other.
        ([b"\x80\x02)".to_vec(), repeated(b"\x85", 1 << 20)].concat(), "4 levels of tuples"),
        ([b"\x80\x02".to_vec(), repeated(b"(", 1 << 20)].concat(), "524288 values"),
        ([b"\x80\x02".to_vec(), repeated(b"N", 1 << 20)].concat(), "524288 values"),
        ([b"\x80\x02".to_vec(), repeated(b")", 1 << 20)].concat(), "524288 values"),
        // Doubles with every step where values are copied, not shared.
        ([b"\x80\x02Nq\0".to_vec(), repeated(b"h\0h\0\x86q\0", 40)].concat(), "levels of tuples"),
        // A dict that holds itself.
        (b"\x80\x02}q\0X\x01\0\0\0xh\0s.".to_vec(), "tensor `x` is a dict and no tensor"),
    ] {
        let message = read(&with_pickle(&program)).unwrap_err();
        assert!(message.contains(expected), "{expected:?} not in {message:?}");
    }
    let long = vec![0; usize::try_from(MAX_PICKLE).unwrap() + 1];
    assert!(read(&with_pickle(&long)).unwrap_err().contains("at most 16777216 are read"));
}

/// An archive with the little-endian `value` put over the bytes `at` before its end.
fn patched(at: usize, value: &[u8]) -> Vec<u8> {
    let mut bytes = with_pickle(&tensor(6, 0, &[6], &[1]));
    let from = bytes.len() - at;
    bytes[from..from + value.len()].copy_from_slice(value);
    bytes
}

#[test]
fn archives_that_lie_are_refused() {
    let pickle = &tensor(6, 0, &[6], &[1])[..];
    let storage = &[7; 24][..];
    let whole = with_pickle(pickle);
    for (bytes, expected) in [
        (Vec::new(), "no zip archive"),
        (b"PK\x03\x04".to_vec(), "no zip archive"),
        (whole[..whole.len() - 1].to_vec(), "no zip archive, or one that was cut off"),
        (whole[whole.len() / 2..].to_vec(), "outside of the file"),
        (b"\x80\x02\x8A\x0A".to_vec(), "before 1.6"),
        // The end record: start, length and entries of the directory.
        (patched(6, &u32::MAX.to_le_bytes()), "Zip64 record is broken"),
        (patched(6, &0x7FFF_FFFF_u32.to_le_bytes()), "outside of the file"),
        (patched(10, &0x7FFF_FFFF_u32.to_le_bytes()), "outside of the file"),
        (patched(10, &3_u32.to_le_bytes()), "directory is cut off"),
        (patched(18, &[1]), "in several parts"),
        // The last entry of the directory: start, lengths, method.
        (patched(22 + 14 + 4, &0x7FFF_FFFF_u32.to_le_bytes()), "outside of the file"),
        (patched(22 + 14 + 4, &1_u32.to_le_bytes()), "has no header of its own"),
        (patched(22 + 14 + 4, &0_u32.to_le_bytes()), "another name in its own header"),
        (patched(22 + 14 + 26, &0x7FFF_FFFF_u32.to_le_bytes()), "has two sizes"),
        (patched(22 + 14 + 36, &[8]), "compressed or encrypted"),
        (patched(22 + 14 + 38, &[1]), "compressed or encrypted"),
        (archive(&[("archive/data/0", storage)], false), "no data.pkl"),
        (archive(&[("data.pkl", pickle)], false), "no data.pkl"),
        (archive(&[("a/data.pkl", pickle), ("b/data.pkl", pickle)], false), "more than one"),
        (archive(&[("a/x", pickle), ("a/x", pickle)], false), "stands twice"),
        (archive(&[("a/data.pkl", pickle), ("a/byteorder", b"big")], false), "little-endian"),
        (archive(&[("a/data.pkl", pickle), ("a/data/0", &[7; 23])], true), "the file holds 23"),
    ] {
        let message = read(&bytes).unwrap_err();
        assert!(message.contains(expected), "{expected:?} not in {message:?}");
    }
}

#[test]
fn zip64_archives_are_read() {
    let pickle = tensor(6, 2, &[4], &[1]);
    let entries = [("a/data.pkl", &pickle[..]), ("a/data/0", &[7; 24][..])];
    let (plain, wide) = (archive(&entries, false), archive(&entries, true));
    let (plain, wide) = (read(&plain).unwrap(), read(&wide).unwrap());
    assert_eq!((plain[0].start, plain[0].len), (wide[0].start, wide[0].len));
}

#[test]
fn overlapping_entries_are_refused() {
    let pickle = tensor(6, 0, &[6], &[1]);
    let mut bytes = archive(&[("a/data.pkl", &pickle), ("a/data/0", &[7; 24])], false);
    // The directory says that the pickle is longer than it is, into the entry after it.
    let directory = bytes.windows(4).position(|w| w == [0x50, 0x4B, 1, 2]).unwrap();
    let longer = u32::try_from(pickle.len() + 50).unwrap().to_le_bytes();
    bytes[directory + 20..directory + 24].copy_from_slice(&longer);
    bytes[directory + 24..directory + 28].copy_from_slice(&longer);
    assert!(read(&bytes).unwrap_err().contains("overlap"));
}
