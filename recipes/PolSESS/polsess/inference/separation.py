"""Trained separators in the style of SpeechBrain's inference classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from polsess.audio import Recording, RecordingError
from polsess.errors import UserError
from polsess.inference.models import choose_precision, load_model
from polsess.inference.overlap_add import CHUNK, OVERLAP, OverlapAdd
from polsess.inference.resampling import ResampledReader, resample
from polsess.processes import set_up_device, too_little_memory
from speechbrain.inference.interfaces import Pretrained


class SpeechSeparation(Pretrained):
    """A separator that is ready to use, of any of the recipe's models.

    ``from_hparams`` takes folders, and fetches nothing from a hub; so there is
    no ``savedir``. It runs no code of a folder, except of a public model of
    SpeechBrain's with ``trust=True``.

    Example
    -------
    >>> from polsess.models.separator import MaskingSeparator
    >>> from speechbrain.lobes.models import conv_tasnet, dual_path
    >>> network = MaskingSeparator(
    ...     dual_path.Encoder(kernel_size=16, out_channels=8),
    ...     conv_tasnet.MaskNet(N=8, B=4, H=8, P=3, X=2, R=1, C=2),
    ...     dual_path.Decoder(8, 1, kernel_size=16, stride=8, bias=False),
    ...     kernel_size=16,
    ...     minimum_frames=3,
    ... )
    >>> hparams = {"sample_rate": 8000, "n_sources": 2}
    >>> model = SpeechSeparation({"separator": network}, hparams)
    >>> model.separate_batch(torch.randn(3, 8001)).shape
    torch.Size([3, 8001, 2])
    """

    MODULES_NEEDED = ["separator"]
    HPARAMS_NEEDED = ["sample_rate", "n_sources"]

    @classmethod
    def from_hparams(
        cls,
        source: str | Path,
        run_opts: dict | None = None,
        freeze_params: bool = True,
        averaged: bool = False,
        trust: bool = False,
    ) -> SpeechSeparation:
        """Load a trained separator.

        Arguments
        ---------
        source : str, Path
            The folder of a run, one that ``export.py`` made, or one that
            SpeechBrain's ``SepformerSeparation`` loads.
        run_opts : dict, None
            SpeechBrain's run options, such as ``{"device": "cuda"}``; by
            default a GPU if there is one. ``precision`` may be ``auto``, the
            default: see ``choose_precision``.
        freeze_params : bool
            Whether the parameters are for inference only.
        averaged : bool
            Whether to take the averaged weights of a run with ``ema_decay``.
        trust : bool
            Whether SpeechBrain may run the code of a public model.

        Returns
        -------
        SpeechSeparation
            Its ``.run`` is a TrainedModel.

        TF32 is switched off for the process, unless ``run_opts`` has ``tf32``.

        Raises
        ------
        UserError
            If there is no such model, it is damaged, or the device is missing.
        """
        run = load_model(source, averaged, trust)
        run_opts = dict(run_opts or {})
        device = set_up_device(run_opts, run.separator)
        precision = run_opts.get("precision")
        precision = choose_precision(precision, run.separator, device)
        run_opts |= {"device": device, "precision": precision}
        # Not all settings: Pretrained would follow those of the training.
        hparams = {name: run.settings[name] for name in cls.HPARAMS_NEEDED}
        model = cls(
            {"separator": run.separator}, hparams, run_opts, freeze_params
        )
        model.run = run
        return model

    def separate_batch(self, mix: torch.Tensor) -> torch.Tensor:
        """Separate mixtures at the model's rate.

        Arguments
        ---------
        mix : torch.Tensor
            Shape [batch, time].

        Returns
        -------
        torch.Tensor
            Estimates, of shape [batch, time, n_sources], on the model's device,
            in FP32.
            Their levels are arbitrary.

        Raises
        ------
        UserError
            If the device has too little memory.
        """
        mix = mix.to(self.device)
        size = f"{len(mix)} times {mix.shape[1]} samples"
        memory = too_little_memory(
            self.device, f"for {size} at once: separate shorter chunks"
        )
        with memory, self.inference_ctx:
            return self.mods.separator(mix).float()

    def forward(self, mix: torch.Tensor) -> torch.Tensor:
        """Separate mixtures as ``separate_batch`` does."""
        return self.separate_batch(mix)

    def separate_file(
        self, path: str | Path, chunk: float = CHUNK, overlap: float = OVERLAP
    ) -> torch.Tensor:
        """Separate a recording of any rate and length, in memory.

        Arguments
        ---------
        path : str, Path
            A file that libsndfile reads; its channels are averaged.
        chunk : float
            Seconds that are separated at once.
        overlap : float
            Seconds that two neighbouring chunks share.

        Returns
        -------
        torch.Tensor
            Estimates, of shape [1, time, n_sources], as long as the recording
            and at its rate, at the level that they have in it.

        Raises
        ------
        UserError
            If the file cannot be read, or the overlap does not fit the chunk.
        """
        recording = Recording(Path(path))
        separation = self.make_separation(chunk, overlap)
        blocks = list(self.separate_recording(recording, separation))
        estimates = np.concatenate(blocks)
        estimates -= estimates.mean(axis=0, dtype=np.float64)
        level = separation.levels.level()
        estimates = level.apply(estimates, 0, len(estimates))
        return torch.from_numpy(estimates).unsqueeze(0)

    def make_separation(
        self, chunk: float = CHUNK, overlap: float = OVERLAP
    ) -> OverlapAdd:
        """Make the overlap-add that separates one recording.

        Arguments
        ---------
        chunk : float
            Seconds that are separated at once.
        overlap : float
            Seconds that two neighbouring chunks share, less than the chunk.
        """
        rate = self.hparams.sample_rate
        if not 1 < overlap * rate < chunk * rate - 1 < float("inf"):
            raise UserError(
                f"overlap {overlap:g} s: give more than 0, and less than the "
                f"chunk's {chunk:g} s"
            )
        samples, shared = round(chunk * rate), round(overlap * rate)
        return OverlapAdd(self.separate_batch, samples, shared)

    def separate_recording(
        self, recording: Recording, separation: OverlapAdd
    ) -> Iterator[np.ndarray]:
        """Separate a recording in constant memory.

        Arguments
        ---------
        recording : Recording
            The recording.
        separation : OverlapAdd
            From ``make_separation``; holds order and levels afterwards.

        Yields
        ------
        numpy.ndarray
            Estimates, of shape [time, n_sources], at the recording's rate.
            Their levels are arbitrary: see ``OverlapAdd``.

        Raises
        ------
        RecordingError
            If it cannot be read, or its estimates are not finite.
        """
        # Separators were trained on signals of zero mean.
        offset = recording.offset()
        blocks = (block - offset for block in recording.blocks())
        rate, length = recording.sample_rate, recording.length
        try:
            yield from self.separate_blocks(blocks, rate, length, separation)
        except FloatingPointError as error:
            raise RecordingError(f"{recording.path}: {error}") from error

    def separate_blocks(
        self,
        blocks: Iterable[np.ndarray],
        rate: int,
        length: int,
        separation: OverlapAdd,
    ) -> Iterator[np.ndarray]:
        """Separate a signal of zero mean in constant memory.

        Arguments
        ---------
        blocks : iterable of numpy.ndarray
            Its blocks, of shape [time], in FP32.
        rate : int
            Its rate in Hz.
        length : int
            Samples of all blocks.
        separation : OverlapAdd
            From ``make_separation``; holds order and levels afterwards.

        Returns
        -------
        iterator of numpy.ndarray
            Estimates, as ``separate_recording`` yields them.

        Raises
        ------
        FloatingPointError
            If the estimates are not finite.
        """
        own_rate = self.hparams.sample_rate
        estimates = separation.blocks(
            ResampledReader(blocks, rate, own_rate).read
        )
        n_sources = self.hparams.n_sources
        return resample(estimates, own_rate, rate, n_sources, length)
