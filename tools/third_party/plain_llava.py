"""Makes a ClipWorld folder one that transformers computes as this project does.

    python plain_llava.py DIR [FRAMES]

ClipWorld's models pool their frames (`video_pooling = "spatial_temporal"`), which transformers' LLaVA does
not know: it would take the visual tokens of each frame one after the other, and answer badly without a word.
This switches pooling off and sets the frames of a clip (4), for a model that is yet to be trained.
processor_config.json tells LlavaProcessor how many tokens a frame is; without it a request with a picture
fails. Training reads both files and writes them with every checkpoint that comes of this folder.
"""

import json
import pathlib
import sys


def main():
    folder = pathlib.Path(sys.argv[1])
    frames = int(sys.argv[2]) if len(sys.argv) > 2 else 4
    path = folder / "config.json"
    config = json.loads(path.read_text())
    if config["model_type"] != "llava":
        sys.exit(f"{path}: model_type is {config['model_type']!r}, expected 'llava'")
    config["video_pooling"] = "none"
    config["num_frames"] = frames
    path.write_text(json.dumps(config, indent=2) + "\n")
    processor = {
        "processor_class": "LlavaProcessor",
        "image_token": "<image>",
        # CLIP's class token, which `vision_feature_select_strategy` takes off again.
        "num_additional_image_tokens": 1,
        "patch_size": config["vision_config"]["patch_size"],
        "vision_feature_select_strategy": config["vision_feature_select_strategy"],
    }
    (folder / "processor_config.json").write_text(json.dumps(processor, indent=2) + "\n")


if __name__ == "__main__":
    main()
