"""Claims about the cosine loss: every check on planted runs, and what the documents name."""

import itertools

import numpy as np
import pandas as pd
import pytest

from sae.analysis import claims
from sae.analysis.claims import Measured
from sae.analysis.claims.checks import CHECKS
from sae.analysis.claims.documents import FOLDER, Claim
from sae.analysis.claims.measured import Ablation
from sae.experiments import KINDS

NAMES = ("cosine-loss", "cosine-plan-topk-alpha", "cosine-plan-loss-round")
DOCUMENTS = [claims.load(FOLDER / f"{name}.json") for name in NAMES]


def planted(**changes):
    """Soft against hard TopK: the soft loss loses 0.1 less at equal K, with twice the bits; four seeds, two K."""
    rng, lines = np.random.default_rng(0), []
    for k, seed, rounding in itertools.product((8, 16, 32), range(4), ("topk", "pass_through")):
        soft = rounding == "pass_through"
        count = k * (2 if soft else 1)
        lines.append(
            {
                "id": f"{k}-{seed}-{rounding}", "d_sae": 256, "k": k, "seed": seed, "rounding": rounding,
                "average_activation_count": count,
                "reconstruction_loss": 0.8 - 0.1 * np.log2(k) - 0.05 * soft + 0.001 * rng.standard_normal(),
                "sparsity_deviation": count / k - 1, "dead_all": 0.002 * soft, "compression": 256 / k,
                "mean_predictor_loss": 0.9, "concepts_label_f1": 0.5 + 0.01 * rng.standard_normal(),
                "concepts_label_f1_null": 0.1,
            }
        )  # fmt: skip
    runs = pd.DataFrame(lines).assign(**changes)
    factors = ("d_sae", "rounding", "k", "seed")
    matched = "average_activation_count"
    ablation = Ablation("clipped", "cosine-ablation-topk", "test", factors, {"rounding": "topk"}, matched, runs)
    return Measured("clipped", "corrected", "rows", {}, runs, ablations={"cosine-ablation-topk": ablation})


def judged(check, measured=None, **arguments):
    arguments = {"kind": "cosine-ablation-topk", **arguments}
    one = Claim("one", "cosine-loss", "-", "-", "-", "-", "-", "measured", check, "-", arguments)
    return CHECKS[check](one, DOCUMENTS[0], planted() if measured is None else measured)


SOFT = {"rounding": "pass_through"}


class TestChecks:
    def test_a_difference_beyond_the_seeds_is_judged(self):
        found = judged("against-baseline", metric="reconstruction_loss", way="higher", level=SOFT)
        assert found.verdict == "reproduced" and found.n == 4 and found.experiment == "clipped"
        assert found.low <= found.number <= found.high < 0 and found.number == pytest.approx(-0.05, abs=0.005)
        other = judged("against-baseline", metric="reconstruction_loss", way="lower", level=SOFT)
        assert other.verdict == "refuted"

    def test_at_equal_counts_it_may_turn_round(self):
        # at twice the bits hard TopK has lost 0.1 less, which is more than the soft loss's 0.05
        found = judged("against-baseline", metric="reconstruction_loss", way="higher", level=SOFT, matched=True)
        assert found.verdict == "refuted" and found.number > 0

    def test_what_seeds_can_not_tell_differs(self):
        found = judged("against-baseline", metric="concepts_label_f1", way="higher", level=SOFT)
        assert found.verdict == "differs" and "in 0 of 1 cells" in found.reason

    def test_one_seed_is_shown_and_not_judged(self):
        measured = planted()
        one = measured.ablations["cosine-ablation-topk"]
        alone = Ablation(**{**vars(one), "runs": one.runs[one.runs["seed"] == 0]})
        measured = Measured("clipped", "corrected", "rows", {}, alone.runs, ablations={alone.kind: alone})
        found = judged("against-baseline", measured, metric="reconstruction_loss", way="higher", level=SOFT)
        assert found.verdict == "not testable here" and "against" in found.value

    def test_beside_is_taken_by_cell(self):
        found = judged("beside", metric="concepts_label_f1", other="concepts_label_f1_null", way="higher", where=SOFT)
        assert found.verdict == "reproduced" and "3 of 3 cells" in found.reason

    @pytest.mark.parametrize(
        ("limit", "loosely", "verdict"),
        [(0.01, 0.01, "reproduced"), (0.001, 0.01, "differs"), (0.0, 0.001, "refuted")],
    )
    def test_the_extreme_cell_keeps_a_bound(self, limit, loosely, verdict):
        found = judged("bounded", metric="dead_all", way="below", limit=limit, loosely=loosely)
        assert found.verdict == verdict and found.value == "0.2 % at most"
        above = judged("bounded", metric="average_activation_count", way="above", limit=8.0)
        assert above.verdict == "reproduced" and above.number == 8

    def test_steps_along_a_factor(self):
        assert judged("along", metric="reconstruction_loss", factor="k", way="falls").verdict == "reproduced"
        found = judged("along", metric="reconstruction_loss", factor="k", way="rises")
        assert found.verdict == "refuted" and found.n == 4
        assert judged("along", metric="dead_all", factor="d_sae", way="falls").verdict == "not testable here"

    @pytest.mark.parametrize(
        ("times", "share", "verdict"), [(16, 0.6, "reproduced"), (16, 0.3, "differs"), (64, 0.9, "refuted")]
    )
    def test_smaller_and_still_good_for_something(self, times, share, verdict):
        found = judged("smaller", times=times, share=share)
        assert found.verdict == verdict
        assert found.number == (16 if times == 16 else 32)

    def test_what_is_not_there_waits(self):
        empty = Measured("grid", "corrected", "rows", {}, pd.DataFrame())
        assert judged("along", empty, metric="dead_all", factor="k", way="falls").verdict == "not measured yet"
        found = judged("beside", metric="equal_bits_recall", other="equal_bits_recall_pq", way="higher")
        assert found.verdict == "not measured yet" and "equal-bits" in found.reason
        assert judged("bounded", metric="loss_spikes", way="below", limit=1).verdict == "not testable here"


class TestDocuments:
    def test_every_claim_names_what_there_is(self):
        kinds = {name for document in DOCUMENTS for name in document.experiment_kinds}
        assert kinds == {name for name in KINDS if name.startswith("cosine")}
        for document in DOCUMENTS:
            for claim in document.claims:
                if claim.evidence == "measured":
                    kind = KINDS[claim.arguments["kind"]]
                    assert claim.arguments["kind"] in kinds, claim.id
                    for name in claim.arguments.get("level", {}) | claim.arguments.get("where", {}):
                        assert name in {factor.name for factor in kind.factors}, claim.id
                    assert ("level" in claim.arguments) <= bool(kind.baseline), claim.id

    def test_without_an_experiment_they_wait_and_arithmetic_stands(self):
        found = claims.evaluate(DOCUMENTS)
        measured = found["evidence"] == "measured here"
        assert set(found[measured]["verdict"]) == {"not measured yet"} and measured.sum() > 40
        assert set(found[~measured]["verdict"]) == {"reproduced", "not testable here"}

    def test_held_against_what_was_measured(self):
        found = claims.evaluate(DOCUMENTS, {name: planted() for name in NAMES}).set_index("id")
        assert found.loc["improved-reconstruction", "verdict"] == "reproduced"
        assert found.loc["improved-at-equal-count", "verdict"] == "refuted"
        assert found.loc["sparsity-adherence", "verdict"] == "refuted"  # twice as many bits as K
        assert found.loc["enhanced-interpretability", "verdict"] == "reproduced"
        assert found.loc["no-dead", "verdict"] == "not measured yet"
        assert found.loc["improved-reconstruction", "query"] == {"experiment": "clipped"}
