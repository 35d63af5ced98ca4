"""What is compared: metrics, their units, and how they are shown."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """What the compared values are.

    Arguments
    ---------
    text : str
        Its name and unit.
    unit : str
        Empty if it has none.
    decimals : int
        That are shown.
    tolerance : float
        By how much the same audio's value may differ, for rounding on another
        machine.
    """

    text: str
    unit: str = ""
    decimals: int = 2
    tolerance: float = 0.01

    @property
    def in_unit(self) -> str:
        """The unit behind a name."""
        return f" ({self.unit})" if self.unit else ""


MEASURES = {
    "si_sdr": Measure("SI-SDR (dB)", "dB"),
    "sdr": Measure("SDR (dB)", "dB"),
    "pesq": Measure("PESQ (MOS-LQO)"),
    "stoi": Measure("STOI", decimals=3, tolerance=0.001),
    "estoi": Measure("ESTOI", decimals=3, tolerance=0.001),
    "dnsmos": Measure("DNSMOS (overall MOS)"),
}


def measure_of(metric: str) -> Measure:
    """Tell what a metric measures.

    Arguments
    ---------
    metric : str
        As ``evaluate.py`` calls it.

    Returns
    -------
    Measure
        Of its name alone if it is not known here.

    Example
    -------
    >>> measure_of("pesq").text, measure_of("wer").text
    ('PESQ (MOS-LQO)', 'wer')
    """
    return MEASURES.get(metric, Measure(metric))
