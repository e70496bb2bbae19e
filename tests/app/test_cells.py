"""Cells of DataFrames in other people's dtypes."""

import numpy as np
import pandas as pd
import pytest

from hare_jax import data
from hare_jax.app.explainer.cells import one_row, put
from hare_jax.app.explainer.changes import differs, long_form

ROWS = pd.DataFrame({"income": [20, 90, 40], "owner": [0, 1, 0], "rate": [1.5, 2.0, 2.5], "paid": [0, 1, 0]})
SCHEMA = {
    "target": "paid",
    "features": {"income": {"type": "ordered", "missing": "fill"}, "owner": {"type": "categorical"}},
}


@pytest.mark.parametrize(
    ("dtype", "new", "expected"),
    [
        ("float32", 52.1, "float64"),
        ("float32", 52.5, "float32"),
        ("int8", 100.0, "int8"),
        ("int8", 200.0, "int64"),
        ("uint8", -1.0, "int64"),
        ("int64", 0.5, "float64"),
        ("float16", 7.0, "float16"),
        ("Int64", 4.0, "Int64"),
        ("Int8", 200.0, "Int64"),
        ("UInt8", -1.0, "Int64"),
        ("Float32", 52.1, "Float64"),
    ],
)
def test_a_column_of_numbers_holds_what_is_put_into_it(dtype, new, expected):
    column = pd.Series([1, 2, 3], dtype=dtype)
    filled = put(column, np.array([False, True, False]), pd.Series([0.0, new, 0.0]))
    assert filled.tolist() == [1, new, 3]
    assert filled.dtype == expected


def test_a_column_without_values_holds_a_text_and_large_numbers_stay():
    found = put(pd.Series([np.nan, np.nan]), np.array([True, False]), pd.Series(["a", None], dtype=object))
    assert found.iloc[0] == "a"
    large = pd.Series([2**63 + 5, 1], dtype="uint64")
    assert put(large, np.array([False, True]), pd.Series([0.0, -1.0])).tolist() == [float(2**63 + 5), -1]


def test_each_value_of_a_row_keeps_the_type_of_its_column():
    row = one_row(ROWS, 1)
    assert row.tolist() == [90, 1, 2.0, 1]
    assert not isinstance(row["owner"], float)


def test_missing_values_of_nullable_columns_are_compared():
    before = ROWS.convert_dtypes().drop(columns="paid")
    before.loc[[0, 1], "income"] = pd.NA
    after = before.copy()
    after.loc[1, "income"], after.loc[2, "income"], after.loc[2, "owner"] = 30, 50, 1
    assert differs(before["income"], after["income"]).tolist() == [False, True, True]
    table = data.from_frame(ROWS, SCHEMA, test=ROWS)
    x = np.zeros((3, len(table.columns)), "float32")
    rows, cells = long_form(table, before, after, x, x)
    assert rows.tolist() == [1, 2, 2]
    np.testing.assert_array_equal(cells["difference"].to_numpy(float), [np.nan, 10, np.nan])
