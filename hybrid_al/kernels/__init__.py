"""Heavy work on vectors: NumPy in, NumPy out; torch, faiss and threads inside."""
