"""An encoder trained on images without labels, and the vectors that it gives."""

# %% Stage 0 on an array (N, H, W); a list of paths or a folder does as well. Killed, the same call goes on.
import numpy as np
from sklearn.datasets import load_digits

import hybrid_al as hal

images = np.clip(load_digits().images * 16, 0, 255).astype(np.uint8)[:200]
run = hal.pretrain(images, run_dir="runs/digits-encoder", method={"name": "simclr", "epochs": 1}, image_size=16)
print(run.encoder, run.embeddings.shape)

# %% Its vectors of other images, and those of a network by name: here with random weights.
print(hal.embed(images[:5], encoder=run).shape)
print(hal.embed(images[:5], encoder={"name": "resnet10t"}, image_size=32).shape)

# %% The first ten images to label.
print(hal.pick(run.embeddings, 10).indices)
