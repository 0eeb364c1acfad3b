"""The page in a real browser: headless Chromium, at the width of a desktop and of a phone, in light and in dark."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detattack.runs.record import Outcome
from detattack.workflows.report import write_report
from tests.report.conftest import classified, found, outcome, write_classified, write_run

pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.keys import Keys  # noqa: E402

from tests.browser import DESKTOP, PHONE, needs_browser  # noqa: E402

pytestmark = needs_browser
HOSTILE = ("<script>window.pwned=1</script>", '"onerror="window.pwned=2"', "<img src=x onerror=window.pwned=3>")


@pytest.fixture
def page(run) -> Path:
    return write_report(run)


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_leaves_the_page_and_nothing_complains(window, page, size, scheme):
    window.open(page, size, scheme)
    window.all(".shot")[0].click()
    window.settle()
    assert window.picture() == (64, 48)
    for view in ("before", "after", "heat"):
        window.one(f"#v-views input[value={view}]").send_keys(Keys.SPACE)
        assert window.picture() == (64, 48)
    console, sent = window.logs()
    assert console == []
    assert sent
    assert all(url.startswith((page.parent.as_uri() + "/", "data:")) for url in sent)


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_nothing_is_wider_than_the_window(window, page, size):
    window.open(page, size)
    assert window.run("return document.documentElement.scrollWidth") <= size[0]
    window.all(".shot")[0].click()
    window.settle()
    assert window.run("return document.querySelector('#viewer').scrollWidth") <= size[0]
    assert window.one("#v-close").is_displayed()


def test_a_long_reason_stays_in_its_card(window, tmp_path):
    reason = "InputError: " + 40 * "/folder"
    run = write_run(tmp_path / "run", [outcome(tmp_path, 1, "a", "error", reason=reason)])
    window.open(write_report(run), PHONE)
    assert window.run("const g = document.querySelector('.gone'); return g.scrollWidth <= g.parentElement.clientWidth")


def test_the_first_column_of_a_table_stays_in_sight(window, page):
    window.open(page, PHONE)
    window.run("document.querySelectorAll('.scroll').forEach((s) => s.scrollLeft = 200)")
    inside = """return [...document.querySelectorAll('.scroll table:not(.words)')].map((t) => {
      const box = t.parentElement.getBoundingClientRect(), cell = t.querySelector('tbody th').getBoundingClientRect();
      return Math.abs(cell.left - box.left) < 2;
    })"""
    assert set(window.run(inside)) == {True}


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_the_slider_cuts_both_pictures_at_one_place(window, page, size):
    window.open(page, size)
    window.all(".shot")[0].click()
    window.settle()

    def cuts() -> tuple[str, str]:
        code = "return ['before', 'after'].map((side) => document.getElementById(`v-${side}`).style.clipPath)"
        return tuple(window.run(code))

    assert window.driver.switch_to.active_element.get_attribute("id") == "v-slider"
    assert cuts() == ("inset(0px 50% 0px 0px)", "inset(0px 0px 0px 50%)")
    window.press(Keys.ARROW_UP, Keys.ARROW_UP, Keys.ARROW_UP)
    assert cuts() == ("inset(0px 47% 0px 0px)", "inset(0px 0px 0px 53%)")
    window.press(Keys.HOME)
    assert cuts() == ("inset(0px 100% 0px 0px)", "inset(0px 0px 0px 0%)")
    assert window.one("#v-slider").get_attribute("aria-valuetext") == "0% original, 100% adversarial"


def test_boxes_are_drawn_by_the_page_and_follow_the_threshold(window, page):
    window.open(page)
    window.all(".shot")[0].click()
    window.settle()
    assert (window.boxes("before"), window.boxes("after")) == (2, 0)
    assert [tag.text for tag in window.all("#v-before .tag")] == ["car 0.90", "dog 0.70"]
    window.set("#v-tau", "0.2")
    assert (window.boxes("before"), window.boxes("after")) == (3, 1)
    window.one("#v-boxes").click()
    window.settle()
    assert (window.boxes("before"), window.boxes("after")) == (0, 0)
    window.press("b")
    assert window.boxes("before") == 3
    window.one("#v-close").click()
    assert len(window.all(".shot .frame")) > 0
    window.one("#boxes").click()
    assert window.all(".shot .frame") == []


def test_filters(window, page):
    window.open(page)
    assert len(window.names()) == 12
    window.one(".chip[data-status=success]").click()
    window.settle()
    assert window.names() == [f"image {i:02d}" for i in (3, 6, 9, 10, 11)]
    window.one(".chip[data-status=error]").click()
    assert "4 of 12 images" in window.one("#count").text
    window.set("#class", "0", "change")
    assert window.names() == ["image 03", "image 06"]
    window.set("#find", "06")
    assert window.names() == ["image 06"]
    window.set("#find", "nowhere")
    assert window.names() == []
    assert window.one("#count").text == "0 of 12 images"


def test_sorts(window, page):
    window.open(page)
    window.set("#sort", "l2", "change")
    attacked = [1, 2, 3, 4, 5, 6, 7, 8, 12]
    assert window.names()[:9] == [f"image {i:02d}" for i in attacked]
    window.one("#direction").click()
    window.settle()
    assert window.names()[:9] == [f"image {i:02d}" for i in attacked[::-1]]  # what has no L2 stays last
    window.set("#sort", "k", "change")
    assert window.names()[:3] == ["image 03", "image 06", "image 12"]  # never is more than any number
    window.one("#direction").click()
    window.set("#sort", "status", "change")
    assert window.names()[7:9] == ["image 03", "image 06"]


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_the_gallery_by_keyboard(window, page, size):
    window.open(page, size)

    def at() -> int:
        return int(window.driver.switch_to.active_element.get_attribute("data-at"))

    window.run("document.querySelector('.shot').focus()")
    columns = window.run(
        "return new Set([...document.querySelectorAll('.cell')].map((c) => c.getBoundingClientRect().x)).size"
    )
    window.press(Keys.ARROW_RIGHT)
    assert at() == 1
    window.press(Keys.ARROW_DOWN)
    assert at() == 1 + columns
    window.press(Keys.END)
    assert at() == 11
    assert window.run(
        "const r = document.activeElement.getBoundingClientRect(); return r.top >= 0 && r.bottom <= innerHeight"
    )
    window.press(Keys.HOME)
    window.press(Keys.ENTER)
    assert window.one("#v-name").text == "image 01"
    window.press("n")
    window.press(Keys.PAGE_DOWN)
    assert window.one("#v-name").text == "image 03"
    window.press("p")
    window.press(Keys.ESCAPE)
    assert at() == 1
    assert not window.one("#viewer").is_displayed()


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_what_a_classifier_says(window, classified_run, size):
    window.open(write_report(classified_run), size)

    def shown() -> list[str]:
        return [element.text for element in window.all(".shot .said")]

    changed, same = ["car 90.0%", "dog 50.0%"], ["car 90.0%", "car 90.0%"]
    assert shown()[:8] == [*changed, *changed, *same, *changed]
    window.one("#views input[value=after]").send_keys(Keys.SPACE)
    assert shown() == ["dog 50.0%", "dog 50.0%", "car 90.0%", "dog 50.0%", "car 90.0%"]
    window.one("#views input[value=before]").send_keys(Keys.SPACE)
    assert shown() == 5 * ["car 90.0%"]
    window.one("#views input[value=heat]").send_keys(Keys.SPACE)
    assert shown() == []
    window.set("#class", "1", "change")
    assert window.names() == ["01", "02", "04"]
    window.all(".shot")[0].click()
    window.settle()
    assert (window.one("#v-left").text, window.one("#v-right").text) == ("before: car 90.0%", "after: dog 50.0%")
    cells = [element.text for element in window.all("#v-found .rows > *")]
    assert cells == ["class", "before", "after", "car", "90.0%", "49.0%", "dog", "8.0%", "50.0%"]
    assert window.picture() == (32, 32)
    for control in ("#boxes", "#tau", "#v-boxes", "#v-tau"):
        assert not window.one(control).is_displayed(), control
    assert window.run("return document.documentElement.scrollWidth") <= size[0]
    assert window.logs()[0] == []


def test_long_names_of_classes_stay_apart(window, tmp_path):
    names = ("hen-of-the-woods, hen of the woods, Polyporus frondosus, Grifola frondosa",) * 2
    run = write_classified(tmp_path / "run", [classified(tmp_path, 1, "success")], names=names)
    window.open(write_report(run), PHONE)
    said = "const s = document.querySelector('.said'); return s.offsetWidth < s.parentElement.clientWidth"
    assert window.run(said)
    window.all(".shot")[0].click()
    window.settle()
    edges = "return ['v-left', 'v-right'].map((id) => document.getElementById(id).getBoundingClientRect())"
    left, right = window.run(edges)
    assert left["right"] < right["left"]


def test_dark_and_light(window, page):
    def color() -> str:
        return window.run("return getComputedStyle(document.body).backgroundColor")

    window.open(page, scheme="dark")
    dark = color()
    window.one("#theme").click()
    light = color()
    assert dark != light
    window.driver.refresh()
    assert color() == light  # remembered
    window.run("localStorage.clear()")
    window.open(page, scheme="light")
    assert color() == light


def test_a_picture_that_is_missing_is_said(window, run, tmp_path):
    (tmp_path / "source-1.png").unlink()
    (run / "images" / "image 02.png").unlink()
    window.open(write_report(run))
    window.all(".shot")[0].click()
    window.settle()
    assert "not at its source" in window.one("#v-note").text
    assert not window.one("#v-slider").is_displayed()
    window.press("n")
    assert "not in the run folder" in window.one("#v-missing").text
    assert window.logs()[0] == []


def test_a_picture_that_does_not_load_is_said(window, run, page):
    for file in (run / "thumbs").glob("*-after.webp"):
        file.unlink()
    window.open(page)
    window.run("return new Promise((done) => setTimeout(done, 200))")
    assert "thumbs/1-after.webp is missing" in window.one(".shot .gone").text
    (run / "images" / "image 01.png").unlink()
    window.all(".shot")[0].click()
    window.run("return new Promise((done) => setTimeout(done, 200))")
    assert "images/image 01.png is missing" in window.one("#v-missing").text


def test_cards_tell_before_and_after(window, page):
    window.open(page)
    assert window.all(".became")[0].text == "2 → 0"
    assert len(window.all(".cell:first-child .half img")) == 2
    window.set("#tau", "0.2")
    assert window.all(".became")[0].text == "3 → 1"


def test_annotated_boxes_are_shown_on_request(window, page):
    window.open(page)
    assert window.all(".truth") == []
    window.one("#truth").click()
    assert len(window.all(".cell:first-child .truth")) == 2  # before and after
    window.all(".shot")[0].click()
    window.settle()
    assert len(window.all("#v-before .truth")) == 1
    assert window.run("return document.querySelector('#v-before .truth title').textContent") == "car"
    window.press("a")
    assert window.all("#v-before .truth") == []


def test_arrows_change_the_image(window, page):
    window.open(page)
    window.all(".shot")[0].click()
    window.settle()
    window.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert window.one("#v-name").text == "image 03"
    window.press(Keys.ARROW_LEFT)
    assert window.one("#v-name").text == "image 02"
    window.one("#v-next").click()
    window.press(Keys.ARROW_RIGHT)
    assert window.one("#v-name").text == "image 04"
    assert window.run("return document.getElementById('v-slider').value") == "50"
    window.one("#v-views input[value=slider]").send_keys(Keys.ARROW_RIGHT)  # there it chooses the view
    assert window.one("#v-name").text == "image 04"


def test_the_view_stands_in_the_address(window, page):
    window.open(page)
    assert "#" not in window.driver.current_url
    window.set("#sort", "l2", "change")
    window.one("#direction").click()
    window.one(".chip[data-status=failure]").click()
    window.one("#truth").click()
    window.all(".shot")[1].click()
    window.one("#v-views input[value=heat]").send_keys(Keys.SPACE)
    window.one("#v-scales input[value=fixed]").send_keys(Keys.SPACE)
    name, address = window.one("#v-name").text, window.driver.current_url
    window.driver.refresh()
    window.settle()
    assert window.one("#v-name").text == name == "image 08"
    assert window.driver.current_url == address
    assert window.one("#v-scales input[value=fixed]").is_selected()
    window.one("#v-close").click()
    assert window.one("#truth").is_selected()
    assert window.names()[:2] == ["image 12", "image 08"]
    assert "image 03" not in window.names()
    assert window.one("#direction").text == "↓"


def test_an_address_of_junk_is_a_page(window, page):
    window.open(page, at="#image=99&sort=constructor&above=7&status=x.9&class=z&show=%3Cb%3E&mode=")
    assert window.one("#sort").get_attribute("value") == "order"
    assert window.names() == []  # of no status
    assert window.logs()[0] == []


def test_the_difference_is_scaled_to_the_image_and_says_so(window, page):
    window.open(page, at="#image=1&mode=heat")
    assert window.one("#v-factor").text == "L2 over channels × 15"  # 10 gray levels in each channel
    scaled = window.run("return document.querySelector('#v-after img').src")
    assert scaled.endswith("thumbs/1-scaled.webp")
    window.one("#v-scales input[value=fixed]").send_keys(Keys.SPACE)
    assert window.one("#v-factor").text == "L2 over channels × 10"
    assert window.picture() == (64, 48)


def test_a_standalone_page_needs_nothing_beside_it(window, run, tmp_path):
    page = write_report(run, standalone=True).rename(tmp_path / "mailed.html")
    window.open(page)
    for view in ("slider", "before", "after", "heat"):
        window.open(page, at=f"#image=1&mode={view}")
        assert window.picture() == (64, 48), view
    console, sent = window.logs()
    assert console == []
    assert all(url.startswith((page.as_uri(), "data:")) for url in sent)


@pytest.mark.parametrize("standalone", [False, True])
def test_on_paper_there_are_pictures(window, run, standalone):
    window.open(write_report(run, standalone=standalone))
    assert window.printed() >= 9  # of eleven images with pictures, some alike


def test_a_plot_is_saved_as_svg_png_and_csv(window, page, tmp_path):
    window.open(page)
    window.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    for kind in ("SVG", "PNG", "CSV"):
        window.run(
            "[...document.querySelectorAll('.save button')].find((b) => b.textContent === arguments[0]).click()", kind
        )
    names = {kind: tmp_path / f"ap-against-linf.{kind}" for kind in ("svg", "png", "csv")}
    window.wait(lambda: all(file.is_file() for file in names.values()))
    assert Image.open(names["png"]).size == (1320, 912)
    assert "var(" not in names["svg"].read_text()
    assert "AP against L∞" in names["svg"].read_text()
    window.run("[...document.querySelectorAll('.save button')].find((b) => /τ as SVG/.test(b.ariaLabel)).click()")
    with_legend = tmp_path / "success-against-τ.svg"
    window.wait(with_legend.is_file)
    assert {"clean", "adversarial"} <= set(re.findall(r">(\w+)</text>", with_legend.read_text()))
    head, first, *_ = names["csv"].read_text().splitlines()
    assert head.startswith("series,")
    assert first.split(",")[1] == "0"


def test_hostile_names_do_nothing(window, tmp_path):
    stems = [name.replace("/", "∕") for name in HOSTILE] + ["100% #1 ?a=b&c", "é😀ü"]
    outcomes = [outcome(tmp_path, i, stem, "success") for i, stem in enumerate(stems, 1)]
    outcomes.append(outcome(tmp_path, 9, "broken", "error", reason=HOSTILE[2]))
    page = write_report(write_run(tmp_path / "run", outcomes, names=HOSTILE))
    window.open(page)
    assert window.names() == [*stems, "broken"]
    assert HOSTILE[0] in [option.text for option in window.all("#class option")]
    for number in range(len(stems)):
        if number:
            window.press("n")
        else:
            window.all(".shot")[0].click()
            window.settle()
        assert window.picture() == (64, 48), stems[number]
    assert window.run("return window.pwned") is None
    assert window.logs()[0] == []


def test_the_policy_holds_in_the_browser(window, page):
    window.open(page)
    window.run(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.pwned = 1'}))"
    )
    image = "<img src=x onerror='window.pwned=1'>"
    window.run("const d = document.createElement('div'); d.innerHTML = arguments[0]; document.body.append(d)", image)
    window.run("const i = new Image(); i.src = 'https://example.invalid/x.png'; document.body.append(i)")
    window.settle()
    assert window.run("return window.pwned") is None
    console, sent = window.logs()
    assert sum("Content Security Policy" in message for message in console) >= 3
    assert not [url for url in sent if "example" in url]


@pytest.mark.slow
@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_five_thousand_images(window, many, size):
    window.open(many, size)
    assert window.one("#count").text == "5,000 images"

    def nodes() -> int:
        return window.run("return document.querySelectorAll('*').length")

    few = nodes()
    assert few < 5000
    assert len(window.all(".shot")) < 120
    window.run("document.querySelector('.shot').focus()")
    window.press(Keys.END)
    assert window.driver.switch_to.active_element.get_attribute("aria-label").startswith("p05000")
    for share in (0.3, 0.7, 0.1):
        window.run("scrollTo({top: document.documentElement.scrollHeight * arguments[0], behavior: 'instant'})", share)
        window.settle()
        window.settle()
        assert window.all(".shot")
    assert nodes() < 1.3 * few
    window.set("#find", "p0417")
    assert window.one("#count").text == "10 of 5,000 images"
    assert window.names()[:4] == [f"p0417{i}" for i in range(4)]
    assert window.logs()[0] == []


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    """A run of 5,000 images, small and of a few kinds."""
    folder = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(0)
    kinds = [rng.integers(0, 255, (24, 32, 3), dtype=np.uint8) for _ in range(8)]
    first = outcome(folder, 5, "x", "success").record
    records = []
    for number in range(1, 5001):
        quality = {"l1": 1.0, "l2": float(rng.uniform(0.1, 2)), "linf": 0.1, "psnr": 50.0, "ssim": 0.9}
        changed = {"id": number, "stem": f"p{number:05d}", "source": "gone", "k": int(rng.integers(1, 99))}
        records.append(replace(first, **changed, quality=quality, clean=found(*rng.uniform(0.3, 1, 6).tolist())))
    run = write_run(folder / "run", [Outcome(record) for record in records], annotated=False)
    for name in ("images", "heatmaps"):
        (run / name).mkdir(exist_ok=True)
        for number in range(1, 5001):
            Image.fromarray(kinds[number % 8]).save(run / name / f"p{number:05d}.png")
    return write_report(run)


def test_an_address_shows_all_that_it_does_not_filter(window, page):
    window.open(page, at="#status=1")
    assert "2 of 12 images" in window.one("#count").text
    window.run("location.hash = '#image=1'")  # as a link that was sent
    window.wait(lambda: window.run("return document.getElementById('viewer').open"))
    assert window.one("#v-name").text == "image 01"
    assert window.one("#v-place").text == "1 / 12"


def test_a_threshold_between_hundredths_is_not_rounded(window, run):
    manifest = (run / "run.json").read_text()
    (run / "run.json").write_text(manifest.replace('"score_threshold": 0.5', '"score_threshold": 0.505'))
    assert "0.505" in (run / "run.json").read_text()
    window.open(write_report(run))
    assert window.one("#tau-out").text == "0.505"
    window.set("#tau", "0.3")
    assert window.one("#tau-out").text == "0.30"
