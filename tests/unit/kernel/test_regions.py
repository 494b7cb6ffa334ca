"""The region list: what it holds, and what is said of a name that it does not hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis import regions
from services.chassis.regions import Place

REGIONS = regions.load()


def said(province, city=""):
    return [(found.field, found.message) for found in REGIONS.wrong("to.", Place(province, city))]


def test_the_list_is_that_of_2014():
    assert (REGIONS.country, len(REGIONS.provinces)) == ("中国", 31)
    assert sum(len(REGIONS.cities(province)) for province in REGIONS.provinces) == 339
    assert REGIONS.cities("浙江省")[0] == "杭州市"
    assert REGIONS.cities("北京市") == ("北京市",)
    assert "阿坝藏族羌族自治州" in REGIONS.cities("四川省")
    assert REGIONS.cities("杭州市") == ()
    assert not {"金昌市", "天水市"} & set(REGIONS.cities("甘肃省")), "absent in the manual too"


def test_every_place_of_the_list_is_fine_and_so_is_less_than_a_city():
    for province in REGIONS.provinces:
        assert said(province) == []
        assert [said(province, city) for city in REGIONS.cities(province) if said(province, city)] == []
    assert said("") == []
    assert REGIONS.wrong_country("", "中国") == REGIONS.wrong_country("", "") == []


@pytest.mark.parametrize(
    ("province", "city", "field", "message"),
    [
        ("浙江省", "杭州", "to.city", '"杭州" is not in the list, did you mean 杭州市?'),
        ("浙江", "杭州市", "to.province", '"浙江" is not in the list, did you mean 浙江省?'),
        ("内蒙古", "", "to.province", '"内蒙古" is not in the list, did you mean 内蒙古自治区?'),
        ("浙江省", "杭州市区", "to.city", '"杭州市区" is not in the list, did you mean 杭州市?'),
        ("广东省", "杭州市", "to.city", '"杭州市" belongs to 浙江省, not to 广东省'),
        ("广东省", "杭州", "to.city", '"杭州" is not in the list, did you mean 杭州市 of 浙江省?'),
        ("", "杭州市", "to.province", "name the province of the city, did you mean 浙江省?"),
        ("", "亚特兰蒂斯", "to.province", "name the province of the city"),
        ("甘肃省", "亚特兰蒂斯", "to.city", '"亚特兰蒂斯" is not in the list'),
    ],
)
def test_a_wrong_name_is_named_with_the_one_that_was_meant(province, city, field, message):
    assert said(province, city) == [(field, message)]


def test_another_country_is_refused():
    (found,) = REGIONS.wrong_country("to.", "日本")
    assert (found.field, found.message) == ("to.country", '"日本" is not in the list; it is always 中国')


@given(st.text(max_size=12), st.text(max_size=12))
def test_any_text_is_judged_without_an_accident(province, city):
    known = province in REGIONS.provinces and (not city or city in REGIONS.cities(province))
    assert (said(province, city) == []) == (known or province == city == "")


def test_data_that_name_a_place_twice_are_refused():
    one = {"name": "浙江省", "cities": ["杭州市"]}
    for provinces in ([one, one], [{"name": "浙江省", "cities": ["杭州市", "杭州市"]}]):
        with pytest.raises(ValueError, match="twice"):
            regions.parse({"country": "中国", "provinces": provinces})
