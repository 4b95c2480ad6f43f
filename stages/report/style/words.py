"""Labels and number formats, everywhere in the report."""

CONTROLS = ("copy", "oracle", "shuffled")  # methods that answer why, and compete with none
NOT_RUN = "not run"  # in place of the score of a cell that a study lacks so far
TOO_FEW = "too few seeds for an interval"
LABELS = {  # as their papers write them; a name that is not here is shown as it is
    "real": "real data",
    "dawm": "DAWM",
    "corrected": "corrected DAWM",
    "synther": "SynthER",
    "dwm": "DWM",
    "joint": "joint diffusion",
    "gta": "GTA",
    "reverse": "reverse model",
    "bidirectional": "bidirectional",
    "pgd": "policy-guided diffusion",
    "onestep": "one-step model",
    "one-step-gaussian": "one-step Gaussian model (DWM's comparison)",
    "copy": "copy (control)",
    "oracle": "oracle (control)",
    "shuffled": "shuffled (control)",
    "td3bc": "TD3+BC",
    "iql": "IQL",
    "bc": "BC",
    "bc10": "10% BC",
    "rebrac": "ReBRAC",
    "fql": "FQL",
    "rsp": "RSP",
    "sorl": "SORL",
    "saq": "SAQ-IQL",
    "gtp": "after GTP",
    "dd": "Decision Diffuser",
    "mpdiffuser": "MPDiffuser",
    "mobile": "MOBILE",
    "idm": "inverse dynamics",
    "decision-diffuser": "Decision Diffuser",
    "diffuser": "Diffuser",
    "dt": "DT",
    "tt": "TT",
    "mbop": "MBOP",
    "mopo": "MOPO",
    "morel": "MOReL",
}
BEHAVIOUR = "behaviour"


def label(name: str) -> str:
    return LABELS.get(name, name)


def number(value: float, sign: bool = False) -> str:
    """One decimal, a true minus sign, and no negative zero."""
    return f"{round(value, 1) + 0.0:{'+' if sign else ''}.1f}".replace("-", "−")


def share(value: float) -> str:
    return f"{value:.2f}"


def bracket(estimate, form=number) -> str:
    """The interval, or nothing where there is none; `form` writes its ends."""
    absent = estimate.low is None or estimate.low != estimate.low  # NaN in a frame
    return "" if absent else f"[{form(estimate.low)}, {form(estimate.high)}]"


def spread(estimate) -> str:
    return "" if estimate.std is None else f"± {number(estimate.std)}"


def mean_text(estimate) -> str:
    """Mean and spread."""
    return f"{number(estimate.mean)} {spread(estimate)}".strip()


def percent(fraction: float) -> str:
    return f"{100 * fraction:g}%"


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def listed(names) -> str:
    """`a, b and c`."""
    *first, last = map(str, names)
    return f"{', '.join(first)} and {last}" if first else last


def sentence(text: str) -> str:
    """Capitalises the first letter."""
    return text[:1].upper() + text[1:]


def plain(value) -> str:
    """A number, a name or a list as a cell of a table; of more than two measured numbers, the range."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        if len(value) > 2 and all(isinstance(item, float) for item in value):
            return f"{min(value):.3g} to {max(value):.3g}"
        return ", ".join(map(plain, value)) if value else "–"
    return str(value)


def rows(record: dict, prefix: str = "") -> list[tuple[str, str]]:
    """(name, text) of each entry; nested records are joined to `outer.inner`, lists of records are counted only."""
    pairs = []
    for key, value in record.items():
        if isinstance(value, dict):
            pairs += rows(value, f"{prefix}{key}.") or [(f"{prefix}{key}", "–")]
        elif isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
            pairs.append((f"{prefix}{key}", plural(len(value), "record")))
        else:
            pairs.append((f"{prefix}{key}", plain(value)))
    return pairs


def blocks(record: dict) -> list[dict]:
    """[{columns, rows: [(name, texts)]}]: plain entries, then nested records, those with the same keys side by side."""
    flat = {key: value for key, value in record.items() if not isinstance(value, dict)}
    alike = {}
    for key, value in record.items():
        if isinstance(value, dict):
            alike.setdefault(tuple(name for name, _ in rows(value)), {})[key] = dict(rows(value))
    tables = [{"columns": [], "rows": [(name, [text]) for name, text in rows(flat)]}] if flat else []
    for names, group in alike.items():
        lines = [(name, [texts[name] for texts in group.values()]) for name in names]
        tables.append({"columns": list(group), "rows": lines})
    return tables
