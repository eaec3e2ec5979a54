"""One problem on several processes: MPI for what all must know, dolfinx for who has what, PETSc for linear systems."""
