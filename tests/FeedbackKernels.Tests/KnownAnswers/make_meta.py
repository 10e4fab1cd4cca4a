"""Writes meta.mat: the synsets of ImageNet's development kit in miniature, as MATLAB stores them.

    apt-get install -y --no-install-recommends python3-numpy python3-scipy
    /usr/bin/python3 make_meta.py         writes meta.mat and meta-plain.mat to its folder
"""
import os

import numpy
import scipy.io

# ILSVRC2012_ID, WNID, words, gloss, num_children, children, wordnet_height, num_train_images. The numbers are not in the order of
# the WordNet ids, and the last two synsets are groups of classes.
SYNSETS = [
    (1, "n02119789", "kit fox, Vulpes macrotis", "small grey fox of southwestern United States", 0, [], 0, 1300),
    (2, "n02100735", "English setter", "an English breed having a plumed tail", 0, [], 0, 1300),
    (3, "n01440764", "tench, Tinca tinca", "freshwater dace-like game fish of Europe", 0, [], 0, 1300),
    (4, "n03000684", "chain saw, chainsaw", "portable power saw", 0, [], 0, 1194),
    (1001, "n00001740", "entity", "that which is perceived to have its own distinct existence", 2, [1, 2], 19, 0),
    (1002, "n00001930", "physical entity", "an entity that has physical existence", 2, [3, 4], 18, 0),
]
FIELDS = ["ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children", "wordnet_height", "num_train_images"]

synsets = numpy.zeros((len(SYNSETS), 1), dtype=[(name, object) for name in FIELDS])
for row, values in enumerate(SYNSETS):
    for name, value in zip(FIELDS, values):
        synsets[row, 0][name] = value if isinstance(value, str) else numpy.array(value, dtype=numpy.float64)

folder = os.path.dirname(os.path.abspath(__file__))
for name, compressed in (("meta", True), ("meta-plain", False)):
    scipy.io.savemat(os.path.join(folder, name + ".mat"), {"other": numpy.arange(3), "synsets": synsets}, do_compression=compressed)
