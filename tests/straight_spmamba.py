"""SPMamba written down once more, straight from its description.

Only for two sources, an unfold step of 1, and mixtures that need no padding;
it reads the parameters by their published names.
"""

import math

import torch
from small_mamba import sequential_mamba


def straight_spmamba(
    weights, mixture, fft_size, hop_size, unfold_size, epsilon=1e-5
):
    """Estimate the sources.

    Arguments
    ---------
    weights : dict
        Parameters by name.
    mixture : torch.Tensor
        Shape [batch, time].
    fft_size, hop_size : int
        Of the STFT, in samples.
    unfold_size : int
        Neighbouring bins that make a step.
    epsilon : float
        Of all norms but those before the Mamba layers.

    Returns
    -------
    torch.Tensor
        Shape [batch, time, 2].
    """
    deviation = mixture.std(dim=1, keepdim=True)
    window = torch.hann_window(fft_size).to(mixture.dtype)
    spectrum = torch.stft(
        mixture / deviation,
        fft_size,
        hop_size,
        window=window,
        return_complex=True,
    )
    x = torch.stack([spectrum.real, spectrum.imag], dim=1).transpose(2, 3)
    x = torch.conv2d(
        x, weights["conv.0.weight"], weights["conv.0.bias"], padding=1
    )
    x = torch.group_norm(
        x, 1, weights["conv.1.weight"], weights["conv.1.bias"], epsilon
    )
    n_blocks = 1 + max(
        int(name.split(".")[1]) for name in weights if name.startswith("blocks")
    )
    for number in range(n_blocks):
        prefix = f"blocks.{number}."
        block = {
            name.removeprefix(prefix): value
            for name, value in weights.items()
            if name.startswith(prefix)
        }
        x = x + along_bins(block, "intra", x, unfold_size, epsilon)
        turned = x.transpose(2, 3)  # frames in the place of bins
        along_time = along_bins(block, "inter", turned, unfold_size, epsilon)
        x = x + along_time.transpose(2, 3)
        x = x + over_frames(block, x, epsilon)
    x = torch.conv_transpose2d(
        x, weights["deconv.weight"], weights["deconv.bias"], padding=1
    )
    return as_signals(x, deviation, fft_size, hop_size, mixture.shape[1])


def as_signals(x, deviation, fft_size, hop_size, length):
    """Read the channels as two complex spectra; back to samples."""
    window = torch.hann_window(fft_size).to(x.dtype)
    sources = []
    for real, imaginary in ((0, 1), (2, 3)):
        spectrum = torch.complex(x[:, real], x[:, imaginary]).transpose(1, 2)
        signal = torch.istft(
            spectrum, fft_size, hop_size, window=window, length=length
        )
        sources.append(signal * deviation)
    return torch.stack(sources, dim=2)


def normed(x, dimensions, epsilon):
    """Subtract the mean, divide by the deviation."""
    centred = x - x.mean(dimensions, keepdim=True)
    variance = centred.square().mean(dimensions, keepdim=True)
    return centred / (variance + epsilon).sqrt()


def along_bins(block, path, x, unfold_size, epsilon):
    """Go along the last dimension, one row after the other."""
    x = (
        normed(x, [1], epsilon) * block[f"{path}_norm.gamma"]
        + block[f"{path}_norm.beta"]
    )
    batch, channels, rows, bins = x.shape
    output = torch.empty_like(x)
    for row in range(rows):
        # Channel 0 of all neighbours, then channel 1 ...
        steps = torch.stack(
            [
                x[:, :, row, start : start + unfold_size].reshape(batch, -1)
                for start in range(bins - unfold_size + 1)
            ],
            dim=1,
        )
        forwards = one_direction(
            block, f"{path}_mamba.forward_blocks.0.", steps
        )
        backwards = one_direction(
            block, f"{path}_mamba.backward_blocks.0.", steps.flip(1)
        ).flip(1)
        both = torch.cat([forwards, backwards], dim=2).transpose(1, 2)
        output[:, :, row] = torch.conv_transpose1d(
            both, block[f"{path}_linear.weight"], block[f"{path}_linear.bias"]
        )
    return output


def one_direction(block, prefix, steps):
    """RMS norm and Mamba layer, and what came in."""
    mean_square = steps.square().mean(dim=2, keepdim=True)
    hidden = steps / (mean_square + 1e-5).sqrt() * block[f"{prefix}norm.weight"]
    mixer = {
        name.removeprefix(f"{prefix}mixer."): value
        for name, value in block.items()
        if name.startswith(f"{prefix}mixer.")
    }
    return steps + sequential_mamba(
        hidden,
        mixer["in_proj.weight"],
        mixer["conv1d.weight"],
        mixer["conv1d.bias"],
        mixer["x_proj.weight"],
        mixer["dt_proj.weight"],
        mixer["dt_proj.bias"],
        -mixer["A_log"].exp(),
        mixer["D"],
        mixer["out_proj.weight"],
    )


def over_frames(block, x, epsilon):
    """Attend over frames with every head; project."""
    heads = []
    while f"attn_conv_Q_{len(heads)}.0.weight" in block:
        query, key, value = (
            projected(block, f"attn_conv_{name}_{len(heads)}.", x, epsilon)
            for name in "QKV"
        )
        scores = torch.einsum("bctf,bcsf->bts", query, key)
        size = query.shape[1] * query.shape[3]
        weights = torch.softmax(scores / math.sqrt(size), dim=2)
        heads.append(torch.einsum("bts,bcsf->bctf", weights, value))
    heads = torch.cat(heads, dim=1)
    return projected(block, "attn_concat_proj.", heads, epsilon)


def projected(block, prefix, x, epsilon):
    """1x1 convolution, PReLU, and norm over channels and bins."""
    x = torch.conv2d(x, block[f"{prefix}0.weight"], block[f"{prefix}0.bias"])
    x = torch.where(x > 0, x, block[f"{prefix}1.weight"] * x)
    return (
        normed(x, [1, 3], epsilon) * block[f"{prefix}2.gamma"]
        + block[f"{prefix}2.beta"]
    )
