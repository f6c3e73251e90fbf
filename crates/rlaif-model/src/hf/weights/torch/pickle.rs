//! The part of Python's pickle format that `torch.save` needs for a state dict, protocol 2.
//!
//! What a pickle may name, and what becomes of it:
//!
//! | global | |
//! |---|---|
//! | `collections.OrderedDict` | a dict |
//! | `torch._utils._rebuild_tensor_v2` | a view of a storage |
//! | `torch._utils._rebuild_parameter` | its first argument |
//! | `torch.{Float,Half,BFloat16,...}Storage` | a number format |
//!
//! Everything else ends the reading. The work is bounded by the length of the program, memory by
//! [`MAX_VALUES`], and values do not nest deeper than [`MAX_DEPTH`] (dicts are held by number), so
//! that dropping them cannot exhaust the stack.

use std::collections::HashMap;
use std::rc::Rc;

use crate::hf::weights::torch::value::{Global, Storage, Tuple, Value, View, view};
use crate::hf::weights::torch::{TorchError, storage_dtype};

/// Most values made: a state dict needs some 50 per tensor, made one after the other.
const MAX_VALUES: usize = 1 << 19;
/// Deepest nesting of tuples; a state dict has two.
const MAX_DEPTH: u8 = 4;
/// Longest name of a global that an error shows.
const MAX_SHOWN: usize = 100;

/// The tensors of a pickled state dict, in its order.
pub(super) fn state_dict(program: &[u8]) -> Result<Vec<(String, Rc<View>)>, TorchError> {
    let mut machine = Machine { program, ..Machine::default() };
    let root = machine.run()?;
    let Value::Dict(index) = root else {
        let problem = format!("it holds {}, not a dict of tensors", root.kind());
        return Err(machine.broken(problem));
    };
    let entries = std::mem::take(&mut machine.dicts[index]);
    entries
        .into_iter()
        .map(|(name, value)| match value {
            Value::Tensor(view) => Ok((name.as_ref().to_owned(), view)),
            other => Err(TorchError::Tensor {
                name: name.chars().take(MAX_SHOWN).collect(),
                problem: format!(
                    "is {} and no tensor; save the state dict alone: \
                     `torch.save(model.state_dict(), FILE)`",
                    other.kind()
                ),
            }),
        })
        .collect()
}

#[derive(Default)]
struct Machine<'a> {
    program: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    dicts: Vec<Vec<(Rc<str>, Value)>>,
    /// Values made so far, an upper bound of those that are held.
    values: usize,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Value, TorchError> {
        loop {
            let at = self.at;
            match self.take(1)?[0] {
                // PROTO
                0x80 => {
                    self.take(1)?;
                }
                b'(' => {
                    self.count(1)?;
                    self.marks.push(self.stack.len());
                }
                b'.' => return self.pop(),
                b'N' => self.push(Value::None)?,
                0x88 | 0x89 => self.push(Value::Bool)?,
                b'K' => {
                    let value = self.array::<1>()?[0];
                    self.push(Value::Int(value.into()))?;
                }
                b'M' => {
                    let value = u16::from_le_bytes(self.array()?);
                    self.push(Value::Int(value.into()))?;
                }
                b'J' => {
                    let value = i32::from_le_bytes(self.array()?);
                    self.push(Value::Int(value.into()))?;
                }
                // LONG1
                0x8A => {
                    let value = self.long()?;
                    self.push(Value::Int(value))?;
                }
                b'X' => {
                    let len = u32::from_le_bytes(self.array()?);
                    let bytes = self.take(len as usize)?;
                    let text = std::str::from_utf8(bytes)
                        .map_err(|_| self.broken("a string is not UTF-8"))?;
                    self.push(Value::Text(text.into()))?;
                }
                b'c' => {
                    let global = self.global()?;
                    self.push(Value::Global(global))?;
                }
                b'}' => {
                    let dict = self.dict()?;
                    self.push(dict)?;
                }
                b')' => self.tuple(Vec::new())?,
                0x85..=0x87 => {
                    let len = usize::from(self.program[at] - 0x84);
                    let items = self.popped(len)?;
                    self.tuple(items)?;
                }
                b't' => {
                    let items = self.marked()?;
                    self.tuple(items)?;
                }
                b'q' => {
                    let index = self.array::<1>()?[0];
                    self.memorise(index.into())?;
                }
                b'r' => {
                    let index = u32::from_le_bytes(self.array()?);
                    self.memorise(index)?;
                }
                b'h' => {
                    let index = self.array::<1>()?[0];
                    self.recall(index.into())?;
                }
                b'j' => {
                    let index = u32::from_le_bytes(self.array()?);
                    self.recall(index)?;
                }
                b'Q' => {
                    let id = self.pop()?;
                    let storage = self.storage(&id)?;
                    self.push(Value::Storage(Rc::new(storage)))?;
                }
                b'R' => self.reduce()?,
                b's' => {
                    let pair = self.popped(2)?;
                    self.set(pair)?;
                }
                b'u' => {
                    let pairs = self.marked()?;
                    self.set(pairs)?;
                }
                b'b' => {
                    // `_metadata` of a state dict: versions of modules, without meaning here.
                    self.pop()?;
                    if !matches!(self.stack.last(), Some(Value::Dict(_))) {
                        return Err(self.broken("attributes are set on something else than a dict"));
                    }
                }
                opcode => return Err(TorchError::Opcode { opcode, at }),
            }
        }
    }

    fn broken(&self, problem: impl Into<String>) -> TorchError {
        TorchError::Pickle { at: self.at, problem: problem.into() }
    }

    /// The next `len` bytes of the program.
    fn take(&mut self, len: usize) -> Result<&'a [u8], TorchError> {
        let bytes = self.program.get(self.at..).and_then(|rest| rest.get(..len));
        let bytes = bytes.ok_or_else(|| self.broken("it is cut off"))?;
        self.at += len;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TorchError> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| self.broken("it is cut off"))
    }

    /// A whole number of up to eight bytes, in two's complement.
    fn long(&mut self) -> Result<i64, TorchError> {
        let len = self.array::<1>()?[0];
        if len > 8 {
            return Err(self.broken(format!("a number of {len} bytes")));
        }
        let bytes = self.take(len.into())?;
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut wide = [if negative { 0xFF } else { 0 }; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        Ok(i64::from_le_bytes(wide))
    }

    fn line(&mut self) -> Result<&'a [u8], TorchError> {
        let rest = &self.program[self.at..];
        let len = rest.iter().position(|byte| *byte == b'\n');
        let len = len.ok_or_else(|| self.broken("it is cut off"))?;
        self.at += len + 1;
        Ok(&rest[..len])
    }

    fn global(&mut self) -> Result<Global, TorchError> {
        let (module, name) = (self.line()?, self.line()?);
        let storage = || std::str::from_utf8(name).ok().and_then(storage_dtype);
        match (module, name) {
            (b"collections", b"OrderedDict") => return Ok(Global::OrderedDict),
            (b"torch._utils", b"_rebuild_tensor_v2") => return Ok(Global::RebuildTensor),
            (b"torch._utils", b"_rebuild_parameter") => return Ok(Global::RebuildParameter),
            (b"torch", _) if let Some(dtype) = storage() => return Ok(Global::Storage(dtype)),
            _ => {}
        }
        let name = [module, b".", name].concat();
        let name = String::from_utf8_lossy(&name[..name.len().min(MAX_SHOWN)]);
        Err(TorchError::Global { name: name.escape_debug().to_string() })
    }

    /// Books values that will be held.
    fn count(&mut self, values: usize) -> Result<(), TorchError> {
        self.values += values;
        if self.values > MAX_VALUES {
            return Err(TorchError::Limit { what: "values", most: MAX_VALUES });
        }
        Ok(())
    }

    fn push(&mut self, value: Value) -> Result<(), TorchError> {
        self.count(1)?;
        self.stack.push(value);
        Ok(())
    }

    /// Values above the innermost mark are the only ones within reach.
    fn popped(&mut self, len: usize) -> Result<Vec<Value>, TorchError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(len) {
            Some(from) if from >= floor => Ok(self.stack.split_off(from)),
            _ => Err(self.broken("it takes more values than there are")),
        }
    }

    fn pop(&mut self) -> Result<Value, TorchError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let value = if self.stack.len() > floor { self.stack.pop() } else { None };
        value.ok_or_else(|| self.broken("it takes more values than there are"))
    }

    fn marked(&mut self) -> Result<Vec<Value>, TorchError> {
        match self.marks.pop() {
            Some(from) if from <= self.stack.len() => Ok(self.stack.split_off(from)),
            _ => Err(self.broken("it goes back to a mark that is not there")),
        }
    }

    fn tuple(&mut self, items: Vec<Value>) -> Result<(), TorchError> {
        let inner = items.iter().map(|item| match item {
            Value::Tuple(tuple) => tuple.depth,
            _ => 0,
        });
        let depth = 1 + inner.max().unwrap_or(0);
        if depth > MAX_DEPTH {
            return Err(TorchError::Limit { what: "levels of tuples", most: MAX_DEPTH.into() });
        }
        self.count(items.len())?;
        self.push(Value::Tuple(Rc::new(Tuple { items, depth })))
    }

    fn dict(&mut self) -> Result<Value, TorchError> {
        self.count(1)?;
        self.dicts.push(Vec::new());
        Ok(Value::Dict(self.dicts.len() - 1))
    }

    fn set(&mut self, pairs: Vec<Value>) -> Result<(), TorchError> {
        let Some(Value::Dict(index)) = self.stack.last() else {
            return Err(self.broken("an entry is set in something else than a dict"));
        };
        let index = *index;
        if !pairs.len().is_multiple_of(2) {
            return Err(self.broken("a key has no value"));
        }
        self.count(pairs.len())?;
        let mut pairs = pairs.into_iter();
        while let (Some(key), Some(value)) = (pairs.next(), pairs.next()) {
            let Value::Text(key) = key else {
                return Err(self.broken(format!("a key is {} and no string", key.kind())));
            };
            self.dicts[index].push((key, value));
        }
        Ok(())
    }

    fn memorise(&mut self, index: u32) -> Result<(), TorchError> {
        let Some(value) = self.stack.last().cloned() else {
            return Err(self.broken("it remembers a value that is not there"));
        };
        self.count(1)?;
        self.memo.insert(index, value);
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Result<(), TorchError> {
        let Some(value) = self.memo.get(&index).cloned() else {
            return Err(self.broken(format!("it recalls value {index}, which is not there")));
        };
        self.push(value)
    }

    /// `("storage", torch.FloatStorage, "0", "cpu", elements)`.
    fn storage(&self, id: &Value) -> Result<Storage, TorchError> {
        if let Value::Tuple(tuple) = id
            && let [kind, Value::Global(Global::Storage(dtype)), key, _, elements] =
                tuple.items.as_slice()
            && let (Value::Text(kind), Value::Text(key)) = (kind, key)
            && let (Value::Int(elements), "storage") = (elements, kind.as_ref())
            && let Ok(elements) = u64::try_from(*elements)
        {
            return Ok(Storage { key: key.clone(), dtype: *dtype, elements });
        }
        Err(self.broken("a persistent id names no storage"))
    }

    fn reduce(&mut self) -> Result<(), TorchError> {
        let args = self.pop()?;
        let callable = self.pop()?;
        let (Value::Global(global), Value::Tuple(args)) = (&callable, &args) else {
            return Err(self.broken(format!("it calls {}", callable.kind())));
        };
        let value = match (global, args.items.as_slice()) {
            (Global::OrderedDict, []) => Some(self.dict()?),
            (
                Global::RebuildTensor,
                [Value::Storage(storage), Value::Int(offset), shape, strides, ..],
            ) if (6..=7).contains(&args.items.len()) => {
                view(storage, *offset, shape, strides).map(|view| Value::Tensor(Rc::new(view)))
            }
            (Global::RebuildParameter, [Value::Tensor(view), _, _]) => {
                Some(Value::Tensor(view.clone()))
            }
            _ => None,
        };
        match value {
            Some(value) => self.push(value),
            None => Err(self.broken(format!("wrong arguments for {global:?}"))),
        }
    }
}
