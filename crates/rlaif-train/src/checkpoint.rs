//! Checkpoints: atomic, complete, resumed to the same bits.
//!
//! ```text
//! checkpoint-40/
//!   config.json, model.safetensors, tokenizer.json, ...   or the adapter of a LoRA run
//!   trainer/state.json                version, step, seed, updates, digests of the files below
//!   trainer/weights.safetensors       the trained weights, exact
//!   trainer/optimizer.safetensors     both moments, `m.<name>` and `v.<name>`
//!   trainer/reference.safetensors     the reference's weights, where it was refreshed
//!   trainer/critic*.safetensors       PPO's critic and its optimizer
//! ```
//!
//! Data position, learning rate and every random stream follow from the step and the seed. A
//! folder appears under its name only when all of it lies on the disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use rlaif_model::{LoadError, Parameters, Vlm};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{TrainError, at};
use crate::optim::{AdamW, Moments};

const VERSION: u32 = 1;
const WEIGHTS: &str = "weights.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
pub(crate) const REFERENCE: &str = "reference.safetensors";

/// Writes the model folder of a checkpoint: all of it, or the adapter of a LoRA run.
pub type SaveModel<'a, M = Vlm> = dyn Fn(&M, &Path) -> Result<(), LoadError> + 'a;

/// Tensors of one file of a checkpoint, flat.
pub type NamedTensors = Vec<(String, Tensor<1>)>;

/// What a run is at a step, beside its tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Steps done.
    pub step: u64,
    /// Seed of the run: a checkpoint of another seed is refused.
    pub seed: u64,
    /// Whether the reference was refreshed, and so is in the checkpoint.
    pub reference: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateFile {
    version: u32,
    step: u64,
    seed: u64,
    updates: u64,
    reference: bool,
    /// SHA-256 of each file of tensors, by its name.
    digests: BTreeMap<String, String>,
}

/// A whole checkpoint on the disk.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Its folder.
    pub path: PathBuf,
    /// Its state.
    pub state: State,
    updates: u64,
    digests: BTreeMap<String, String>,
}

/// Writes `checkpoint-<step>` into the run folder and returns its path. `extra` are files of
/// tensors beside the trained weights and the optimizer.
///
/// # Errors
///
/// Fails where a file cannot be written; no half-written checkpoint is left under its name.
pub fn write<M: Parameters>(
    run: &Path,
    model: &M,
    optimizer: &AdamW,
    extra: Vec<(&'static str, NamedTensors)>,
    state: State,
    trains: &dyn Fn(&str) -> bool,
    save: &SaveModel<'_, M>,
) -> Result<PathBuf, TrainError> {
    let path = run.join(format!("checkpoint-{}", state.step));
    let temporary = run.join(format!("checkpoint-{}.tmp", state.step));
    remove(&temporary)?;
    let trainer = temporary.join("trainer");
    fs::create_dir_all(&trainer).map_err(at(&trainer))?;
    save(model, &temporary)?;

    let mut files = vec![(WEIGHTS, weights(model, trains)), (OPTIMIZER, moments(optimizer))];
    files.extend(extra);
    let mut digests = BTreeMap::new();
    for (name, tensors) in files {
        digests.insert(name.to_owned(), write_tensors(&trainer.join(name), tensors)?);
    }
    let file = StateFile {
        version: VERSION,
        step: state.step,
        seed: state.seed,
        updates: optimizer.updates,
        reference: state.reference,
        digests,
    };
    let json = serde_json::to_vec_pretty(&file).map_err(|e| at(&trainer)(e.into()))?;
    let state_path = trainer.join("state.json");
    fs::write(&state_path, json).map_err(at(&state_path))?;
    sync_tree(&temporary)?;
    remove(&path)?;
    fs::rename(&temporary, &path).map_err(at(&path))?;
    sync(run)?;
    Ok(path)
}

/// The last whole checkpoint of a run folder.
///
/// # Errors
///
/// Fails where the folder cannot be listed. Folders that are no whole checkpoint are passed over.
pub fn latest(run: &Path) -> Result<Option<Checkpoint>, TrainError> {
    let mut best: Option<Checkpoint> = None;
    for entry in fs::read_dir(run).map_err(at(run))? {
        let path = entry.map_err(at(run))?.path();
        let named = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_prefix("checkpoint-"))
            .and_then(|step| step.parse::<u64>().ok());
        if named.is_some()
            && let Ok(found) = open(&path)
            && best.as_ref().is_none_or(|b| b.state.step < found.state.step)
        {
            best = Some(found);
        }
    }
    Ok(best)
}

/// Opens one checkpoint's state.
///
/// # Errors
///
/// Fails where it is not whole.
pub fn open(path: &Path) -> Result<Checkpoint, TrainError> {
    let file = path.join("trainer/state.json");
    let text = fs::read(&file).map_err(at(&file))?;
    let state: StateFile = serde_json::from_slice(&text).map_err(|e| bad(path, e.to_string()))?;
    if state.version != VERSION {
        let reason = format!("version {} where {VERSION} is expected", state.version);
        return Err(bad(path, reason));
    }
    Ok(Checkpoint {
        path: path.to_owned(),
        state: State { step: state.step, seed: state.seed, reference: state.reference },
        updates: state.updates,
        digests: state.digests,
    })
}

/// Refuses a checkpoint of another seed: its data order and random streams would be others.
///
/// # Errors
///
/// Where the seeds differ.
pub(crate) fn same_seed(from: &Checkpoint, seed: u64) -> Result<(), TrainError> {
    if from.state.seed == seed {
        return Ok(());
    }
    let reason = format!("it was written with seed {}, the recipe says {seed}", from.state.seed);
    Err(bad(&from.path, reason))
}

/// Removes all but the newest `keep` checkpoints; 0 keeps all.
///
/// # Errors
///
/// Fails where a folder cannot be listed or removed.
pub fn prune(run: &Path, keep: usize) -> Result<(), TrainError> {
    let mut steps: Vec<u64> = fs::read_dir(run)
        .map_err(at(run))?
        .filter_map(|entry| {
            entry.ok()?.file_name().to_str()?.strip_prefix("checkpoint-")?.parse().ok()
        })
        .collect();
    steps.sort_unstable_by(|a, b| b.cmp(a));
    if keep > 0 {
        for step in steps.into_iter().skip(keep) {
            remove(&run.join(format!("checkpoint-{step}")))?;
        }
    }
    Ok(())
}

/// Puts a checkpoint's tensors into a model and an optimizer of the same recipe, and its
/// reference, where there is one, into `reference`.
///
/// # Errors
///
/// Fails where a file is damaged or a tensor is none of this model; nothing is changed then.
pub fn restore<M: Parameters>(
    from: &Checkpoint,
    model: &mut M,
    optimizer: &mut AdamW,
    reference: Option<&mut M>,
) -> Result<(), TrainError> {
    let stored = read_optimizer(from, OPTIMIZER, &device(model))?;
    let filled = read_model(from, WEIGHTS, model)?;
    if let (Some(reference), true) = (reference, from.state.reference) {
        *reference = read_model(from, REFERENCE, reference)?;
    }
    *model = filled;
    *optimizer = stored;
    Ok(())
}

/// `model` with the tensors of a checkpoint's file in their places.
pub(crate) fn read_model<M: Parameters>(
    from: &Checkpoint,
    file: &str,
    model: &M,
) -> Result<M, TrainError> {
    let tensors = read_tensors(from, file, &device(model))?;
    filled(model, tensors).map_err(|reason| bad(&from.path, reason))
}

/// The optimizer whose moments a checkpoint's file holds.
pub(crate) fn read_optimizer(
    from: &Checkpoint,
    file: &str,
    device: &Device,
) -> Result<AdamW, TrainError> {
    let mut halves = read_tensors(from, file, device)?;
    let names: Vec<String> =
        halves.keys().filter_map(|key| key.strip_prefix("m.").map(str::to_owned)).collect();
    let mut moments = BTreeMap::new();
    for name in names {
        let (m, v) = (halves.remove(&format!("m.{name}")), halves.remove(&format!("v.{name}")));
        let (Some(m), Some(v)) = (m, v) else {
            return Err(bad(&from.path, format!("the second moment of `{name}` is missing")));
        };
        moments.insert(name, Moments { m, v });
    }
    Ok(AdamW { updates: from.updates, moments })
}

/// Both moments of an optimizer, `m.<name>` and `v.<name>`.
pub(crate) fn moments(optimizer: &AdamW) -> NamedTensors {
    let both = optimizer.moments.iter().flat_map(|(name, moments)| {
        [(format!("m.{name}"), moments.m.clone()), (format!("v.{name}"), moments.v.clone())]
    });
    both.collect()
}

/// Where a model's tensors lie.
pub(crate) fn device(model: &impl Parameters) -> Device {
    let mut found = None;
    model.read(|_, slot| {
        found.get_or_insert_with(|| slot.flat().device());
    });
    found.unwrap_or_else(Device::flex)
}

/// The model with `tensors` in their places.
fn filled<M: Parameters>(model: &M, mut tensors: BTreeMap<String, Tensor<1>>) -> Result<M, String> {
    let mut model = model.clone();
    let mut wrong = None;
    model.walk("", &mut |name, mut slot| {
        if let Some(tensor) = tensors.remove(name) {
            let [len] = tensor.dims();
            if len == slot.shape().iter().product::<usize>() {
                slot.set_flat(tensor);
            } else {
                wrong.get_or_insert_with(|| format!("`{name}` has another shape in this model"));
            }
        } else if name.contains(".lora_") {
            wrong.get_or_insert_with(|| format!("it holds no `{name}`: its run had no adapters"));
        }
    });
    if let Some((name, _)) = tensors.first_key_value() {
        wrong.get_or_insert_with(|| format!("`{name}` is no weight of this model"));
    }
    wrong.map_or(Ok(model), Err)
}

/// The trained weights of a model.
pub(crate) fn weights(model: &impl Parameters, trains: &dyn Fn(&str) -> bool) -> NamedTensors {
    let mut out = Vec::new();
    model.read(|name, slot| {
        if trains(name) {
            out.push((name.to_owned(), slot.flat()));
        }
    });
    out
}

/// Writes a file of tensors and returns its digest.
fn write_tensors(path: &Path, tensors: NamedTensors) -> Result<String, TrainError> {
    let bytes: Vec<(String, Vec<u8>)> = tensors
        .into_iter()
        .map(|(name, tensor)| {
            let data = tensor.into_data();
            (name, data.iter::<f32>().flat_map(f32::to_le_bytes).collect())
        })
        .collect();
    let mut views = Vec::with_capacity(bytes.len());
    for (name, data) in &bytes {
        let view = TensorView::new(Dtype::F32, vec![data.len() / 4], data)
            .map_err(|e| bad(path, e.to_string()))?;
        views.push((name.as_str(), view));
    }
    safetensors::serialize_to_file(views, None, path).map_err(|e| bad(path, e.to_string()))?;
    // Read back, not held: the tensors of a large model are in memory once already.
    let mut digest = Sha256::new();
    let mut file = fs::File::open(path).map_err(at(path))?;
    std::io::copy(&mut file, &mut digest).map_err(at(path))?;
    Ok(format!("{:x}", digest.finalize()))
}

/// Reads a file of tensors that has the digest it was written with.
fn read_tensors(
    from: &Checkpoint,
    name: &str,
    device: &Device,
) -> Result<BTreeMap<String, Tensor<1>>, TrainError> {
    let path = &from.path.join("trainer").join(name);
    let bytes = fs::read(path).map_err(at(path))?;
    if from.digests.get(name) != Some(&format!("{:x}", Sha256::digest(&bytes))) {
        let reason = format!(
            "`{name}` is damaged: it is not the file that was written; remove the folder to go on \
             from the checkpoint before it"
        );
        return Err(bad(&from.path, reason));
    }
    let file = SafeTensors::deserialize(&bytes).map_err(|e| bad(path, e.to_string()))?;
    let mut out = BTreeMap::new();
    for (name, view) in file.tensors() {
        if view.dtype() != Dtype::F32 || view.shape().len() != 1 {
            return Err(bad(path, format!("`{name}` is not a flat list of f32")));
        }
        let values: Vec<f32> =
            view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let shape = [values.len()];
        out.insert(name, Tensor::from_data(TensorData::new(values, shape), device));
    }
    Ok(out)
}

fn bad(path: &Path, reason: String) -> TrainError {
    TrainError::Checkpoint { path: path.to_owned(), reason }
}

fn remove(path: &Path) -> Result<(), TrainError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

fn sync(path: &Path) -> Result<(), TrainError> {
    fs::File::open(path).and_then(|file| file.sync_all()).map_err(at(path))
}

fn sync_tree(folder: &Path) -> Result<(), TrainError> {
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        if path.is_dir() { sync_tree(&path)? } else { sync(&path)? }
    }
    sync(folder)
}
