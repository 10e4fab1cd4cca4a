#!/usr/bin/python3
"""Makes small images in all supported formats, and what Pillow makes of them.

    apt-get install -y --no-install-recommends python3-pil python3-numpy libjpeg-turbo-progs
    /usr/bin/python3 make_images.py     writes images/* and images.json to its folder

The output is committed; the tests read only the output. This script neither calls nor reads FeedbackKernels. An answer is a box of
the upright image (exif_transpose), converted to RGB (convert) and resized by BILINEAR, as base64 of [rows][columns][3].
"""
import base64
import io
import json
import math
import pathlib
import struct
import subprocess
import zlib

import numpy as np
from PIL import Image, ImageOps

FOLDER = pathlib.Path(__file__).parent
IMAGES = FOLDER / "images"
ROWS, COLUMNS = 49, 67
rng = np.random.default_rng(20)
answers = []


def picture(rows=ROWS, columns=COLUMNS):
    """Smooth colours, sharp edges and a little noise."""
    y, x = np.mgrid[0:rows, 0:columns]
    channels = [127 + 90 * np.sin(x / 9.0 + y / 17.0), (x * 3 + y) % 256, 255 * ((x // 11 + y // 7) % 2)]
    noisy = np.stack(channels, -1) + rng.normal(0, 6, (rows, columns, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def answer(name, box, size, image=None):
    """box: first row, first column, rows, columns; size: rows, columns."""
    if image is None:
        image = ImageOps.exif_transpose(Image.open(IMAGES / name)).convert("RGB")
    row, column, rows, columns = box
    part = image.crop((column, row, column + columns, row + rows)).resize((size[1], size[0]), Image.BILINEAR)
    answers.append({"file": name, "box": box, "size": size, "imageRows": image.height, "imageColumns": image.width,
                    "pixels": base64.b64encode(np.asarray(part).tobytes()).decode()})


def save(name, image, box=(5, 9, 40, 37), size=(17, 21), **options):
    image.save(IMAGES / name, **options)
    answer(name, box, size)


def png(name, pixels, colour, depth, interlaced=False, chunks=()):
    """Writes a PNG that Pillow cannot write: pixels are [rows][bytes of a row] or, interlaced, [rows][columns][bytes of a pixel]."""
    rows, columns = pixels.shape[0], pixels.shape[1]
    if interlaced:
        lines = []
        for y0, x0, dy, dx in ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)):
            lines += [line for line in pixels[y0::dy, x0::dx] if line.size]
    else:
        lines = list(pixels)
    data = b"".join(b"\0" + np.ascontiguousarray(line).tobytes() for line in lines)

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", columns, rows, depth, colour, 0, 0, int(interlaced))
    (IMAGES / name).write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunk(*c) for c in chunks)
                                + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b""))


def cjpeg(name, image, *options):
    source = io.BytesIO()
    image.save(source, "PPM")
    (IMAGES / name).write_bytes(subprocess.run(["cjpeg", *options], input=source.getvalue(), stdout=subprocess.PIPE, check=True).stdout)


IMAGES.mkdir(exist_ok=True)
pixels = picture()
image = Image.fromarray(pixels)
alpha = np.clip(np.mgrid[0:ROWS, 0:COLUMNS][1] * 4 - 30, 0, 255).astype(np.uint8)

# Raw pixels and PNG: the filter alone.
save("colour.ppm", image)
for box, size in (((0, 0, ROWS, COLUMNS), (20, 27)), ((3, 2, 40, 61), (5, 4)), ((7, 11, 13, 9), (29, 22)), ((10, 54, 20, 13), (20, 13)),
                  ((0, 0, ROWS, COLUMNS), (1, 1)), ((48, 66, 1, 1), (3, 2)), ((0, 0, 49, 1), (20, 5)), ((0, 64, 49, 3), (48, 2))):
    answer("colour.ppm", box, size)
save("grey.pgm", image.convert("L"))
save("colour.png", image)
save("alpha.png", Image.fromarray(np.dstack([pixels, alpha])))
save("grey.png", image.convert("L"))
save("grey-alpha.png", Image.fromarray(np.dstack([np.asarray(image.convert("L")), alpha])))
save("palette.png", image.quantize(50))
save("palette-transparent.png", image.quantize(20), transparency=bytes(range(0, 200, 10)))
save("bilevel.png", image.convert("1"))
corner = pixels[:29, :35]
png("interlaced.png", corner, colour=2, depth=8, interlaced=True)
answer("interlaced.png", (5, 9, 23, 25), (12, 21))
fine = (corner.astype(np.uint16) << 8) + rng.integers(0, 256, corner.shape).astype(np.uint16)
png("sixteen.png", fine.astype(">u2"), colour=2, depth=16)
answer("sixteen.png", (5, 9, 23, 25), (12, 21))
png("sixteen-grey.png", fine[:, :, 0].astype(">u2"), colour=0, depth=16)
# Pillow's own conversion of 16-bit grey values clips them at 255 instead of dividing: the answer is the upper byte.
answer("sixteen-grey.png", (5, 9, 23, 25), (12, 21), Image.fromarray((fine[:, :, 0] >> 8).astype(np.uint8)).convert("RGB"))

# WebP.
save("lossy.webp", image, quality=60)
save("lossless.webp", image, lossless=True)
save("alpha.webp", Image.fromarray(np.dstack([pixels, alpha])), lossless=True, exact=True)

# JPEG, by less than half so that they are decoded at full size. Boxes at block borders, where the interpolation of the colour channels looks beyond the box.
for name, options in (("420.jpg", {}), ("422.jpg", {"subsampling": 1}), ("444.jpg", {"subsampling": 0}), ("progressive.jpg", {"progressive": True})):
    save(name, image, quality=75, **options)
    answer(name, (16, 32, 32, 16), (17, 9))
    answer(name, (17, 31, 32, 18), (17, 10))
    answer(name, (16, 16, 32, 32), (32, 32))
save("grey.jpg", image.convert("L"), quality=75)
answer("grey.jpg", (16, 32, 32, 16), (32, 16))
save("cmyk.jpg", image.convert("CMYK"), quality=75)
# Pillow does not write YCCK, but the Adobe marker alone makes the difference: the colours are others, and known.
adobe = (IMAGES / "cmyk.jpg").read_bytes()
place = adobe.index(b"Adobe") + 11
assert adobe[place] == 0
(IMAGES / "ycck.jpg").write_bytes(adobe[:place] + b"\2" + adobe[place + 1:])
answer("ycck.jpg", (5, 9, 40, 37), (17, 21))
cjpeg("restart.jpg", image, "-restart", "2B", "-quality", "75")
answer("restart.jpg", (16, 32, 32, 16), (17, 9))
cjpeg("411.jpg", image, "-sample", "4x1", "-quality", "75")
answer("411.jpg", (16, 31, 32, 17), (32, 17))
cjpeg("440.jpg", image, "-sample", "1x2", "-quality", "75")
answer("440.jpg", (17, 31, 31, 17), (31, 17))
cjpeg("rgb.jpg", image, "-rgb", "-quality", "75")
answer("rgb.jpg", (16, 31, 32, 17), (17, 9))
save("row.jpg", Image.fromarray(picture(1, 40)), box=(0, 3, 1, 30), size=(2, 13), quality=75)
save("column.jpg", Image.fromarray(picture(40, 1)), box=(3, 0, 30, 1), size=(13, 2), quality=75)
save("pixel.jpg", Image.fromarray(picture(1, 1)), box=(0, 0, 1, 1), size=(2, 2), quality=75)

# Orientation.
small = image.crop((0, 0, 43, 30))
for orientation in range(1, 9):
    exif = Image.Exif()
    exif[0x112] = orientation
    save(f"orientation-{orientation}.jpg", small, box=(3, 5, 21, 24), size=(13, 14), quality=75, exif=exif)
exif = Image.Exif()
exif[0x112] = 6
save("orientation-6.png", small, box=(3, 5, 21, 24), size=(13, 14), exif=exif)
save("orientation-6.webp", small, box=(3, 5, 21, 24), size=(13, 14), lossless=True, exif=exif)


# Random crops: torchvision's RandomResizedCrop.get_params with the draws of Philox (make.py), and torchvision's Resize and CenterCrop.


def philox(counter, key):
    c, k, mask = list(counter), [key & 0xFFFFFFFF, key >> 32], 0xFFFFFFFF
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & mask, (p0 >> 32) ^ c[3] ^ k[1], p0 & mask]
        k = [(k[0] + 0x9E3779B9) & mask, (k[1] + 0xBB67AE85) & mask]
    return c


class Draws:
    def __init__(self, seed, purpose, layer, step):
        self.key, self.counter, self.next = seed, (purpose, layer, step), 0

    def word(self):
        block, self.next = philox((self.next // 4, *self.counter), self.key), self.next + 1
        return block[(self.next - 1) % 4]

    def uniform(self, low, high):
        return low + (high - low) * ((self.word() >> 8) / 2.0 ** 24)

    def randint(self, bound):
        return self.word() * bound >> 32


def random_resized_crop(draws, height, width, scale, ratio):
    for _ in range(10):
        area = height * width * draws.uniform(*scale)
        aspect = math.exp(draws.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = int(round(math.sqrt(area * aspect))), int(round(math.sqrt(area / aspect)))
        if 0 < w <= width and 0 < h <= height:
            i = draws.randint(height - h + 1)
            return i, draws.randint(width - w + 1), h, w
    w, h = width, height
    if width / height < ratio[0]:
        h = int(round(w / ratio[0]))
    elif width / height > ratio[1]:
        w = int(round(h * ratio[1]))
    return (height - h) // 2, (width - w) // 2, h, w


random_crops = []
for index in range(60):
    height, width = ((375, 500), (224, 224), (500, 333), (20, 1000), (1, 1), (3, 2))[index % 6]
    scale, ratio = (((0.08, 1), (3 / 4, 4 / 3)), ((0.25, 0.5), (0.5, 1.5)))[index // 6 % 2]
    box = random_resized_crop(Draws(77, 8, 3, index), height, width, scale, ratio)
    random_crops.append({"rows": height, "columns": width, "scale": scale, "ratio": ratio, "step": index, "box": box})

centre_crops = []
for height, width in ((375, 500), (500, 375), (256, 256), (333, 500), (501, 334), (1, 7), (1000, 3), (90, 91)):
    for resize, size in ((256, 224), (146, 128), (64, 64), (257, 224), (9, 2)):
        long = int(resize * max(height, width) / min(height, width))
        rows, columns = (long, resize) if width <= height else (resize, long)
        window = int(round((rows - size) / 2.0)), int(round((columns - size) / 2.0))
        centre_crops.append({"rows": height, "columns": width, "resize": resize, "size": size, "resized": (rows, columns), "window": window})

lines = ",\n".join(json.dumps(a) for a in answers)
(FOLDER / "images.json").write_text(
    '{"resized": [\n' + lines + '\n],\n"randomCrops": ' + json.dumps(random_crops) + ',\n"centreCrops": ' + json.dumps(centre_crops) + "}\n")
print(sum(f.stat().st_size for f in IMAGES.iterdir()), "bytes of images,", (FOLDER / "images.json").stat().st_size, "bytes of answers")
