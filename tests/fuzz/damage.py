"""Strategies that damage what is valid: bytes, tables, trees of values."""

import copy
import csv
import io
import json

import yaml
from hypothesis import strategies as st

LONG = "x" * 140_000  # beyond what Python's csv takes in a field
TEXTS = [
    *("", " ", "nan", "NaN", "inf", "-inf", "1e999", "1e300", "-0.0", "1e-400"),
    *("0x10", "1_0", "١٢", "1.5", "-1", "0", "99999999999999999999", "1,5"),
    *("null", "None", "True", "<missing>", "a b", "$data_root", "$other"),
    *("{}", "[1, 2]", "<lr>", "!ref <lr>", "!!python/name:os.system", "&a *a"),
    *("\x00", "\ufeff", "a\nb", "a\r\nb", '"', '""', "'", ",", ";", "\t", "|"),
    *("..", "../../a", "/", "/dev/null", "a/b.wav", "a\\b", ".", "~", "%s"),
    *("zażółć", "日本", "🎤", "e\u0301", "\u2028", "\u202e", LONG),
]
TEXT = st.one_of(
    st.sampled_from(TEXTS),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.floats().map(str),
    st.integers(-(10**9), 10**9).map(str),
)
SCALAR = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, -1, 2, 2**31, 2**63, 10**30, 10**400]),
    st.integers(-(10**6), 10**6),
    st.floats(),
    TEXT,
)
TREE = st.recursive(
    SCALAR,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(max_size=4), inner, max_size=3),
    ),
    max_leaves=5,
)


ODD_BYTES = [b"\0", b'"', b"\r", b"\n", b"\xff", b",", b"\xc3"]


@st.composite
def damaged_bytes(draw, data):
    """Damage a file's content at one to three places, or as a whole."""
    for _ in range(draw(st.integers(1, 3))):
        # Most of what matters stands at the beginning.
        end = draw(st.sampled_from([len(data), min(64, len(data))]))
        place = draw(st.integers(0, end))
        before, after = data[:place], data[place:]
        what = draw(st.sampled_from(["flip", "cut", "put in", "remove", "all"]))
        if what == "flip" and after:
            data = before + bytes([draw(st.integers(0, 255))]) + after[1:]
        elif what == "cut":
            data = before
        elif what == "put in":
            odd = st.one_of(st.binary(max_size=8), st.sampled_from(ODD_BYTES))
            data = before + draw(odd) + after
        elif what == "remove":
            data = before + after[draw(st.integers(1, 40)) :]
        elif what == "all":
            data = draw(st.sampled_from(_otherwise_written(data)))
    return data


def _otherwise_written(data):
    """Change the encoding, the line ends, or everything."""
    text = data.decode("utf-8", "replace")
    return [
        *(b"\xef\xbb\xbf" + data, data + data, data.rstrip(b"\n")),
        *(data.replace(b"\n", end) for end in (b"\r\n", b"\r")),
        *(text.encode("utf-16"), text.encode("latin-1", "replace")),
        *(bytes(len(data)), b""),
    ]


@st.composite
def damaged_rows(draw, rows):
    """Damage a table at one to three places.

    `rows` is a list of lists of texts, its header first.
    """
    rows = copy.deepcopy(rows)
    for _ in range(draw(st.integers(1, 3))):
        if rows:
            kind = draw(st.sampled_from([_damage_row, _damage_column]))
            kind(draw, rows)
    return rows


def _index(draw, sequence):
    return draw(st.integers(0, max(0, len(sequence) - 1)))


def _damage_row(draw, rows):
    """Damage a cell, the length of a row, or the list of rows."""
    number = _index(draw, rows)
    row = rows[number]
    place = _index(draw, row)
    what = draw(st.sampled_from(["cell"] * 3 + ["shorter", "longer", "rows"]))
    if what == "cell" and row:
        row[place] = draw(TEXT)
    elif what == "shorter":
        del row[place:]
    elif what == "longer":
        row.append(draw(TEXT))
    elif what == "rows":
        empty = draw(st.sampled_from([[], [""], ["", ""]]))
        others = [[], [row, list(row)], [row, empty]]
        rows[number : number + 1] = draw(st.sampled_from(others))


def _damage_column(draw, rows):
    """Fill, mix, remove, double or add a column."""
    column, text = _index(draw, rows[0]), draw(TEXT)
    what = draw(st.sampled_from(["fill", "mix", "remove", "double", "add"]))
    if what == "add":
        for row in rows:
            row.append(text)
        rows[0][-1] = draw(TEXT)
        return
    long = [row for row in rows if column < len(row)]
    if what == "mix":
        cells = draw(st.permutations([row[column] for row in long]))
        for row, cell in zip(long, cells, strict=True):
            row[column] = cell
        return
    for row in long[1:] if what == "fill" else long:
        cells = {"fill": [text], "remove": [], "double": 2 * [row[column]]}
        row[column : column + 1] = cells[what]


def as_csv(rows, line_end="\n"):
    """Lay out a table as CSV, in bytes."""
    file = io.StringIO()
    csv.writer(file, lineterminator=line_end).writerows(rows)
    return file.getvalue().encode()


def from_csv(text):
    """Read the rows of a CSV file."""
    return list(csv.reader(io.StringIO(text)))


def csv_files(rows):
    """Draw CSV files: valid, with damaged rows, or with damaged bytes.

    Arguments
    ---------
    rows : list of list of str
        A valid table, its header first.

    Returns
    -------
    strategy
        Of pairs: bytes, and whether they are damaged.
    """
    whole = [as_csv(rows, end) for end in ("\n", "\r\n")]
    tables = damaged_rows(rows).map(as_csv)
    return _files(st.sampled_from(whole), tables, damaged_bytes(whole[0]))


def _files(whole, damaged, torn):
    """Draw whole files, those with damaged content, and damaged bytes."""
    damaged = damaged.map(lambda content: (content, True))
    torn = torn.map(lambda content: (content, True))
    whole = whole.map(lambda content: (content, False))
    return st.one_of(whole, damaged, damaged, torn)


@st.composite
def damaged_trees(draw, tree, odd=TREE):
    """Damage nested lists and mappings at one or two places.

    `odd` draws what is put in.
    """
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, 2))):
        tree = _damage_node(draw, tree, odd)
    return tree


def _damage_node(draw, node, odd):
    """Go down to a place, and damage what is there."""
    is_inner = isinstance(node, dict | list) and node
    if not is_inner or draw(st.integers(0, 9)) == 0:
        return draw(odd)
    keys = list(node) if isinstance(node, dict) else list(range(len(node)))
    key = draw(st.sampled_from(keys))
    what = draw(st.integers(0, 9))
    if what == 0:
        del node[key]
    elif what == 1 and isinstance(node, dict):
        node[draw(st.one_of(st.text(max_size=6), SCALAR))] = node.pop(key)
    elif what == 1:
        node.append(copy.deepcopy(node[key]))
    else:
        node[key] = _damage_node(draw, node[key], odd)
    return node


def json_files(tree):
    """Draw JSON files as `csv_files` draws CSV files."""
    content = json.dumps(tree, indent=2).encode()
    trees = damaged_trees(tree).map(
        lambda t: json.dumps(t, default=str, skipkeys=True).encode()
    )
    return _files(st.just(content), trees, damaged_bytes(content))


def yaml_files(text):
    """Draw YAML files as `csv_files` draws CSV files.

    `text` is a valid file, of plain values alone.
    """
    trees = damaged_trees(yaml.safe_load(text)).map(
        lambda t: yaml.safe_dump(t, sort_keys=False, encoding="utf-8")
    )
    content = text.encode()
    return _files(st.just(content), trees, damaged_bytes(content))
