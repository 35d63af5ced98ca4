"""Audio of separated mixtures, to listen to."""

from pathlib import Path

import soundfile
import torch

from polsess.data.dataset import Example
from polsess.errors import UserError
from speechbrain.dataio.batch import PaddedBatch


def at_mixture_level(
    estimates: torch.Tensor, mixture: torch.Tensor
) -> torch.Tensor:
    """Scale estimates to the level that they have within the mixture.

    A separator trained with SI-SDR leaves the scale of its estimates open. The
    gains are those with which the sum of all estimates differs least from the
    mixture, in the sense of least squares.

    Arguments
    ---------
    estimates : torch.Tensor
        Shape [time, n_sources].
    mixture : torch.Tensor
        Shape [time].

    Returns
    -------
    torch.Tensor
        Shape [time, n_sources], in FP32 on the CPU.

    Example
    -------
    >>> mixture = torch.randn(8000)
    >>> scaled = at_mixture_level(-7 * mixture.unsqueeze(-1), mixture)
    >>> torch.allclose(scaled[:, 0], mixture, atol=1e-5)
    True
    """
    # FP16 could not hold the energy of a second. The driver is one that takes
    # silent or equal estimates, too.
    estimates, mixture = estimates.float().cpu(), mixture.float().cpu()
    # To one level first: a quiet estimate is not a silent one.
    loudest = estimates.abs().amax(dim=0)
    estimates = estimates / torch.where(loudest > 0, loudest, 1.0)
    fit = torch.linalg.lstsq(estimates, mixture.unsqueeze(-1), driver="gelsd")
    return estimates * fit.solution.squeeze(-1)


def write_examples(
    folder: Path,
    wanted: list[Example],
    batch: PaddedBatch,
    estimates: torch.Tensor,
    permutation: torch.Tensor,
    sample_rate: int,
) -> None:
    """Write those mixtures of a batch that are wanted, a sub-folder each.

    Arguments
    ---------
    folder : Path
        Where to.
    wanted : list of Example
        Rows and variants to write.
    batch : PaddedBatch
        With ``row``, ``variant``, ``mixture`` and ``targets``.
    estimates : torch.Tensor
        Shape [batch, time, n_sources].
    permutation : torch.Tensor
        Which estimate belongs to each target, of shape [batch, n_sources].
    sample_rate : int
        In Hz.
    """
    examples = zip(batch.row.tolist(), batch.variant, strict=True)
    for index, (row, variant) in enumerate(examples):
        if Example(row, variant) in wanted:
            write_example(
                folder / f"{row + 1:03d}_{variant}",
                batch.mixture.data[index],
                batch.targets.data[index],
                estimates[index][:, permutation[index]],
                sample_rate,
            )


def write_example(
    folder: Path,
    mixture: torch.Tensor,
    targets: torch.Tensor,
    estimates: torch.Tensor,
    sample_rate: int,
) -> None:
    """Write ``mixture.wav``, ``source1.wav`` ..., ``estimate1.wav`` ...

    Arguments
    ---------
    folder : Path
        Made if missing.
    mixture : torch.Tensor
        Shape [time].
    targets : torch.Tensor
        Shape [time, n_sources].
    estimates : torch.Tensor
        In the targets' order, of the same shape.
    sample_rate : int
        In Hz.
    """
    signals = {"mixture": mixture}
    estimates = at_mixture_level(estimates, mixture)
    pairs = zip(targets.unbind(-1), estimates.unbind(-1), strict=True)
    for number, (target, estimate) in enumerate(pairs, start=1):
        signals[f"source{number}"] = target
        signals[f"estimate{number}"] = estimate
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, signal in signals.items():
            # Samples beyond full scale are clipped.
            soundfile.write(
                folder / f"{name}.wav",
                signal.float().cpu().numpy(),
                sample_rate,
            )
    except (OSError, soundfile.SoundFileError) as error:
        raise UserError(f"{folder}: cannot be written ({error})") from error
