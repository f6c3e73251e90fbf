//! `tokenizer.model`, SentencePiece's own file, turned into a `tokenizer.json`: Llama's kind, BPE
//! with byte fallback.
//!
//! As `transformers`' `LlamaConverter` does it. SentencePiece merges the pair whose piece has the
//! best score; `tokenizers` wants the pairs themselves, in that order: all splits of each piece
//! into two others. The file is a protocol buffer, `ModelProto` of `sentencepiece_model.proto`.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

/// Largest file read, in bytes; Llama's has 500,000, the largest known 4 million.
pub(super) const MAX_MODEL: u64 = 16 << 20;
/// Longest piece in bytes; trainers stop at 16 characters.
const MAX_PIECE: usize = 256;
/// Most merges made of the pieces; a vocabulary of 32,000 has twice as many as pieces.
const MAX_MERGES: usize = 1 << 21;
/// What stands for a space.
const SPACE: &str = "\u{2581}";

/// Type of a piece.
const NORMAL: u64 = 1;
const UNKNOWN: u64 = 2;
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;

#[derive(Debug)]
struct Piece {
    text: String,
    score: f32,
    kind: u64,
}

/// What of a `ModelProto` matters here.
#[derive(Debug, Default)]
struct Model {
    pieces: Vec<Piece>,
    /// `model_type`: 1 is Unigram, 2 BPE.
    algorithm: u64,
    byte_fallback: bool,
    normalizer: Normalizer,
}

#[derive(Debug)]
struct Normalizer {
    /// Bytes of the rules for characters.
    charsmap: usize,
    dummy_prefix: bool,
    remove_extra_whitespaces: bool,
    escape_whitespaces: bool,
}

impl Default for Normalizer {
    /// The format's defaults.
    fn default() -> Self {
        Normalizer {
            charsmap: 0,
            dummy_prefix: true,
            remove_extra_whitespaces: true,
            escape_whitespaces: true,
        }
    }
}

/// `tokenizer.json` and the names of the special tokens (`bos_token`, ...) for a
/// `tokenizer.model`; `config` is `tokenizer_config.json`, of which `legacy`, `add_bos_token` and
/// the special tokens count.
///
/// With `legacy`, which is not the default, a space is put before what follows a special token
/// too, and not only at the beginning.
pub(in crate::hf) fn convert(
    bytes: &[u8],
    config: &Map<String, Value>,
) -> Result<(String, Map<String, Value>), String> {
    let model = parse(bytes)?;
    let spaces = &model.normalizer;
    for (fits, what) in [
        (model.algorithm == 2, "BPE"),
        (model.byte_fallback, "byte fallback"),
        (spaces.charsmap == 0, "no normalisation of characters"),
        (spaces.dummy_prefix && spaces.escape_whitespaces, "a space put before the text"),
        (!spaces.remove_extra_whitespaces, "spaces kept as they are"),
    ] {
        if !fits {
            return Err(format!(
                "not a tokenizer of Llama's kind, which has {what}; open it once with \
                 transformers' AutoTokenizer and save it, which writes tokenizer.json"
            ));
        }
    }
    let mut ids = HashMap::new();
    for (id, piece) in model.pieces.iter().enumerate() {
        if ids.insert(piece.text.as_str(), id).is_some() {
            return Err(format!("piece {:?} stands twice", piece.text));
        }
    }
    let mut names = Map::new();
    for (key, default) in [("unk_token", "<unk>"), ("bos_token", "<s>"), ("eos_token", "</s>")] {
        if ids.contains_key(default) {
            names.insert(key.to_owned(), json!(default));
        }
    }
    let unknown = model.pieces.iter().find(|piece| piece.kind == UNKNOWN);
    let added: Vec<Value> = model
        .pieces
        .iter()
        .enumerate()
        .filter(|(_, piece)| [UNKNOWN, CONTROL, USER_DEFINED].contains(&piece.kind))
        .map(|(id, piece)| {
            json!({
                "id": id, "content": piece.text, "special": piece.kind != USER_DEFINED,
                "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            })
        })
        .collect();
    let legacy = config.get("legacy").and_then(Value::as_bool).unwrap_or(false);
    let (normalizer, pre_tokenizer) = if legacy {
        let prepend = json!({ "type": "Prepend", "prepend": SPACE });
        let replace = json!({ "type": "Replace", "pattern": { "String": " " }, "content": SPACE });
        (json!({ "type": "Sequence", "normalizers": [prepend, replace] }), Value::Null)
    } else {
        let metaspace = json!({
            "type": "Metaspace", "replacement": SPACE, "prepend_scheme": "first", "split": false,
        });
        (Value::Null, metaspace)
    };
    let document = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": begin(config, &ids),
        "decoder": { "type": "Sequence", "decoders": [
            { "type": "Replace", "pattern": { "String": SPACE }, "content": " " },
            { "type": "ByteFallback" },
            { "type": "Fuse" },
            { "type": "Strip", "content": " ", "start": 1, "stop": 0 },
        ] },
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": unknown.map(|piece| &piece.text),
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": true,
            "byte_fallback": true,
            "ignore_merges": false,
            "vocab": &ids,
            "merges": merges(&model.pieces)?,
        },
    });
    Ok((document.to_string(), names))
}

/// The post-processor: the beginning-of-sequence token first, unless `add_bos_token` is false.
fn begin(config: &Map<String, Value>, ids: &HashMap<&str, usize>) -> Value {
    let bos = config.get("bos_token");
    let bos = bos.and_then(|bos| bos.as_str().or_else(|| bos.get("content")?.as_str()));
    let bos = bos.unwrap_or("<s>");
    let wanted = config.get("add_bos_token").and_then(Value::as_bool).unwrap_or(true);
    let Some(id) = ids.get(bos).filter(|_| wanted) else { return Value::Null };
    let first = |id: &str| {
        json!([
            { "SpecialToken": { "id": bos, "type_id": 0 } }, { "Sequence": { "id": id, "type_id": 0 } },
        ])
    };
    let tokens = json!({ bos: { "id": bos, "ids": [id], "tokens": [bos] } });
    json!({
        "type": "TemplateProcessing", "single": first("A"), "pair": first("A"),
        "special_tokens": tokens,
    })
}

/// All splits of normal pieces into two normal pieces, the best score first, then the shortest
/// left part.
fn merges(pieces: &[Piece]) -> Result<Vec<[&str; 2]>, String> {
    let normal: HashMap<&str, usize> = pieces
        .iter()
        .enumerate()
        .filter(|(_, piece)| piece.kind == NORMAL)
        .map(|(id, piece)| (piece.text.as_str(), id))
        .collect();
    let mut order: Vec<usize> = normal.values().copied().collect();
    order.sort_by(|a, b| pieces[*b].score.total_cmp(&pieces[*a].score).then(a.cmp(b)));
    let mut merges = Vec::new();
    for id in order {
        let text = pieces[id].text.as_str();
        for (at, _) in text.char_indices().skip(1) {
            let (left, right) = text.split_at(at);
            if normal.contains_key(left) && normal.contains_key(right) {
                if merges.len() == MAX_MERGES {
                    return Err(format!("its pieces have more than {MAX_MERGES} merges"));
                }
                merges.push([left, right]);
            }
        }
    }
    Ok(merges)
}

fn parse(bytes: &[u8]) -> Result<Model, String> {
    let mut model = Model::default();
    for field in Message(bytes) {
        match field? {
            (1, Field::Bytes(piece)) => model.pieces.push(parse_piece(piece)?),
            (2, Field::Bytes(trainer)) => {
                for field in Message(trainer) {
                    match field? {
                        (3, Field::Number(kind)) => model.algorithm = kind,
                        (35, Field::Number(flag)) => model.byte_fallback = flag != 0,
                        _ => {}
                    }
                }
            }
            (3, Field::Bytes(normalizer)) => {
                let spaces = &mut model.normalizer;
                for field in Message(normalizer) {
                    match field? {
                        (2, Field::Bytes(charsmap)) => spaces.charsmap = charsmap.len(),
                        (3, Field::Number(flag)) => spaces.dummy_prefix = flag != 0,
                        (4, Field::Number(flag)) => spaces.remove_extra_whitespaces = flag != 0,
                        (5, Field::Number(flag)) => spaces.escape_whitespaces = flag != 0,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if model.pieces.is_empty() {
        return Err("no SentencePiece model: it holds no pieces".to_owned());
    }
    Ok(model)
}

fn parse_piece(bytes: &[u8]) -> Result<Piece, String> {
    let mut piece = Piece { text: String::new(), score: 0.0, kind: NORMAL };
    for field in Message(bytes) {
        match field? {
            (1, Field::Bytes(text)) => {
                let text = std::str::from_utf8(text).map_err(|_| "a piece is no text")?;
                text.clone_into(&mut piece.text);
            }
            (2, Field::Word(bits)) => piece.score = f32::from_bits(bits),
            (3, Field::Number(kind)) => piece.kind = kind,
            _ => {}
        }
    }
    if piece.text.is_empty() || piece.text.len() > MAX_PIECE || !piece.score.is_finite() {
        return Err(format!("a piece of {} bytes with score {}", piece.text.len(), piece.score));
    }
    Ok(piece)
}

/// Value of a field of a protocol buffer.
#[derive(Debug)]
enum Field<'a> {
    Number(u64),
    Word(u32),
    Long,
    Bytes(&'a [u8]),
}

/// The fields of a message, by number.
struct Message<'a>(&'a [u8]);

impl<'a> Message<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    /// Seven bits a byte, lowest first.
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn field(&mut self) -> Option<(u64, Field<'a>)> {
        let key = self.varint()?;
        let field = match key & 7 {
            0 => Field::Number(self.varint()?),
            1 => {
                self.take(8)?;
                Field::Long
            }
            2 => {
                let len = usize::try_from(self.varint()?).ok()?;
                Field::Bytes(self.take(len)?)
            }
            5 => Field::Word(u32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        };
        Some((key >> 3, field))
    }
}

impl<'a> Iterator for Message<'a> {
    type Item = Result<(u64, Field<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field().ok_or_else(|| {
            // Nothing after it makes sense.
            self.0 = &[];
            "no SentencePiece model, or one that was cut off".to_owned()
        });
        Some(field)
    }
}

#[cfg(test)]
mod tests;
