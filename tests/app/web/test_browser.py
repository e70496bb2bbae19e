"""A whole session in Chromium, headless: by mouse, by keyboard alone, and without JavaScript on a narrow screen."""

import shutil
import threading
from pathlib import Path

import pytest
import uvicorn
from hostile import REFUSED

from hare_jax.app.session import Session
from hare_jax.app.web import serve
from hare_jax.app.web.app import build
from tests.loans import NUM_QUESTIONS

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_programs")]
CHOICES = ("A", "B", "can't tell", "A", "B", "A")[:NUM_QUESTIONS]
KEYS = {"A": "a", "B": "b", "can't tell": "?"}
BUTTONS = {"A": "Rather A", "B": "Rather B", "can't tell": "I can't tell"}
NARROW, WIDE = 360, 1100
MOST_TABS = 40


@pytest.fixture(scope="module")
def address(service):
    """A server of its own thread."""
    opened = serve.listening("127.0.0.1", 0)
    server = uvicorn.Server(serve.config_of(build(service, hosts=["127.0.0.1"])))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]})
    thread.start()
    yield f"http://127.0.0.1:{opened.getsockname()[1]}/"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as api:
        own = api.chromium.executable_path
        names = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
        path = own if Path(own).exists() else next(names, None)
        if path is None:
            pytest.skip("there is no Chromium on this machine")
        opened = api.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def opened(browser, address, request):
    """A page at the start; what the browser complains about fails the test."""
    width, script = request.param
    context = browser.new_context(viewport={"width": width, "height": 700}, java_script_enabled=script)
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.goto(address)
    yield page
    context.close()
    assert complaints == []


@pytest.fixture(scope="module")
def sentences(explainer):
    """The recommendation after the same answers, by `Session`."""
    session = Session(explainer, None, REFUSED, seed=3, questions=NUM_QUESTIONS)
    for choice in CHOICES:
        session.answer(choice)
    return [f"{change.text[0].upper()}{change.text[1:]}." for change in session.best().option.changes]


def check_fits(page):
    """Nothing is wider than the screen."""
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


def check_end(page, sentences):
    page.wait_for_selector("h1:has-text('Your choice')")
    assert page.locator("main li").all_inner_texts()[: len(sentences)] == sentences
    assert page.locator("svg.picture").count() == 1
    check_fits(page)


@pytest.mark.parametrize("opened", [(WIDE, True), (NARROW, False)], indirect=True, ids=["mouse", "no script, narrow"])
def test_by_mouse(opened, sentences):
    opened.click("button:has-text('Start with this example')")
    for number, choice in enumerate(CHOICES, 1):
        opened.wait_for_selector(f"text=Question {number} of {NUM_QUESTIONS}")
        check_fits(opened)
        opened.click(f'button:has-text("{BUTTONS[choice]}")')
    opened.click("button:has-text('Take back the last step')")
    opened.click("summary:has-text('Rule out a change')")
    opened.click("button:has-text('Rule it out')")
    opened.wait_for_selector("summary:has-text('What you told us')")
    opened.click("button:has-text('Take back the last step')")
    opened.click("text=Try an idea of your own")
    opened.wait_for_selector("#x0")
    check_fits(opened)
    opened.fill("#x0", "60")
    opened.click("button:has-text('What would happen?')")
    opened.wait_for_selector("h2:has-text('This would be refused')")
    check_fits(opened)
    opened.click("button:has-text('Take back the last step')")
    opened.click(f'button:has-text("{BUTTONS[CHOICES[-1]]}")')
    opened.click("button:has-text('Take this')")
    check_end(opened, sentences)
    opened.click("text=Summary to print")
    opened.wait_for_selector("h1:text-is('Summary')")


@pytest.mark.parametrize("opened", [(WIDE, True)], indirect=True, ids=["keyboard"])
def test_by_keyboard(opened, sentences):
    tab_to(opened, "Start with this example")
    opened.keyboard.press("Enter")
    for number, choice in enumerate(CHOICES, 1):
        wait_for_keys(opened, f"text=Question {number} of {NUM_QUESTIONS}")
        if number % 2:
            opened.keyboard.press(KEYS[choice])
        else:
            tab_to(opened, BUTTONS[choice])
            opened.keyboard.press("Space")
    wait_for_keys(opened, "text=There are no more questions")
    opened.keyboard.press("u")
    wait_for_keys(opened, f"text=Question {NUM_QUESTIONS} of {NUM_QUESTIONS}")
    opened.keyboard.press(KEYS[CHOICES[-1]])
    wait_for_keys(opened, "text=There are no more questions")
    opened.keyboard.press("y")
    check_end(opened, sentences)


def wait_for_keys(page, selector):
    """Wait for a page, and for its script to listen to keys."""
    page.wait_for_selector(selector)
    page.wait_for_selector("html.with-keys")


def tab_to(page, text):
    """Press the tab key until the focus is on a text."""
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        if text in page.evaluate("document.activeElement.innerText"):
            return
    raise AssertionError(f"{text!r} can't be reached")
