"""Equal bits: quantised values, product quantisation and recall against plain computations."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.spatial.distance import cdist

from sae.common.errors import UserError
from sae.evaluation import neighbours
from sae.evaluation.equal_bits import Decoder, HeldOut, of_code, of_product_quantisation, sub_quantisers
from sae.evaluation.product_quantisation import ProductQuantiser
from sae.evaluation.value_quantisation import ValueQuantiser


def rows(n=120, d=12, seed=0):
    return (np.random.default_rng(seed).standard_normal((n, d)) + 0.5).astype(np.float32)


class TestValues:
    @pytest.mark.parametrize(("signed", "levels"), [(False, 255), (True, 127)])
    def test_a_value_in_range_comes_back_within_half_a_step(self, signed, levels):
        rng = np.random.default_rng(0)
        features, values = rng.integers(0, 6, 4000), rng.gamma(2, 1, 4000)
        values *= rng.choice([1, -1], 4000) if signed else 1
        quantiser = ValueQuantiser.fit(features, values, 8)
        kept = quantiser.encode(features, values)
        assert kept.dtype == (np.int8 if signed else np.uint8)
        error = np.abs(quantiser.decode(features, kept) - values)
        for j in range(6):
            largest = np.abs(values[features == j]).max()
            assert quantiser.step[j] == pytest.approx(largest / levels)
            assert error[features == j].max() <= largest / levels / 2 * (1 + 1e-5)
        assert quantiser.step[7] == pytest.approx(np.abs(values).max() / levels)  # never active in training

    def test_beyond_the_range_it_is_cut(self):
        quantiser = ValueQuantiser.fit(np.array([0]), np.array([2.0]), 1)
        one = np.array([0])
        assert quantiser.decode(one, quantiser.encode(one, np.array([5.0]))) == pytest.approx(2.0)


class TestProductQuantisation:
    def test_codes_are_the_nearest_centroids_and_decode_to_them(self):
        x, other = rows(600), rows(40, seed=1)
        fitted = ProductQuantiser.fit(x, 5)
        assert fitted.bits == 40 and [span.stop - span.start for span in fitted.spans] == [2, 3, 2, 3, 2]
        codes = fitted.encode(other)
        assert codes.shape == (40, 5) and codes.dtype == np.uint8
        guess = fitted.decode(codes)
        for span, centroids in zip(fitted.spans, fitted.centroids, strict=True):
            away = cdist(other[:, span], centroids)
            assert np.linalg.norm(other[:, span] - guess[:, span], axis=1) == pytest.approx(away.min(1), abs=1e-5)

    def test_asymmetric_cosine_is_that_with_the_decoded_row(self):
        x = rows(400)
        fitted = ProductQuantiser.fit(x, 3)
        codes = fitted.encode(x[:50])
        expected = 1 - cdist(x[50:60], fitted.decode(codes), "cosine")
        assert fitted.similarity(x[50:60], codes) == pytest.approx(expected, abs=1e-5)

    def test_fewer_rows_than_centroids_are_kept_as_they_are(self):
        x = rows(30)
        fitted = ProductQuantiser.fit(x, 2)
        assert fitted.decode(fitted.encode(x)) == pytest.approx(x, abs=1e-6)

    @pytest.mark.parametrize("m", [0, 13])
    def test_no_more_sub_quantisers_than_dimensions(self, m):
        with pytest.raises(UserError, match="at most the 12 dimensions"):
            ProductQuantiser.fit(rows(), m)


class TestRecall:
    def test_exact_neighbours(self):
        x = rows()
        found = neighbours.exact_neighbours(neighbours.cosine(x[:9], x), np.arange(9), 5)
        away = cdist(x[:9], x, "cosine")
        away[np.arange(9), np.arange(9)] = np.inf
        assert np.array_equal(found, np.argsort(away, axis=1)[:, :5])

    def test_distances_of_bits_and_of_sparse_values(self):
        rng = np.random.default_rng(0)
        x = rng.random((30, 20)) * (rng.random((30, 20)) < 0.3)
        x[3] = x[4] = 0
        on, codes = x != 0, csr_matrix(x)
        assert neighbours.hamming(codes[:5], codes) == pytest.approx(-20 * cdist(on[:5], on, "hamming"))
        assert neighbours.jaccard(codes[:5], codes) == pytest.approx(1 - cdist(on[:5], on, "jaccard"))
        with np.errstate(invalid="ignore"):
            expected = np.nan_to_num(1 - cdist(x[:5], x, "cosine"))
        assert neighbours.sparse_cosine(codes[:5], codes) == pytest.approx(expected)

    def test_ties_count_as_drawing_among_them_would(self):
        rng = np.random.default_rng(0)
        similarity = rng.integers(0, 4, (6, 40)).astype(float)
        own, wanted = np.arange(6), np.array([rng.choice(np.arange(6, 40), 5, replace=False) for _ in range(6)])
        drawn = []
        for _ in range(3000):  # ties broken by chance
            jittered = similarity + 0.5 * rng.random(similarity.shape)
            near = neighbours.exact_neighbours(jittered, own, 5)
            drawn.append([len(set(a) & set(b)) / 5 for a, b in zip(near, wanted, strict=True)])
        assert neighbours.recall(similarity, own, wanted) == pytest.approx(np.mean(drawn, axis=0), abs=0.02)

    def test_the_dense_rows_find_all(self):
        x = rows()
        similarity = neighbours.cosine(x[:20], x)
        wanted = neighbours.exact_neighbours(similarity, np.arange(20), 10)
        assert (neighbours.recall(similarity, np.arange(20), wanted) == 1).all()


class TestLines:
    def held(self, x, queries=30):
        return HeldOut.of(x, x.mean(0), np.arange(len(x)) // 2, queries, 5)

    def test_bits(self):
        x, rng = rows(), np.random.default_rng(1)
        code = (rng.random((120, 33)) < 0.2).astype(np.float32)
        decode = Decoder(rng.standard_normal((33, 12)).astype(np.float32), np.ones(12, np.float32))
        (line,) = of_code(self.held(x), csr_matrix(code), csr_matrix(code[:0]), decode)
        guess = code @ decode.W_dec + 1
        assert line["method"] == "bits" and line["bits"] == pytest.approx(min(33, code.sum(1).mean() * 6))
        cosines = (x * guess).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(guess, axis=1)
        assert line["reconstruction_loss"] == pytest.approx(1 - cosines.mean(), abs=1e-5)
        expected = 1 - np.square(x - guess).sum() / np.square(x - x.mean(0)).sum()
        assert line["ev_total"] == pytest.approx(expected, rel=1e-4)
        for name in ("reconstruction_loss", "ev_total", "recall", "recall_hamming", "recall_decoded"):
            assert line[f"{name}_low"] <= line[name] <= line[f"{name}_high"]

    def test_values_are_kept_in_32_and_really_in_8_bits(self):
        x, rng = rows(), np.random.default_rng(1)
        code = (rng.gamma(2, 1, (120, 40)) * (rng.random((120, 40)) < 0.2)).astype(np.float32)
        decode = Decoder(rng.standard_normal((40, 12)).astype(np.float32), np.zeros(12, np.float32))
        whole, short = of_code(self.held(x), csr_matrix(code), csr_matrix(code[:60]), decode)
        count = (code != 0).sum(1).mean()
        assert whole["bits"] == pytest.approx(count * 38) and short["bits"] == pytest.approx(count * 14)
        largest = code[:60].max(0)
        step = np.where(largest > 0, largest, code[:60].max()) / 255
        guess = (np.clip(np.rint(code / step), 0, 255) * step) @ decode.W_dec
        expected = 1 - np.square(x - guess).sum() / np.square(x - x.mean(0)).sum()
        assert short["ev_total"] == pytest.approx(expected, rel=1e-4) and short["ev_total"] != whole["ev_total"]

    def test_product_quantisation_of_rows_that_it_knows_is_exact(self):
        x = rows()
        line = of_product_quantisation(self.held(x), x, 4, 0)
        assert line["bits"] == 32 and line["recall"] == pytest.approx(1) and line["recall_decoded"] == pytest.approx(1)
        assert line["reconstruction_loss"] == pytest.approx(0, abs=1e-6)

    def test_sub_quantisers_come_near_the_bits(self):
        assert [sub_quantisers(bits, 12) for bits in (1, 20.1, 60, 900)] == [1, 3, 8, 12]
