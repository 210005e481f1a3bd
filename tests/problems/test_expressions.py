"""Arithmetic as people write it, and what must not get through."""

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sae.problems.expressions import ExpressionError, decimals, read_expression, read_number


@pytest.mark.parametrize(
    ("text", "operands", "operations", "value"),
    [
        ("48/2", (48, 2), "/", 24),
        (" 48 / 2 ", (48, 2), "/", 24),
        ("100-50-30-15", (100, 50, 30, 15), "---", 5),
        ("2+3*4", (2, 3, 4), "+*", 14),
        ("2*(10+20)", (2, 10, 20), "*+", 60),
        ("[2+3]*4", (2, 3, 4), "+*", 20),
        ("100+(100*(10/100))", (100, 100, 10, 100), "+*/", 110),
        ("50*.2", (50, 0.2), "*", 10),
        (".5+5.", (0.5, 5), "+", 5.5),
        ("20%*50", (0.2, 50), "*", 10),
        ("20 % * 50", (0.2, 50), "*", 10),
        ("1,080+2,000,000", (1080, 2000000), "+", 2001080),
        ("80 000 x 20/100", (80000, 20, 100), "*/", 16000),
        ("$80,000 + $16 000", (80000, 16000), "+", 96000),
        ("12x2", (12, 2), "*", 24),
        ("12 X 2", (12, 2), "*", 24),
        ("12×2÷3", (12, 2, 3), "*/", 8),
        ("12 − 2 – 1", (12, 2, 1), "--", 9),
        ("560//10", (560, 10), "/", 56),
        ("-21/3", (-21, 3), "/", -7),
        ("71+-3", (71, -3), "+", 68),
        ("-14+-8+1", (-14, -8, 1), "++", -21),
        ("-18/-2", (-18, -2), "/", 9),
        ("(-17)+43", (-17, 43), "+", 26),
        ("+3+3", (3, 3), "+", 6),
        ("3*+6", (3, 6), "*", 18),
        ("--3", (3,), "", 3),
        ("-(3+4)*2", (3, 4, 2), "+*", -14),
        ("14*1 1/2", (14, 1.5), "*", 21),
        ("1/2*20", (1, 2, 20), "/*", 10),
        ("2(3)", (2, 3), "*", 6),
        ("500(.40)", (500, 0.4), "*", 200),
        ("(1/2)(20)", (1, 2, 20), "/*", 10),
        ("(2)3", (2, 3), "*", 6),
        ("1e3*2", (1000, 2), "*", 2000),
        ("10", (10,), "", 10),
    ],
)
def test_reads(text, operands, operations, value):
    expression = read_expression(text)
    assert expression.operands == pytest.approx(operands)
    assert expression.operations == operations
    assert expression.value == pytest.approx(value)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "+", "3+", "*3", "3**2", "9**9**9", "2^3", "3 4", "20%50", "(3", "3)", "(3]", "()", "3x",
        "2*x", "a", "48 clips", "1/0", "1/(2-2)", "nan", "inf", "1e999", "1,0000", "12,34", "1 5/2",
        "__import__('os')", "3;4", "3\0", "٣+٤", "9" * 400, "1e308*10",
    ],
)  # fmt: skip
def test_refuses(text):
    with pytest.raises(ExpressionError):
        read_expression(text)


def test_hostile_lengths_end_at_once():
    start = time.perf_counter()
    for text in ("(" * 10**7, "9" * 10**7, "(" * 900 + "1" + ")" * 900, "1+" * 999 + "1", "-" * 1999 + "1"):
        try:
            assert math.isfinite(read_expression(text).value)
        except ExpressionError:
            continue
    assert time.perf_counter() - start < 2


@given(st.text(alphabet="0123456789+-*/()[]x%$., e", max_size=40))
def test_gives_a_finite_number_or_says_why_not(text):
    try:
        expression = read_expression(text)
    except ExpressionError as error:
        assert str(error)
    else:
        assert math.isfinite(expression.value)
        assert all(map(math.isfinite, expression.operands))
        assert set(expression.operations) <= set("+-*/")


@pytest.mark.parametrize(
    ("text", "value"),
    [("72", 72), ("1,080", 1080), ("-7", -7), ("-$7", -7), ("$-7", -7), ("$.50", 0.5), ("72.", 72),
     ("20%", 0.2), ("1/2", 0.5), ("1 1/2", 1.5)],
)  # fmt: skip
def test_a_single_number(text, value):
    assert read_number(text) == pytest.approx(value)


def test_a_sum_is_no_single_number():
    with pytest.raises(ExpressionError):
        read_number("1+2")


@pytest.mark.parametrize(("text", "places"), [("24", 0), ("33.3", 1), ("$0.20 ", 2), ("20%", 2), ("1/3", None)])
def test_decimals(text, places):
    assert decimals(text) == places
