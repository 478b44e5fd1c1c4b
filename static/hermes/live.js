/* Keeps a page of the admin as it would be if it were loaded again.

   Every so often the page is fetched, and each part with data-live takes over what it says there.
   A page that nobody looks at is left alone; so is a part in which somebody is about to click. */

const EVERY = 15_000;
const PATIENCE = 10_000;
const AT_REST = 5_000; // a pointer that has not moved for so long is not about to click
const line = document.getElementById("live");
let timer = 0;
let ended = false;
let moved = 0;

const parts = (page) => [...page.querySelectorAll("[data-live]")];

function say(words) {
    if (!line) return;
    const time = new Date().toLocaleTimeString(document.documentElement.lang || undefined);
    if (words === "on" || !line.dataset.since) line.dataset.since = time;
    line.textContent = `${line.dataset[words]} ${line.dataset.since}`;
    line.hidden = false;
}

function take(page) {
    const here = parts(document).map((part) => part.id);
    const there = parts(page).map((part) => part.id);
    if (here.join() !== there.join()) {
        reload(); // the first event came, or one may see more or less than before
        return;
    }
    const aiming = Date.now() - moved < AT_REST;
    for (const part of parts(document)) {
        const fresh = page.getElementById(part.id);
        if (part.contains(document.activeElement) || (aiming && part.matches(":hover"))) continue;
        if (part.innerHTML !== fresh.innerHTML) part.replaceChildren(...fresh.childNodes);
    }
}

function reload() {
    ended = true;
    location.reload();
}

async function renew() {
    try {
        const answer = await fetch(location.href, {
            headers: { Accept: "text/html" },
            redirect: "manual",
            signal: AbortSignal.timeout(PATIENCE),
        });
        if (answer.type === "opaqueredirect") return reload(); // to the login
        if (!answer.ok) throw new Error(String(answer.status));
        take(new DOMParser().parseFromString(await answer.text(), "text/html"));
        say("on");
    } catch {
        say("off");
    }
    next();
}

function next() {
    clearTimeout(timer);
    if (!ended && !document.hidden) timer = setTimeout(renew, EVERY);
}

document.addEventListener("pointermove", () => (moved = Date.now()), { passive: true });
document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (!ended && !document.hidden) renew();
});

next();
