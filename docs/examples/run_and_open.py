"""A recipe played from code, and what its run directory holds."""

# %% A shipped recipe, made small; `__` stands for the dot of a key. Killed, the same call goes on.
import hybrid_al as hal

run = hal.run(
    "cells",
    run_dir="runs/small",
    data__n_pool=60,
    data__n_test=30,
    pretrain__epochs=1,
    train__steps=10,
    loop__budgets=[5, 5, 5],
    track__wandb__mode="off",
)

# %% The learning curve, who was picked and why, and all labels.
print(run.metrics.frame()[["round", "labels", "test/auroc"]])
print(run.picks.frame()[["round", "id", "reason"]].head())
print(run.labels["label"][:5])

# %% Any run directory, later and elsewhere; a table is rows without pandas too.
for row in hal.open("runs/small").metrics:
    print(row["labels"], row["test/auroc"])
