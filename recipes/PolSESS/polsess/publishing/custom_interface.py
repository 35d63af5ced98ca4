"""SPMamba for SpeechBrain's ``foreign_class``; ``export.py`` copies it.

> from speechbrain.inference.interfaces import foreign_class
> model = foreign_class(
>     source=FOLDER,
>     pymodule_file="custom_interface.py",
>     classname="SPMambaSeparation",
> )
> estimates = model.separate_batch(mixture)
"""

import sys
from pathlib import Path

import torch

from speechbrain.inference.separation import SepformerSeparation

# The network's modules are beside this file, or beside the target of this link:
# SpeechBrain's savedir and hubs' caches consist of links. These folders come
# first, since other packages may have modules of the same names.
_path = Path(__file__)
_folders = [str(_path.parent)]
while _path.is_symlink():
    _path = _path.parent / _path.readlink()
    _folders.append(str(_path.parent))
sys.path[:0] = _folders


class SPMambaSeparation(SepformerSeparation):
    """Separation by a network without separate encoder and decoder.

    ``separate_file`` is SpeechBrain's own: it resamples the recording to the
    model's rate, and gives each estimate a peak of 1.
    """

    MODULES_NEEDED = ["separator"]

    def separate_batch(self, mix: torch.Tensor) -> torch.Tensor:
        """Separate mixtures [batch, time].

        Returns
        -------
        torch.Tensor
            Estimates, of shape [batch, time, n_sources].
        """
        return self.mods.separator(mix.to(self.device)).float()
