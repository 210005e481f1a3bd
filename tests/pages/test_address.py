"""The address wins, except over a choice that the browser has not heard of yet."""

from sae.ui import address


def test_an_event_with_the_address_from_before_does_not_undo_a_choice(open_page, results, monkeypatch):
    monkeypatch.setattr(address, "UNHEARD_SECONDS", 60.0)
    run = results.experiment("both").run_ids()[0]
    at = open_page("features", results, run=run, feature="2")
    at.button(key="card_next").click().run()
    chosen = at.query_params["feature"]
    assert chosen != ["2"]
    at.query_params["feature"] = "2"  # an event that left the browser before it heard of the choice
    at.run()
    assert at.query_params["feature"] == chosen
    monkeypatch.setattr(address, "UNHEARD_SECONDS", 0.0)  # later, it is Back or a link, and wins
    at.query_params["feature"] = "2"
    at.run()
    assert "Feature 2" in [heading.value for heading in at.subheader]
