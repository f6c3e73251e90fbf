//! Video-language models: tower, projector, decoder, LoRA, tokenizer, Hugging Face folders.
