//! Adapters as PEFT's folders: put on a model, and written from one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::tensor::{Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::hf::{Adapter, AdapterConfig, AdapterError, decoder_module, write_adapter};
use crate::load::LoadError;
use crate::lora::LoraConfig;
use crate::parameters::Parameters;
use crate::vlm::Vlm;

/// Puts the adapter of `folder` on `model`, whose own adapters it replaces.
///
/// # Errors
///
/// Fails on files that cannot be read, a tensor without a place in the model, and a tensor of
/// another shape: an adapter of another model is never half applied.
pub fn attach_adapter(model: &mut Vlm, folder: impl AsRef<Path>) -> Result<(), LoadError> {
    let folder = folder.as_ref();
    let adapter = Adapter::open(folder).map_err(|source| other(folder, source))?;
    let mut stored: BTreeMap<String, (Vec<usize>, Vec<f32>)> = BTreeMap::new();
    for name in adapter.weights.names() {
        stored.insert(name.to_owned(), adapter.weights.tensor(name)?);
    }
    let device = model.device();
    let mut changed = model.without_lora();
    let config = LoraConfig {
        r: adapter.config.r,
        lora_alpha: adapter.config.lora_alpha,
        target_modules: adapter.config.target_modules,
    };
    // PEFT adapts single layers too: only those that the file holds tensors of.
    let layers: BTreeSet<String> = stored
        .keys()
        .filter_map(|name| Some(name.strip_suffix(".lora_A.weight")?.to_owned()))
        .collect();
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut wrong = Vec::new();
    changed.decoder.named_linears("language_model", |name, linear| {
        if !layers.contains(name) {
            return;
        }
        // Compared first: a file may speak of a rank that no memory holds.
        let [outputs, inputs] = linear.shape();
        let before = wrong.len();
        for (part, takes) in [("A", [config.r, inputs]), ("B", [outputs, config.r])] {
            let name = format!("{name}.lora_{part}.weight");
            match stored.get(&name) {
                Some((shape, _)) if *shape == takes => continue,
                Some((shape, _)) => {
                    wrong.push(format!("`{name}` is {shape:?}, the model takes {takes:?}"));
                }
                None => wrong.push(format!("`{name}` is missing")),
            }
            stored.remove(&name);
        }
        if wrong.len() == before {
            config.attach(linear, &mut rng);
        }
    });
    changed.walk("", &mut |name, mut slot| {
        if !name.contains(".lora_") {
            return;
        }
        if let Some((_, values)) = stored.remove(name) {
            let len = [values.len()];
            slot.set_flat(Tensor::from_data(TensorData::new(values, len), &device));
        }
    });
    wrong.extend(stored.into_keys().map(|name| format!("`{name}` has no place in the model")));
    if !wrong.is_empty() {
        let text = format!("the adapter does not fit the model: {}", wrong.join(", "));
        return Err(LoadError::Other { what: folder.display().to_string(), source: text.into() });
    }
    *model = changed;
    Ok(())
}

/// Writes the adapters of `model` as `adapter_config.json` and `adapter_model.safetensors`; `base`
/// says where the weights lie that they belong to.
///
/// # Errors
///
/// Fails on a model without adapters, and where a file cannot be written.
pub fn save_adapter(
    model: &Vlm,
    config: &LoraConfig,
    base: Option<&Path>,
    folder: impl AsRef<Path>,
) -> Result<(), LoadError> {
    let folder = folder.as_ref();
    let mut tensors = Vec::new();
    model.read(|name, slot| {
        if name.contains(".lora_") {
            let values: Vec<f32> = slot.flat().into_data().iter::<f32>().collect();
            tensors.push((name.to_owned(), slot.shape(), values));
        }
    });
    if tensors.is_empty() {
        let text = "the model carries no adapter to write";
        return Err(LoadError::Other { what: folder.display().to_string(), source: text.into() });
    }
    let mut file = AdapterConfig::new(config.r, config.lora_alpha, config.target_modules.clone());
    file.base_model_name_or_path = base.map(|path| path.display().to_string());
    write_adapter(folder, &file, decoder_module(&model.config.arch), tensors)
        .map_err(|source| other(folder, source))
}

fn other(folder: &Path, source: AdapterError) -> LoadError {
    LoadError::Other { what: folder.display().to_string(), source: source.into() }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::hf::testing::fixture;

    fn bits(model: &Vlm) -> BTreeMap<String, Vec<u32>> {
        let mut out = BTreeMap::new();
        model.read(|name, slot| {
            let values = slot.flat().into_data().iter::<f32>().map(f32::to_bits).collect();
            out.insert(name.to_owned(), values);
        });
        out
    }

    #[test]
    fn an_adapter_comes_back_with_its_bits_and_one_of_another_model_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let model = crate::load(fixture("llava-a"), &Device::flex()).unwrap();
        let mut adapted = model.clone();
        attach_adapter(&mut adapted, fixture("llava-a").join("adapter")).unwrap();
        assert_ne!(bits(&adapted), bits(&model));

        let adapter = Adapter::open(fixture("llava-a").join("adapter")).unwrap();
        let config = LoraConfig {
            r: adapter.config.r,
            lora_alpha: adapter.config.lora_alpha,
            target_modules: adapter.config.target_modules,
        };
        save_adapter(&adapted, &config, None, folder.path()).unwrap();
        let mut again = model.clone();
        attach_adapter(&mut again, folder.path()).unwrap();
        assert_eq!(bits(&again), bits(&adapted));

        let mut another = crate::load(fixture("llava-b"), &Device::flex()).unwrap();
        let before = bits(&another);
        let error = attach_adapter(&mut another, folder.path()).unwrap_err().to_string();
        assert!(error.contains("does not fit"), "{error}");
        assert_eq!(bits(&another), before, "nothing was applied");
        assert!(save_adapter(&model, &config, None, folder.path()).is_err());
    }
}
