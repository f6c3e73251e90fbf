use super::*;
use crate::hf::testing::fixture;
use crate::hf::{ModelConfig, WeightFormat, expected_tensors, write_weights};

#[test]
fn whole_and_sharded_checkpoints_of_transformers_fit_their_configuration() {
    for (name, files) in [("llava-a", 1), ("llava-b", 4)] {
        let weights = Weights::open(fixture(name)).unwrap();
        assert_eq!(weights.files.len(), files);
        let config = ModelConfig::open(fixture(name)).unwrap();
        weights.check(&expected_tensors(&config)).unwrap();
        // Same bytes as the library reads.
        let stored = "multi_modal_projector.linear_1.weight";
        let path = &weights.files[weights.places[stored].file].path;
        let bytes = std::fs::read(path).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let view = file.tensor(stored).unwrap();
        let (shape, values) = weights.tensor(stored).unwrap();
        assert_eq!(shape, view.shape());
        let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(raw, view.data());
    }
}

#[test]
fn every_tensor_that_does_not_fit_is_named_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let config = ModelConfig::open(fixture("llava-a")).unwrap();
    let expected = expected_tensors(&config);
    let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = expected
        .iter()
        .map(|(name, shape)| (name.clone(), shape.clone(), vec![0.5; shape.iter().product()]))
        .collect();
    tensors.remove(0);
    tensors.remove(0);
    let last = tensors.last_mut().unwrap();
    (last.1, last.2) = (vec![25], vec![1.0; 25]);
    tensors.push(("model.image_newline".to_owned(), vec![1], vec![1.0]));
    let buffer = "model.layers.0.self_attn.rotary_emb.inv_freq";
    tensors.push((buffer.to_owned(), vec![1], vec![1.0]));
    write_weights(dir.path(), WeightFormat::F32, tensors).unwrap();
    let error = Weights::open(dir.path()).unwrap().check(&expected).unwrap_err();
    let message = error.to_string();
    let lines: Vec<&str> = message.lines().skip(1).map(str::trim).collect();
    assert_eq!(
        lines,
        [
            "missing: vision_tower.vision_model.embeddings.class_embedding",
            "missing: vision_tower.vision_model.embeddings.patch_embedding.weight",
            "unknown: model.image_newline",
            "shape of language_model.model.norm.weight: [25], expected [24]",
        ]
    );
}

#[test]
fn a_stored_head_must_equal_the_embeddings_that_tie_it() {
    let dir = tempfile::tempdir().unwrap();
    let expected = [(EMBEDDINGS.to_owned(), vec![2, 1])];
    for (head, fits) in [([1.0, 2.0], true), ([1.0, 3.0], false)] {
        let tensors = [
            ("model.embed_tokens.weight", vec![2, 1], [1.0, 2.0]),
            ("lm_head.weight", vec![2, 1], head),
        ];
        write_weights(dir.path(), WeightFormat::F32, tensors).unwrap();
        let checked = Weights::open(dir.path()).unwrap().check(&expected);
        assert_eq!(checked.is_ok(), fits);
        if let Err(error) = checked {
            assert!(matches!(error, WeightsError::Untied { .. }), "{error}");
        }
    }
}

#[test]
fn damaged_and_missing_files_are_named_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let message = || Weights::open(dir.path()).unwrap_err().to_string();
    assert!(message().contains("is this a checkpoint folder?"));
    std::fs::write(dir.path().join("pytorch_model.bin"), "").unwrap();
    assert!(message().contains("pytorch_model.bin: not a file of torch.save"));

    let path = dir.path().join("model.safetensors");
    write_weights(dir.path(), WeightFormat::F32, [("x", vec![4], [1.0; 4])]).unwrap();
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 3]).unwrap();
    assert!(message().contains("cut off"), "{}", message());
    std::fs::write(&path, &whole[..20]).unwrap();
    assert!(message().contains("does not fit"), "{}", message());
    std::fs::write(&path, b"abc").unwrap();
    assert!(message().contains("3 bytes"), "{}", message());
    let mut absurd = whole.clone();
    absurd[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    std::fs::write(&path, &absurd).unwrap();
    assert!(message().contains("does not fit"), "{}", message());
    let mut garbled = whole;
    garbled[10] = b'\\';
    std::fs::write(&path, &garbled).unwrap();
    assert!(message().contains("header is broken"), "{}", message());
}

#[test]
fn an_index_may_not_lead_out_of_the_folder_or_lie() {
    let dir = tempfile::tempdir().unwrap();
    let index = dir.path().join("model.safetensors.index.json");
    let message = || Weights::open(dir.path()).unwrap_err().to_string();
    std::fs::write(&index, r#"{"weight_map": {"x": "../secret"}}"#).unwrap();
    assert!(message().contains("`weight_map.x` is \"../secret\", expected the name of a"));
    let shard = dir.path().join("model-1.safetensors");
    write_weights(dir.path(), WeightFormat::F32, [("x", vec![1], [1.0])]).unwrap();
    std::fs::rename(dir.path().join("model.safetensors"), shard).unwrap();
    std::fs::write(&index, r#"{"weight_map": {"y": "model-1.safetensors"}}"#).unwrap();
    assert!(message().contains("`y` is not in model-1.safetensors"));
    std::fs::write(&index, r#"{"weight_map": {"x": "model-1.safetensors"}}"#).unwrap();
    assert_eq!(Weights::open(dir.path()).unwrap().shape("x"), Some([1].as_slice()));
}

#[test]
fn shards_of_pytorch_are_read_through_their_index() {
    let dir = tempfile::tempdir().unwrap();
    let index = dir.path().join("pytorch_model.bin.index.json");
    let shard = "pytorch_model-00001-of-00001.bin";
    std::fs::copy(fixture("torch/state_dict.bin"), dir.path().join(shard)).unwrap();
    let map = format!(r#"{{"metadata": {{}}, "weight_map": {{"float": "{shard}"}}}}"#);
    std::fs::write(&index, map).unwrap();
    let weights = Weights::open(dir.path()).unwrap();
    assert_eq!(weights.shape("float"), Some([4, 3].as_slice()));
    assert_eq!(weights.dtype("half"), Some(Dtype::F16));
    std::fs::write(&index, r#"{"weight_map": {"x": "y.safetensors"}}"#).unwrap();
    assert!(Weights::open(dir.path()).unwrap_err().to_string().contains("a .bin file"));
    // Safetensors are preferred.
    write_weights(dir.path(), WeightFormat::F32, [("x", vec![1], [1.0])]).unwrap();
    assert_eq!(Weights::open(dir.path()).unwrap().names().collect::<Vec<_>>(), ["x"]);
}
