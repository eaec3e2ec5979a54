"""Linear systems of reaction-diffusion: diffusion alone by conjugate gradients, all species together by multigrid."""
