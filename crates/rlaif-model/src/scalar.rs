//! A model with one number in the place of words: a reward model, or a critic.

use std::path::Path;

use burn::tensor::{Device, Tensor};

use crate::hf::{WeightFormat, Weights, write_weights};
use crate::load::{LoadError, load, save, vector};
use crate::parameters::{Parameters, Slot, join};
use crate::vlm::Vlm;

/// Folder inside the model's own that holds the head: beside the model, not among its weights, so
/// that the folder stays one that others can open.
const HEAD: &str = "score";
const WEIGHT: &str = "score.weight";

/// A video-language model whose final states are read by a linear head, `s = w · h`.
///
/// The head has no bias: differences of scores, which are all that a Bradley-Terry model knows,
/// do not depend on one.
#[derive(Clone, Debug)]
pub struct ScalarVlm {
    /// The model.
    pub vlm: Vlm,
    /// The head `w`, `[hidden]`.
    pub score: Tensor<1>,
}

impl ScalarVlm {
    /// A head of zeros on `vlm`: every score is 0 until it is trained.
    #[must_use]
    pub fn new(vlm: Vlm) -> Self {
        let score = Tensor::zeros([vlm.config.text.hidden_size], &vlm.device());
        ScalarVlm { vlm, score }
    }

    /// Scores of final states: `[N, hidden]` to `[N]`.
    #[must_use]
    pub fn read(&self, hidden: Tensor<2>) -> Tensor<1> {
        let [n, width] = hidden.dims();
        hidden.matmul(self.score.clone().reshape([width, 1])).reshape([n])
    }

    /// The same with adapters added into the weights.
    #[must_use]
    pub fn merged(&self) -> Self {
        ScalarVlm { vlm: self.vlm.merged(), score: self.score.clone() }
    }

    /// Reads a model's folder and the head in it.
    ///
    /// # Errors
    ///
    /// As [`load`]; fails too where there is no head of the model's width.
    pub fn load(folder: impl AsRef<Path>, device: &Device) -> Result<Self, LoadError> {
        let vlm = load(&folder, device)?;
        ScalarVlm::with_head(vlm, folder)
    }

    /// Puts the head of `folder` on `vlm`.
    ///
    /// # Errors
    ///
    /// Fails where there is no head of the model's width.
    pub fn with_head(vlm: Vlm, folder: impl AsRef<Path>) -> Result<Self, LoadError> {
        let head = Weights::open(folder.as_ref().join(HEAD))?;
        let width = vlm.config.text.hidden_size;
        head.check(&[(WEIGHT.to_owned(), vec![1, width])])?;
        let (_, values) = head.tensor(WEIGHT)?;
        let score = vector(values, &vlm.device());
        Ok(ScalarVlm { vlm, score })
    }

    /// Writes the model with its adapters merged, and the head.
    ///
    /// # Errors
    ///
    /// Fails where a file cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<(), LoadError> {
        save(&self.vlm, &folder)?;
        self.save_head(folder)
    }

    /// Writes the head alone, `score.weight` of `[1, hidden]`, as the sequence classifiers of
    /// `transformers` name theirs.
    ///
    /// # Errors
    ///
    /// Fails where the file cannot be written.
    pub fn save_head(&self, folder: impl AsRef<Path>) -> Result<(), LoadError> {
        let folder = folder.as_ref().join(HEAD);
        std::fs::create_dir_all(&folder).map_err(|source| LoadError::Other {
            what: folder.display().to_string(),
            source: source.into(),
        })?;
        let values: Vec<f32> = self.score.to_data().iter::<f32>().collect();
        let shape = vec![1, values.len()];
        write_weights(&folder, WeightFormat::F32, vec![(WEIGHT.to_owned(), shape, values)])?;
        Ok(())
    }
}

impl Parameters for ScalarVlm {
    fn walk(&mut self, prefix: &str, visit: &mut dyn FnMut(&str, Slot<'_>)) {
        self.vlm.walk(prefix, visit);
        visit(&join(prefix, WEIGHT), Slot::Vector(&mut self.score));
    }
}
