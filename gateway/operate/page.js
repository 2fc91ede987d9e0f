// The operators' page: the public API, asked every few seconds, and nothing else. Tokens are kept in this page only.

const SERVICES = ["members", "catalog", "orders", "points", "notify"];
const ASK_EVERY_MS = 5000;
const REFRESH_EVERY_MS = 4 * 60 * 1000; // a token lasts five minutes

const find = (id) => document.getElementById(id);
let language = navigator.language.startsWith("zh") ? "zh-CN" : "en";
let texts = {};
let tokens = null;
let timers = [];

const say = (key, values = {}) => (texts[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "?");

function notice(sentence, done = false) {
  find("notice").textContent = sentence;
  find("notice").className = done ? "done" : "";
}

function element(name, content, options = {}) {
  const made = Object.assign(document.createElement(name), options);
  made.append(...[content].flat());
  return made;
}

class Refused extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

async function call(method, path, body) {
  const headers = { "Accept-Language": language };
  if (tokens) headers.Authorization = `Bearer ${tokens.access_token}`;
  if (body) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body), cache: "no-store" });
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, content.detail ?? say("failed"));
  return content;
}

const api = (method, path, body) => call(method, `/api/v1${path}`, body);

async function attempt(work) {
  try {
    await work();
  } catch (error) {
    if (error instanceof Refused && error.status === 401 && tokens) leave(say("signed_out"));
    else if (error instanceof Refused && error.status === 403) leave(say("operators_only"));
    else notice(error instanceof Refused ? error.message : say("failed"));
  }
}

async function speak(chosen) {
  language = chosen;
  texts = await (await fetch(`/operate/${language}.json`)).json();
  document.documentElement.lang = language;
  document.title = say("title");
  for (const one of document.querySelectorAll("[data-text]")) one.textContent = say(one.dataset.text);
}

async function enter(form) {
  const { username, password } = Object.fromEntries(new FormData(form));
  tokens = await api("POST", "/auth/token", { username, password });
  form.reset();
  notice("");
  show(true);
  timers = [setInterval(() => attempt(look), ASK_EVERY_MS), setInterval(() => attempt(refresh), REFRESH_EVERY_MS)];
  await look();
}

async function refresh() {
  tokens = await api("POST", "/auth/refresh", { refresh_token: tokens.refresh_token });
}

function leave(sentence = "") {
  tokens = null;
  timers.forEach(clearInterval);
  show(false);
  notice(sentence);
}

function show(inside) {
  find("enter").hidden = inside;
  find("inside").hidden = find("leave").hidden = !inside;
}

async function look() {
  const { services = {} } = await call("GET", "/readyz").catch(() => ({}));
  const parts = await Promise.all(SERVICES.map(async (name) => {
    try {
      return { name, ready: services[name] === "ready", status: await api("GET", `/services/${name}/status`) };
    } catch (error) {
      if (error instanceof Refused && [401, 403].includes(error.status)) throw error;
      return { name, ready: false };
    }
  }));
  find("parts").replaceChildren(...parts.map(row));
  find("as_of").textContent = new Date().toLocaleTimeString(language);
  await list(parts.filter((part) => part.status?.dead_letters).map((part) => part.name));
}

function row({ name, ready, status }) {
  const state = !ready ? "unavailable" : status.bus_trouble ? "trouble" : "ready";
  const number = (value, bad) => element("td", value ?? "–", { className: bad ? "number bad" : "number" });
  const figures = Object.entries(status?.figures ?? {}).map(([key, value]) => `${say(key)} ${value}`).join(" · ");
  return element("tr", [
    element("th", name, { scope: "row" }),
    element("td", say(state), { className: state === "ready" ? "good" : "bad" }),
    number(status?.outbox_rows),
    number(status && Math.round(status.outbox_age_s), status?.outbox_age_s > 60),
    number(status?.retries_waiting),
    number(status?.dead_letters, status?.dead_letters > 0),
    element("td", figures || "–"),
  ]);
}

async function list(services) {
  const groups = await Promise.all(services.map(async (service) => {
    const found = await api("GET", `/services/${service}/dead-letter-groups`);
    return found.map((group) => ({ service, ...group }));
  }));
  find("no_letters").hidden = services.length > 0;
  const open = new Map([...find("groups").children].map((card) => [card.dataset.key, card]));
  find("groups").replaceChildren(...groups.flat().map((group) => {
    const key = `${language} ${group.service} ${group.fingerprint} ${group.letters}`;
    return open.get(key) ?? card(group, key); // one that is being read stays as it is
  }));
}

function card(group, key) {
  const time = (value) => new Date(value).toLocaleString(language);
  const shown = element("div", []);
  const button = (text, act) => element("button", say(text), { type: "button", onclick: () => attempt(act) });
  const made = element("article", [
    element("p", [element("strong", `${group.service}: ${group.type}`)]),
    element("p", say("letters", { letters: group.letters, oldest: time(group.oldest), newest: time(group.newest) })),
    element("pre", group.cause),
    element("p", [
      button("show", () => documents(group, shown)), " ",
      button("replay", () => settle(group, "replay", {})), " ",
      button("discard", () => discard(group)),
    ]),
    shown,
  ]);
  made.dataset.key = key;
  return made;
}

async function documents(group, shown) {
  const path = `/services/${group.service}/dead-letters`;
  const { items } = await api("GET", `${path}?fingerprint=${group.fingerprint}&limit=10`);
  const letters = await Promise.all(items.map((item) => api("GET", `${path}/${item.event_id}`)));
  shown.replaceChildren(...letters.map((letter) => element("pre", letter.document)));
}

async function settle(group, action, more) {
  const path = `/services/${group.service}/dead-letters/${action}`;
  const { letters } = await api("POST", path, { fingerprint: group.fingerprint, ...more });
  await look();
  notice(say(action === "replay" ? "replayed" : "discarded", { letters }), true);
}

function discard(group) {
  const dialog = find("discard");
  const form = dialog.querySelector("form");
  form.reset();
  find("discarded").textContent = `${group.service}: ${group.type} (${group.letters})`;
  dialog.onclose = () => {
    if (dialog.returnValue === "discard") attempt(() => settle(group, "discard", { reason: form.reason.value }));
  };
  dialog.returnValue = "";
  dialog.showModal();
}

async function checkLedger() {
  const found = await api("GET", "/points/ledger/check");
  const { transfers, ...faults } = found;
  const sound = Object.values(faults).every((value) => value === 0);
  find("ledger").textContent = say(sound ? "ledger_sound" : "ledger_broken", found);
  find("ledger").className = sound ? "good" : "bad";
}

find("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(() => enter(event.target));
});
find("leave").addEventListener("click", () => leave());
find("check_ledger").addEventListener("click", () => attempt(checkLedger));
find("language").addEventListener("click", () => attempt(async () => {
  await speak(language === "en" ? "zh-CN" : "en");
  find("ledger").textContent = "";
  if (tokens) await look();
}));

await speak(language);
