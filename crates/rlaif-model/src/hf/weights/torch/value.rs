//! What the values of a pickled state dict can be.

use std::rc::Rc;

use safetensors::tensor::Dtype;

use crate::hf::weights::header::MAX_RANK;

/// A storage, as a persistent id names it.
#[derive(Debug, PartialEq)]
pub(super) struct Storage {
    pub(super) key: Rc<str>,
    pub(super) dtype: Dtype,
    /// Elements.
    pub(super) elements: u64,
}

/// A tensor: a view of a storage, in elements.
#[derive(Debug, PartialEq)]
pub(super) struct View {
    pub(super) storage: Rc<Storage>,
    pub(super) offset: u64,
    pub(super) shape: Vec<u64>,
    pub(super) strides: Vec<u64>,
}

/// The only globals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Dtype),
}

/// A value on the stack, in the memo or in a dict.
#[derive(Clone, Debug)]
pub(super) enum Value {
    None,
    Bool,
    Int(i64),
    Text(Rc<str>),
    Global(Global),
    Tuple(Rc<Tuple>),
    /// Index into the machine's dicts.
    Dict(usize),
    Storage(Rc<Storage>),
    Tensor(Rc<View>),
}

/// A tuple, and how deep tuples lie in it.
#[derive(Debug)]
pub(super) struct Tuple {
    pub(super) items: Vec<Value>,
    pub(super) depth: u8,
}

impl Value {
    /// How an error calls it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::None => "None",
            Value::Bool => "a truth value",
            Value::Int(_) => "a number",
            Value::Text(_) => "a string",
            Value::Global(_) => "a class or function",
            Value::Tuple(_) => "a tuple",
            Value::Dict(_) => "a dict",
            Value::Storage(_) => "a storage",
            Value::Tensor(_) => "a tensor",
        }
    }
}

/// A view whose sizes and strides are as many and not negative.
pub(super) fn view(
    storage: &Rc<Storage>,
    offset: i64,
    shape: &Value,
    strides: &Value,
) -> Option<View> {
    let sizes = |value: &Value| {
        let Value::Tuple(tuple) = value else { return None };
        if tuple.items.len() > MAX_RANK {
            return None;
        }
        let sizes = tuple.items.iter().map(|item| match item {
            Value::Int(size) => u64::try_from(*size).ok(),
            _ => None,
        });
        sizes.collect::<Option<Vec<u64>>>()
    };
    let (shape, strides) = (sizes(shape)?, sizes(strides)?);
    let offset = u64::try_from(offset).ok()?;
    (shape.len() == strides.len()).then(|| View {
        storage: storage.clone(),
        offset,
        shape,
        strides,
    })
}
