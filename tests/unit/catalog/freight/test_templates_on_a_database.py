"""Freight templates on a real database: made, listed, changed, deleted, each once."""

from jishi.catalog.v1 import freight_pb2

from services.catalog.commands import freight as commands
from services.catalog.queries import freight as queries
from services.catalog.queries import views
from services.chassis import codec
from tests.unit.catalog.freight.templates import carrier, change, delete, make, problems, refused, said, uses
from tests.unit.catalog.making import OTHER, SHOP


def shown(template):
    """A template as its merchant gets it."""
    return codec.from_plain(freight_pb2.FreightTemplate, views.template(template))


def test_a_template_is_made_read_changed_and_deleted(house):
    made = make(house, key="make")
    number = made["template_id"]
    assert 0 < number < 2**31
    assert queries.template(house.store, SHOP, number)["etag"] == "1"
    changed = change(house, made, carrier("ems"), name="新", key="change").document
    assert (changed["version"], changed["name"], changed["carriers"][0]["carrier_class"]) == (2, "新", "ems")
    delete(house, made, key="delete")
    assert refused(queries.template, house.store, SHOP, number).reason == "NOT_FOUND"
    assert refused(change, house, changed).reason == "NOT_FOUND"
    assert refused(delete, house, made).reason == "NOT_FOUND"
    assert queries.templates(house.store, SHOP, None, 10) == ([], None)


def test_every_command_repeated_answers_as_the_first_time_whatever_came_after(house):
    made = make(house, key="make")
    first = change(house, made, carrier("ems"), name="二", key="change")
    second = change(house, first.document, carrier("post"), name="三")
    delete(house, second.document, key="delete")
    again = commands.create_template(house.store, house.cause("make"), SHOP, said())
    assert again.replayed
    assert shown(again.document) == shown(made)
    repeated = change(house, made, carrier("ems"), name="二", key="change")
    assert repeated.replayed
    assert shown(repeated.document) == shown(first.document)
    assert delete(house, second.document, key="delete").replayed
    assert house.store.freight_templates.count_documents({}) == 1
    other = commands.create_template
    assert refused(other, house.store, house.cause("make", "x"), SHOP, said()).reason == "IDEMPOTENCY_KEY_REUSED"


def test_a_change_that_was_read_too_early_is_refused_and_loses_nothing(house):
    made = make(house)
    change(house, made, name="二")
    refusal = refused(change, house, made, name="三")
    assert (refusal.reason, refusal.violations[0].field) == ("ETAG_MISMATCH", "etag")
    assert refused(delete, house, made, etag="1").reason == "ETAG_MISMATCH"
    assert refused(change, house, made, etag="").violations[0].field == "etag"
    assert queries.template(house.store, SHOP, made["template_id"])["name"] == "二"


def test_another_shops_template_is_not_there(house):
    made = make(house)
    for call in (change, delete):
        assert refused(call, house, made, shop=OTHER).reason == "NOT_FOUND"
    assert refused(queries.template, house.store, OTHER, made["template_id"]).reason == "NOT_FOUND"
    assert queries.templates(house.store, OTHER, None, 10) == ([], None)
    assert problems(house.upsert(uses(made), shop=OTHER)) == [("freight.template_id", "FREIGHT_TEMPLATE_UNKNOWN")]


def test_templates_are_listed_newest_first_in_pages(house):
    made = [make(house, name=f"模板{number}")["template_id"] for number in range(5)]
    first, last = queries.templates(house.store, SHOP, None, 2)
    rest, end = queries.templates(house.store, SHOP, last, 3)
    assert [row["template_id"] for row in first + rest] == made[::-1]
    assert end is None


def test_a_shop_has_only_so_many_templates_and_may_delete_one_for_a_new_one(house, monkeypatch):
    most = commands.freight_limits

    def few(when):
        return type(most(when))(**{**{n: getattr(most(when), n) for n in most(when).__slots__}, "templates": 2})

    monkeypatch.setattr(commands, "freight_limits", few)
    first, _ = make(house, key="first"), make(house)
    refusal = refused(make, house)
    assert (refusal.reason, "delete one first" in refusal.message) == ("CONDITION_UNMET", True)
    assert make(house, key="first")["template_id"] == first["template_id"], "a repetition is no new one"
    delete(house, first)
    make(house)


def test_a_number_that_is_taken_is_drawn_again(house, monkeypatch):
    numbers = iter([7, 7, 8])
    monkeypatch.setattr(commands.ids, "small_id", lambda: next(numbers))
    assert [make(house)["template_id"] for _ in range(2)] == [7, 8]
    numbers = iter([7])
    assert make(house, shop=OTHER)["template_id"] == 7, "a number is unique in its shop only"
