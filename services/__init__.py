"""The five services. None imports another: they share facts (`contracts`) and ground (`chassis`), nothing else."""
