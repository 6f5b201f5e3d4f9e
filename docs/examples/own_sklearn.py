"""Active learning around a classifier of scikit-learn, on embeddings."""

from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import hybrid_al as hal

embeddings, truth = load_digits(return_X_y=True)  # a row an image; truth stands in for a person
pool, test = slice(0, 1400), slice(1400, None)
held_out = embeddings[test], truth[test]
model = LogisticRegression(max_iter=1000)
loop = hal.Loop(model, embeddings[pool], classes=10, budgets=[20, 20, 20], run_dir="runs/digits", test=held_out)
for query in loop:
    query.tell(truth[query.indices])
print(hal.open("runs/digits").metrics.frame()[["labels", "test/balanced_accuracy"]])
