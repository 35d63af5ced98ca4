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


@st.composite
def damaged_bytes(draw, data):
    """Damage a file's content at one to three places, or as a whole."""
    for _ in range(draw(st.integers(1, 3))):
        data = draw(st.sampled_from([_flip, _cut, _insert, _remove, _whole]))(
            draw, data
        )
    return data


def _place(draw, data):
    # Most of what matters stands at the beginning.
    ends = st.sampled_from([len(data), min(64, len(data))])
    return draw(st.integers(0, draw(ends)))


def _flip(draw, data):
    place = min(_place(draw, data), len(data) - 1)
    if place < 0:
        return data
    value = bytes([draw(st.integers(0, 255))])
    return data[:place] + value + data[place + 1 :]


def _cut(draw, data):
    return data[: _place(draw, data)]


def _insert(draw, data):
    place = _place(draw, data)
    inserted = draw(
        st.one_of(
            st.binary(max_size=8),
            st.sampled_from(
                [b"\0", b'"', b"\r", b"\n", b"\xff", b",", b"\xc3"]
            ),
        )
    )
    return data[:place] + inserted + data[place:]


def _remove(draw, data):
    place = _place(draw, data)
    return data[:place] + data[place + draw(st.integers(1, 40)) :]


def _whole(draw, data):
    """Change the encoding, the line ends, or everything."""
    text = data.decode("utf-8", "replace")
    return draw(
        st.sampled_from(
            [
                b"\xef\xbb\xbf" + data,
                data.replace(b"\n", b"\r\n"),
                data.replace(b"\n", b"\r"),
                text.encode("utf-16"),
                text.encode("latin-1", "replace"),
                data + data,
                data.rstrip(b"\n"),
                bytes(len(data)),
                b"",
            ]
        )
    )


@st.composite
def damaged_rows(draw, rows):
    """Damage a table at one to three places.

    `rows` is a list of lists of texts, its header first.
    """
    rows = copy.deepcopy(rows)
    for _ in range(draw(st.integers(1, 3))):
        draw(st.sampled_from(ROW_DAMAGES))(draw, rows)
    return rows


def _index(draw, sequence):
    return draw(st.integers(0, max(0, len(sequence) - 1)))


def _set_cell(draw, rows):
    row = _index(draw, rows)
    if rows and rows[row]:
        rows[row][_index(draw, rows[row])] = draw(TEXT)


def _set_column(draw, rows):
    column, text = _index(draw, rows[:1] and rows[0]), draw(TEXT)
    for row in rows[1:]:
        if column < len(row):
            row[column] = text


def _swap_cells(draw, rows):
    if rows and rows[0]:
        first, second = _index(draw, rows), _index(draw, rows)
        column = _index(draw, rows[0])
        if column < min(len(rows[first]), len(rows[second])):
            one, two = rows[first][column], rows[second][column]
            rows[first][column], rows[second][column] = two, one


def _drop_column(draw, rows):
    column = _index(draw, rows[:1] and rows[0])
    for row in rows:
        del row[column : column + 1]


def _double_column(draw, rows):
    column = _index(draw, rows[:1] and rows[0])
    for row in rows:
        row += row[column : column + 1]


def _add_column(draw, rows):
    name, text = draw(TEXT), draw(TEXT)
    for number, row in enumerate(rows):
        row.append(text if number else name)


def _drop_row(draw, rows):
    if rows:
        rows.pop(_index(draw, rows))


def _double_row(draw, rows):
    if rows:
        rows.insert(_index(draw, rows), list(rows[_index(draw, rows)]))


def _empty_row(draw, rows):
    rows.insert(_index(draw, rows), draw(st.sampled_from([[], [""], ["", ""]])))


def _lengthen_row(draw, rows):
    if rows:
        rows[_index(draw, rows)].append(draw(TEXT))


def _shorten_row(draw, rows):
    if rows:
        row = rows[_index(draw, rows)]
        del row[_index(draw, row) :]


ROW_DAMAGES = [
    *(_set_cell, _set_cell, _set_cell, _set_column, _swap_cells, _drop_column),
    *(_double_column, _add_column, _drop_row, _double_row, _empty_row),
    *(_lengthen_row, _shorten_row),
]


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
    tables = damaged_rows(rows)
    return st.one_of(
        st.sampled_from(["\n", "\r\n"]).map(
            lambda end: (as_csv(rows, end), False)
        ),
        tables.map(lambda damaged: (as_csv(damaged), True)),
        tables.map(lambda damaged: (as_csv(damaged), True)),
        damaged_bytes(as_csv(rows)).map(lambda damaged: (damaged, True)),
    )


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
    return st.one_of(
        st.just((content, False)),
        damaged_trees(tree).map(lambda damaged: (_as_json(damaged), True)),
        damaged_trees(tree).map(lambda damaged: (_as_json(damaged), True)),
        damaged_bytes(content).map(lambda damaged: (damaged, True)),
    )


def _as_json(tree):
    return json.dumps(tree, default=str, skipkeys=True).encode()


def yaml_files(text, odd=TREE):
    """Draw YAML files as `csv_files` draws CSV files.

    `text` is a valid file, of plain values alone.
    """
    content = yaml.safe_load(text)
    trees = damaged_trees(content, odd).map(
        lambda damaged: (as_yaml(damaged), True)
    )
    damaged = damaged_bytes(text.encode()).map(lambda damaged: (damaged, True))
    return st.one_of(st.just((text.encode(), False)), trees, trees, damaged)


def as_yaml(tree):
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True).encode()
