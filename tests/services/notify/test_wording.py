from uuid import uuid4

import pytest
from jinja2 import UndefinedError

from services.notify.notices import NOTICES, SIGN_IN_CODE
from services.notify.wording import Wording, texts
from tests.services.notify.samples import CODE, samples

ZONE = "Asia/Shanghai"
SMS_MAX_CHARACTERS = 70


def test_both_languages_have_the_same_templates_with_the_same_parts():
    chinese, english = texts("zh-CN"), texts("en")
    assert {key: parts.keys() for key, parts in chinese.items()} == {
        key: parts.keys() for key, parts in english.items()
    }


def test_each_notice_has_its_template_and_each_template_its_notice():
    assert {notice.template for notice in NOTICES.values()} | {SIGN_IN_CODE} == texts("zh-CN").keys()


def test_there_is_a_sample_of_each_fact():
    assert {type(fact) for fact in samples(uuid4())} == NOTICES.keys()


@pytest.mark.parametrize("locale", ["zh-CN", "en"])
@pytest.mark.parametrize("fact", samples(uuid4()), ids=lambda fact: type(fact).__name__)
def test_each_fact_can_be_told_in_each_language_and_an_sms_fits_into_one(fact, locale):
    notice = NOTICES[type(fact)]
    params = notice.params_of(fact, ZONE)
    words = Wording()
    assert words.render(locale, notice.template, "title", params)
    assert words.render(locale, notice.template, "body", params)
    if notice.sms:
        assert len(words.render(locale, notice.template, "sms", params)) <= SMS_MAX_CHARACTERS


@pytest.mark.parametrize("locale", ["zh-CN", "en"])
def test_a_sign_in_code_fits_into_one_sms(locale):
    text = Wording().render(locale, SIGN_IN_CODE, "sms", {"code": CODE})
    assert CODE in text
    assert len(text) <= 80


def test_a_missing_parameter_is_an_error_and_not_a_blank():
    with pytest.raises(UndefinedError):
        Wording().render("en", "need_accepted", "body", {})


def test_a_title_is_text_and_never_a_template():
    rendered = Wording().render("en", "need_accepted", "body", {"title": "{{ 7 * 7 }}<b>"})
    assert "{{ 7 * 7 }}<b>" in rendered


def test_times_are_told_in_the_zone_of_the_area():
    params = {"title": "x", "seats": 1, "starts_at": "2026-03-06T08:30:00Z"}
    words = Wording()
    assert "3月6日16:30" in words.render("zh-CN", "booking_placed", "body", {**params, "timezone": ZONE})
    assert "6 Mar 08:30" in words.render("en", "booking_placed", "body", {**params, "timezone": "UTC"})
