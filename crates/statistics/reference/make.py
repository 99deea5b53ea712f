"""Writes reference.json: random data, and what SciPy, scikit-learn and krippendorff say about it."""

import json
import math
import pathlib
import random

import krippendorff
import scipy
from scipy import stats
from sklearn.metrics import cohen_kappa_score

random.seed(20_261_127)


def sign(up, down):
    return {"up": up, "down": down, "p": stats.binomtest(up, up + down).pvalue if up + down else 1.0}


def permutation(differences):
    test = stats.permutation_test(
        (differences,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", n_resamples=math.inf, vectorized=True
    )
    return {"differences": differences, "p": test.pvalue}


def drawn(differences):
    """Too many signs to try them all: SciPy draws as well, ten times as often as we do."""
    test = stats.permutation_test(
        (differences,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", n_resamples=200_000, vectorized=True,
        batch=2_000, rng=1
    )
    return {"differences": differences, "p": test.pvalue}


def differences(length, shift):
    return [round(random.gauss(shift, 1.0), 3) for _ in range(length)]


def adjusted(p_values):
    return {"p": p_values, "adjusted": list(stats.false_discovery_control(p_values, method="bh"))}


def rated(of, like):
    """A rating that is mostly as another one."""
    return like if random.random() < 0.7 else random.randrange(of)


def kappa():
    of, length = random.randrange(2, 6), random.randrange(3, 60)
    one = [random.randrange(of) for _ in range(length)]
    other = [rated(of, like) for like in one]
    value = cohen_kappa_score(one, other)
    return {"one": one, "other": other, "kappa": None if math.isnan(value) else value}


def alpha():
    of, length, raters = random.randrange(2, 6), random.randrange(5, 40), random.randrange(2, 5)
    truth = [random.randrange(of) for _ in range(length)]
    table = [[rated(of, like) if random.random() < 0.8 else None for like in truth] for _ in range(raters)]
    data = [[math.nan if value is None else value for value in row] for row in table]
    items = [[row[nth] for row in table if row[nth] is not None] for nth in range(length)]
    by = {scale: krippendorff.alpha(data, level_of_measurement=scale) for scale in ["nominal", "interval"]}
    return {"items": items, **by}


reference = {
    "scipy": scipy.__version__,
    "sign": [sign(random.randrange(0, 4 ** random.randrange(1, 8)), random.randrange(0, 4 ** random.randrange(1, 8))) for _ in range(200)],
    "permutation": [permutation(differences(random.randrange(2, 13), random.choice([0.0, 0.3, 1.0]))) for _ in range(60)],
    "drawn": [drawn(differences(random.randrange(40, 120), random.choice([0.0, 0.1, 0.2]))) for _ in range(12)],
    "false_discovery": [adjusted([random.random() ** random.choice([1, 3]) for _ in range(random.randrange(1, 12))]) for _ in range(60)],
    "kappa": [kappa() for _ in range(60)],
    "alpha": [alpha() for _ in range(60)],
}
path = pathlib.Path(__file__).with_name("reference.json")
path.write_text(json.dumps(reference, indent=None, separators=(",", ":")) + "\n")
