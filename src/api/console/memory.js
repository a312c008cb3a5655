// What the page remembers across a reload of this tab: how runs were started, and which runs make up a conversation.
// The runs themselves are the gateway's; without this memory only the words that the person typed would be missing.

const STARTS = "rungate.starts";
const TALKS = "rungate.talks";
const MAX_STARTS = 50;
const MAX_TALKS = 10;
const MAX_RUNS = 30;
const MAX_WORDS = 20_000;

/** Remembers how a run was started: `{pipelineId, params}` or `{repoUrl, userId}`. */
export function rememberStart(runId, how) {
  write(STARTS, [...read(STARTS).filter((it) => it.runId !== runId), { runId, how }].slice(-MAX_STARTS));
}

/** How a run was started, if it was started in this tab. */
export function startOf(runId) {
  return read(STARTS).find((it) => it.runId === runId)?.how ?? null;
}

/** The conversation that a run belongs to: an array of `{runId, said, entries, answers}`, oldest first. */
export function talkOf(runId) {
  return read(TALKS).find((talk) => talk.some((part) => part.runId === runId)) ?? [{ runId, said: "", entries: [], answers: [] }];
}

/** Remembers a conversation as it stands. */
export function rememberTalk(parts) {
  const kept = parts.slice(-MAX_RUNS).map(({ runId, said, entries, answers }) => ({
    runId,
    said: said.slice(0, MAX_WORDS),
    answers: answers.slice(0, MAX_RUNS).map((text) => text.slice(0, MAX_WORDS)),
    entries: entries.slice(-20).map((entry) => ({ ...entry, text: entry.text.slice(0, MAX_WORDS) })),
  }));
  const ids = new Set(kept.map((part) => part.runId));
  const others = read(TALKS).filter((talk) => !talk.some((part) => ids.has(part.runId)));
  write(TALKS, [...others, kept].slice(-MAX_TALKS));
}

function read(key) {
  try {
    const stored = JSON.parse(sessionStorage.getItem(key) ?? "[]");
    return Array.isArray(stored) ? stored : [];
  } catch {
    return [];
  }
}

function write(key, value) {
  try {
    sessionStorage.setItem(key, JSON.stringify(value));
  } catch {
    // Storage is full or switched off: the page works without.
  }
}
