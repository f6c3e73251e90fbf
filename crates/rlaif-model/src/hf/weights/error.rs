//! What can be wrong with weights.

use std::io;
use std::path::{Path, PathBuf};

use crate::hf::files::FileError;
use crate::hf::weights::torch::TorchError;

/// Why weights cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The folder holds no weights that can be read.
    #[error(
        "{}: no weights: none of model.safetensors, model.safetensors.index.json, \
         pytorch_model.bin, pytorch_model.bin.index.json; is this a checkpoint folder?",
        dir.display()
    )]
    None {
        /// The folder.
        dir: PathBuf,
    },
    /// A file is not a whole safetensors file, or an index does not fit its files.
    #[error("{}: {problem}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A file of PyTorch's holds something else than a state dict.
    #[error("{}: {source}", path.display())]
    Torch {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: TorchError,
    },
    /// Two tensors of one file set have the same canonical name.
    #[error("{}: holds `{first}` and `{second}`, which are the same tensor in two layouts", path.display())]
    Twice {
        /// The file that holds the second.
        path: PathBuf,
        /// Name found first.
        first: String,
        /// Name found afterwards.
        second: String,
    },
    /// A tensor that the model needs is not there.
    #[error("{}: no tensor `{name}`", dir.display())]
    Missing {
        /// The folder.
        dir: PathBuf,
        /// Canonical name.
        name: String,
    },
    /// The tensors are not those of the model that `config.json` describes.
    #[error("{}: the weights do not fit config.json:{}", dir.display(), misfit(missing, unknown, misshapen))]
    Misfit {
        /// The folder.
        dir: PathBuf,
        /// Canonical names that should be there.
        missing: Vec<String>,
        /// Names that no part of the model has.
        unknown: Vec<String>,
        /// Name, shape expected, shape found.
        misshapen: Vec<(String, Vec<usize>, Vec<usize>)>,
    },
    /// A checkpoint that ties its head stores another head.
    #[error(
        "{}: config.json ties the head to the embeddings (`tie_word_embeddings`), but \
         `lm_head.weight` differs from them; set it to false", dir.display()
    )]
    Untied {
        /// The folder.
        dir: PathBuf,
    },
    /// The data handed over for writing does not fill its shape.
    #[error("tensor `{name}` of shape {shape:?} was given {len} values")]
    Length {
        /// Name of the tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Number of values.
        len: usize,
    },
}

fn misfit(
    missing: &[String],
    unknown: &[String],
    misshapen: &[(String, Vec<usize>, Vec<usize>)],
) -> String {
    let missing = missing.iter().map(|name| format!("\n  missing: {name}"));
    let unknown = unknown.iter().map(|name| format!("\n  unknown: {name}"));
    let misshapen = misshapen.iter().map(|(name, expected, found)| {
        format!("\n  shape of {name}: {found:?}, expected {expected:?}")
    });
    missing.chain(unknown).chain(misshapen).collect()
}

/// What a parser of one file finds wrong with it.
#[derive(Debug)]
pub(super) enum Fault {
    /// It could not be read.
    Io(io::Error),
    /// It is not a whole safetensors file.
    Broken(String),
    /// It is not a state dict of PyTorch's.
    Torch(TorchError),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Fault::Io(error)
    }
}

impl From<TorchError> for Fault {
    fn from(error: TorchError) -> Self {
        Fault::Torch(error)
    }
}

impl Fault {
    pub(super) fn at(self, path: &Path) -> WeightsError {
        let path = path.to_owned();
        match self {
            Fault::Io(source) => FileError::Read { path, source }.into(),
            Fault::Broken(problem) => WeightsError::Broken { path, problem },
            Fault::Torch(source) => WeightsError::Torch { path, source },
        }
    }
}
