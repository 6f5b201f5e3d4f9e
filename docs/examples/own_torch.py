"""Active learning around a module of torch, whose dropout says what it is unsure of."""

import torch
from sklearn.datasets import load_digits
from torch import nn

import hybrid_al as hal

torch.manual_seed(0)  # of the weights that the module starts from
images, truth = load_digits(return_X_y=True)
layers = nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(), nn.Linear(576, 10)
model = hal.TorchModel(nn.Sequential(*layers), epochs=50, passes=10)
for query in hal.Loop(model, images, classes=10, budgets=[20, 20, 20], run_dir="runs/own-net", query="bald"):
    query.tell(truth[query.indices])
print((model.predict_proba(images).mean(axis=1).argmax(axis=1) == truth).mean())
