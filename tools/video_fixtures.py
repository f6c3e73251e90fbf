"""Makes the golden files of crates/rlaif-video/tests/fixtures.

Needs numpy, pillow, torch and transformers (5.x). Run from the repository root:

    python tools/video_fixtures.py

`linspace.json`: [n, F, numpy.linspace(0, n - 1, F, dtype=int)], chosen so that floating point
matters in some. `resample_*.png`: Pillow's resize of `image.png`. `pixels_*.f32`: what
transformers' Pillow backend makes of `image.png` (float32, little endian, [3, H, W]).
`anim.*`: red, green, blue for 100, 200, 300 ms. `rgba.png` and `rgba_on_white.png`: transparency
and what transformers makes of it. `turned.jpg`: 8 x 4, left half white, with the EXIF orientation
that turns it upright by 90 degrees clockwise. `cases.json` lists them with the versions that made them.
"""

import json
from pathlib import Path

import numpy as np
import PIL
import transformers
from PIL import Image
from transformers.image_transforms import convert_to_rgb
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

OUT = Path("crates/rlaif-video/tests/fixtures")
FILTERS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}


def picture(height=37, width=53):
    """A gradient, a disc, hard edges and noise: every filter rings somewhere."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack([x * 255 // width, y * 255 // height, (x + y) % 17 * 15], axis=-1)
    image[(x - 20) ** 2 + (y - 15) ** 2 < 90] = (250, 20, 60)
    image[25:32, 30:50] = rng.integers(0, 256, (7, 20, 3))
    image[:, 44:46] = (0, 0, 0)
    image[:, 46:48] = (255, 255, 255)
    return image.astype(np.uint8)


def linspace_cases():
    cases = [[n, f] for n, f in [(1, 50), (2, 2), (10, 4), (49, 50), (50, 50), (51, 50), (250, 50)]]
    for n in range(2, 400):
        for f in (5, 8, 30, 50, 100):
            truncated = np.linspace(0, n - 1, f, dtype=int).tolist()
            if truncated != [k * (n - 1) // (f - 1) for k in range(f)]:
                cases.append([n, f])
    return [[n, f, np.linspace(0, n - 1, f, dtype=int).tolist()] for n, f in cases[:24]]


def animations_and_stills():
    solid = [Image.new("RGB", (6, 4), color) for color in ("red", "lime", "blue")]
    delays = [100, 200, 300]
    for ending, more in [("gif", {}), ("webp", {"lossless": True}), ("png", {})]:
        solid[0].save(OUT / f"anim.{ending}", save_all=True, append_images=solid[1:],
                      duration=delays, loop=0, **more)
    rng = np.random.default_rng(3)
    rgba = Image.fromarray(rng.integers(0, 256, (16, 24, 4), dtype=np.uint8), "RGBA")
    rgba.save(OUT / "rgba.png")
    Image.fromarray(convert_to_rgb(rgba, return_numpy=True)).save(OUT / "rgba_on_white.png")
    turned = Image.new("RGB", (8, 4))
    turned.paste((255, 255, 255), (0, 0, 4, 4))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(OUT / "turned.jpg", exif=exif, quality=95, subsampling=0)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for old in [*OUT.glob("resample_*.png"), *OUT.glob("pixels_*.f32")]:
        old.unlink()
    (OUT / "linspace.json").write_text(json.dumps(linspace_cases()) + "\n")

    animations_and_stills()
    image = Image.fromarray(picture())
    image.save(OUT / "image.png", optimize=True)
    resample = []
    for name, code in FILTERS.items():
        for width, height in [(24, 17), (53, 20), (80, 37), (70, 61), (5, 90)]:
            file = f"resample_{name}_{width}x{height}.png"
            image.resize((width, height), code).save(OUT / file, optimize=True)
            resample.append({"file": file, "filter": code, "width": width, "height": height})

    clip, llava = CLIPImageProcessorPil, LlavaImageProcessorPil
    square = {"height": 16, "width": 16}
    configs = [
        ("clip", clip, {"size": {"shortest_edge": 16}, "crop_size": square}),
        ("clip_up", clip, {"size": {"shortest_edge": 48}, "crop_size": {"height": 48, "width": 48}}),
        ("bilinear", clip, {"size": {"shortest_edge": 16}, "crop_size": square, "resample": 2}),
        ("exact", clip, {"size": {"height": 12, "width": 20}, "do_center_crop": False}),
        ("crop_larger", clip, {"do_resize": False, "crop_size": {"height": 44, "width": 31}}),
        ("bytes", clip, {"size": {"shortest_edge": 9}, "crop_size": {"height": 9, "width": 9},
                         "do_rescale": False, "do_normalize": False}),
        ("unscaled", clip, {"size": {"shortest_edge": 9}, "crop_size": {"height": 9, "width": 9},
                            "do_rescale": False, "image_mean": [100, 110, 120],
                            "image_std": [50, 60, 70]}),
        ("pad", llava, {"do_pad": True, "size": {"shortest_edge": 16}, "crop_size": square}),
    ]
    pixels = []
    for name, family, settings in configs:
        processor = family(**settings)
        values = processor(image, return_tensors="np")["pixel_values"][0].astype("<f4")
        file = f"pixels_{name}.f32"
        (OUT / file).write_bytes(values.tobytes())
        config = json.loads(processor.to_json_string())
        pixels.append({"file": file, "shape": list(values.shape), "config": config})

    cases = {
        "pillow": PIL.__version__,
        "transformers": transformers.__version__,
        "numpy": np.__version__,
        "resample": resample,
        "pixels": pixels,
    }
    (OUT / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main()
