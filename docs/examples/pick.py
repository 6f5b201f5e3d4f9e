"""Which rows of an array to label first, and which next."""

# %% Ten images that stand for all, before there is any label. Digits of 8 x 8 pixels stand in for embeddings.
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import hybrid_al as hal
from hybrid_al.errors import InputError

embeddings, truth = load_digits(return_X_y=True)
first = hal.pick(embeddings, 30)
print(first.indices[:5], first.reasons[0])

# %% The next ten: where an own model is least sure. `labeled` keeps those that have a label out of it.
labeled = first.indices
model = LogisticRegression(max_iter=1000).fit(embeddings[labeled], truth[labeled])
following = hal.pick(embeddings, 10, "margin", labeled=labeled, probs=model.predict_proba(embeddings))
print(following.indices, following.scores)

# %% A strategy with settings, written as in a recipe; docs/strategies.md lists them with what each needs.
spread = {"name": "hybrid", "score": {"entropy": 1.0, "density": 1.0}, "batch": {"name": "kmeans", "shortlist": 5}}
mixed = hal.pick(embeddings, 10, spread, labeled=labeled, probs=model.predict_proba(embeddings), seed=1)
print(mixed.reasons[0])

# %% What is missing is said by the name of its argument.
try:
    hal.pick(embeddings, 10, "badge", labeled=labeled, probs=model.predict_proba(embeddings))
except InputError as error:
    print(error)
