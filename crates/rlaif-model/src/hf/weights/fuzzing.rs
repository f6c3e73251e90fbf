//! Parsers of weights files on any bytes, with what must hold of whatever they accept.

use std::io::Cursor;

use crate::hf::weights::header::read_header;
use crate::hf::weights::index::parse_index;
use crate::hf::weights::read::Stored;
use crate::hf::weights::torch::read_state_dict;

/// A safetensors file. True where it is accepted.
pub(in crate::hf) fn safetensors(bytes: &[u8]) -> bool {
    let mut file = Cursor::new(bytes);
    let tensors = read_header(&mut file, bytes.len() as u64);
    tensors.is_ok_and(|tensors| lie_within(&tensors, bytes.len()))
}

/// A file of `torch.save`. True where it is accepted.
pub(in crate::hf) fn torch(bytes: &[u8]) -> bool {
    let mut file = Cursor::new(bytes);
    let tensors = read_state_dict(&mut file, bytes.len() as u64);
    tensors.is_ok_and(|tensors| lie_within(&tensors, bytes.len()))
}

/// An index. True where it is accepted.
pub(in crate::hf) fn index(text: &str) -> bool {
    let Ok(shards) = parse_index(text, "safetensors") else { return false };
    for shard in shards.keys() {
        let parts = std::path::Path::new(shard).components().count();
        assert!(parts == 1 && !shard.starts_with('.'), "{shard:?} leads out of the folder");
    }
    true
}

/// Every element of every tensor lies in the file, and no tensor is larger than the file: what
/// `read` relies on.
fn lie_within(tensors: &[Stored], size: usize) -> bool {
    for tensor in tensors {
        let start = usize::try_from(tensor.start).expect("a start beyond any address");
        let end = start.checked_add(tensor.len).expect("an end beyond any address");
        assert!(end <= size, "{tensor:?} ends beyond the {size} bytes of its file");
        let elements = tensor.shape.iter().try_fold(1_usize, |n, size| n.checked_mul(*size));
        let elements = elements.expect("a shape that overflows");
        let bytes = elements * tensor.dtype.bitsize() / 8;
        assert!(bytes <= size, "{tensor:?} is larger than its file");
        match &tensor.strides {
            None => assert_eq!(bytes, tensor.len, "{tensor:?}"),
            Some(strides) => {
                let last: usize =
                    tensor.shape.iter().zip(strides).map(|(n, stride)| (n - 1) * stride).sum();
                assert!((last + 1) * tensor.dtype.bitsize() / 8 <= tensor.len, "{tensor:?}");
            }
        }
    }
    true
}
