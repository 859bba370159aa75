r"""Samplers: from noise at the last level of a schedule back to data at its first.

Every sampler is a function ``name(denoiser, schedule, x, noise, *, options) -> x0``, listed in
`timediff.registry.SAMPLERS`, whose keyword-only arguments are its options:

- ``denoiser(x, level) -> Prediction``, all that is seen of the network, with ``level`` in floats;
- ``schedule``, the chain to walk, already respaced (`timediff.diffusion.spacing.respace`);
- ``x``, the start at level N, ``[..., D]``: standard normal noise times ``schedule.prior_std``;
- ``noise()``, the next standard normal tensor like ``x``. Randomness is the caller's.

With clean data :math:`x_0` and noise :math:`\epsilon` predicted at level n, the chain goes on to level n - 1.
`ancestral` and `ddim` draw from a posterior; `dpm_solver`, `sde_dpm_solver` and `heun` solve the reverse
equations that Song et al. (2021), arXiv:2011.13456, eqs. 6 and 13, derive; `langevin` moves within a level.
In the coordinates :math:`y = x / \alpha,\ \rho = \sigma / \alpha` every process is the same, so all of them
serve VP, sub-VP and VE chains alike.
"""
