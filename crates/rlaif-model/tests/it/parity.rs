//! Tower, projector, pooling, logits and greedy decoding equal to `transformers`'.

use burn::tensor::Tensor;
use rlaif_model::hf::VideoPooling;
use rlaif_model::{Grid, Suffix};

use crate::support::{
    F32_SUMS, FIXTURES, Golden, assert_close, grid_of, host, logits, open, spliced,
};

#[test]
fn the_tower_gives_the_hidden_states_of_transformers() {
    for name in FIXTURES {
        let (model, golden) = (open(name), Golden::of(name));
        let shape = golden.shape("tower_hidden"); // [F, 1 + P, v], the class token first
        let hidden = golden.floats("tower_hidden");
        let frame = shape[1] * shape[2];
        let patches: Vec<f32> =
            hidden.chunks_exact(frame).flat_map(|f| f[shape[2]..].iter().copied()).collect();
        let got = model.visual_features(&golden.pixels());
        assert_close(&got, &patches, F32_SUMS, name);
    }
}

#[test]
fn the_projector_and_the_pooling_give_the_visual_tokens_of_transformers() {
    for name in FIXTURES {
        let (mut model, golden) = (open(name), Golden::of(name));
        let pixels = golden.pixels();
        let features = model.tower_features(&pixels);
        for (pooling, expected) in
            [(VideoPooling::None, "projected"), (VideoPooling::SpatialTemporal, "pooled")]
        {
            model.set_video_pooling(pooling);
            let tokens = model.visual_tokens(features.clone(), &[grid_of(&model, &pixels)]);
            assert_eq!(tokens.dims(), *golden.shape(expected), "{name} {expected}");
            assert_eq!(tokens.dims()[0], model.n_visual_tokens(grid_of(&model, &pixels)));
            assert_close(&host(&tokens), &golden.floats(expected), F32_SUMS, expected);
        }
    }
}

/// Two clips of unlike length in one call, against each alone.
#[test]
fn clips_of_unlike_length_are_pooled_each_by_itself() {
    for name in FIXTURES {
        let (mut model, golden) = (open(name), Golden::of(name));
        model.set_video_pooling(VideoPooling::SpatialTemporal);
        let features = model.tower_features(&golden.pixels());
        let grid = grid_of(&model, &golden.pixels());
        let (patches, short_grid) = (grid.h * grid.w, Grid { t: 2, ..grid });
        let short = features.clone().narrow(0, 0, 2 * patches);
        let both = model.visual_tokens(
            Tensor::cat(vec![short.clone(), features.clone()], 0),
            &[short_grid, grid],
        );
        let one_by_one =
            [model.visual_tokens(short, &[short_grid]), model.visual_tokens(features, &[grid])];
        let expected = host(&Tensor::cat(one_by_one.to_vec(), 0));
        // The same sums, tiled for another number of rows: a few roundings of values below 16.
        assert_close(&host(&both), &expected, 1e-5, name);
    }
}

/// Wherever the sequence is cut into prompt and continuation, all logits are those of one pass.
#[test]
fn the_logits_of_a_prompt_are_those_of_transformers_wherever_it_is_cut() {
    for name in FIXTURES {
        let (mut model, golden) = (open(name), Golden::of(name));
        let pixels = golden.pixels();
        for (path, pooling) in
            [("plain", VideoPooling::None), ("pooled", VideoPooling::SpatialTemporal)]
        {
            model.set_video_pooling(pooling);
            let visual =
                model.visual_tokens(model.tower_features(&pixels), &[grid_of(&model, &pixels)]);
            let ids = golden.ids(&format!("{path}.ids"));
            let embeds = spliced(&model, &ids, visual);
            let expected = golden.floats(&format!("{path}.logits"));
            let vocabulary = model.config.text.vocab_size;
            for cut in [1, 2, ids.len() / 2, ids.len() - 1] {
                let got = logits(&model.decoder, embeds.clone(), cut);
                let from = (cut - 1) * vocabulary;
                let what = format!("{name} {path} cut at {cut}");
                assert_close(&host(&got), &expected[from..], F32_SUMS, &what);
            }
        }
    }
}

#[test]
fn greedy_decoding_token_by_token_follows_transformers() {
    for name in FIXTURES {
        let (mut model, golden) = (open(name), Golden::of(name));
        let pixels = golden.pixels();
        for (path, pooling) in
            [("plain", VideoPooling::None), ("pooled", VideoPooling::SpatialTemporal)]
        {
            model.set_video_pooling(pooling);
            let visual =
                model.visual_tokens(model.tower_features(&pixels), &[grid_of(&model, &pixels)]);
            let ids = golden.ids(&format!("{path}.ids"));
            let decoder = &model.decoder;
            let prefix = decoder.prefill(spliced(&model, &ids, visual), &[ids.len()]);
            let expected = golden.ids(&format!("{path}.greedy"));
            let mut suffix = Suffix::new(decoder, vec![0], expected.len(), &model.device());
            let mut hidden = prefix.last_hidden.clone();
            let (mut tokens, mut logprobs) = (Vec::new(), Vec::new());
            for _ in 0..expected.len() {
                let row = hidden.matmul(decoder.head().transpose());
                let row = host(&burn::tensor::activation::log_softmax(row, 1));
                let best = (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b]));
                let best = best.expect("a vocabulary");
                logprobs.push(row[best]);
                tokens.push(u32::try_from(best).expect("a token id"));
                let embeds = decoder.embed_tokens(&tokens[tokens.len() - 1..]);
                hidden = decoder.step(&prefix, &mut suffix, embeds);
            }
            assert_eq!(tokens, expected, "{name} {path}");
            let expected = golden.floats(&format!("{path}.greedy_logprobs"));
            assert_close(&logprobs, &expected, F32_SUMS, &format!("{name} {path}"));
        }
    }
}
