"""The store: the truth about campaigns. One module per aggregate; SQL stands nowhere else."""
