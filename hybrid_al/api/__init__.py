"""What `import hybrid_al` offers to other code: pick, embed, pretrain, Loop, run, open."""
