// Words of an answer as page content: paragraphs, headings, lists, code, emphasis, links. What is written as Markdown
// reads as such; everything else stays as it is. Builds elements only, so no answer can bring markup of its own.

import { el } from "./dom.js";

const INLINE = /(`+)([^`]+?)\1|\*\*(\S(?:.*?\S)?)\*\*|\[([^\]]+)\]\((https?:\/\/[^\s)]+)\)|(https?:\/\/[^\s<>"')\]]*[^\s<>"')\].,;:!?])/g;
const BULLET = /^\s*[-*•]\s+(.*)$/;
const NUMBERED = /^\s*\d+[.)]\s+(.*)$/;
const HEADING = /^#{1,6}\s+(.*)$/;
const FENCE = /^\s*```/;

/** The elements for a text. */
export function words(text) {
  const lines = text.replaceAll("\r\n", "\n").split("\n");
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    if (line.trim() === "") {
      at += 1;
    } else if (FENCE.test(line)) {
      const end = lines.findIndex((other, index) => index > at && FENCE.test(other));
      const last = end < 0 ? lines.length : end;
      blocks.push(el("pre", {}, el("code", {}, lines.slice(at + 1, last).join("\n"))));
      at = last + 1;
    } else if (HEADING.test(line)) {
      blocks.push(el("p", { className: "words-heading" }, ...inline(HEADING.exec(line)[1])));
      at += 1;
    } else {
      const pattern = [BULLET, NUMBERED].find((it) => it.test(line));
      const taken = pattern ? takeList(lines, at, pattern) : takeParagraph(lines, at);
      blocks.push(taken.block);
      at = taken.next;
    }
  }
  return blocks;
}

function takeList(lines, start, pattern) {
  const list = el(pattern === BULLET ? "ul" : "ol");
  let at = start;
  while (at < lines.length && pattern.test(lines[at])) {
    list.append(el("li", {}, ...inline(pattern.exec(lines[at])[1])));
    at += 1;
  }
  return { block: list, next: at };
}

function takeParagraph(lines, start) {
  const paragraph = el("p");
  let at = start;
  const ends = (line) => line.trim() === "" || [FENCE, HEADING, BULLET, NUMBERED].some((it) => it.test(line));
  do {
    if (at > start) paragraph.append(el("br"));
    paragraph.append(...inline(lines[at]));
    at += 1;
  } while (at < lines.length && !ends(lines[at]));
  return { block: paragraph, next: at };
}

function inline(text) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(INLINE)) {
    parts.push(text.slice(end, match.index));
    const [whole, , code, strong, label, target, address] = match;
    if (code) parts.push(el("code", {}, code));
    else if (strong) parts.push(el("strong", {}, strong));
    else parts.push(el("a", { href: target ?? address, rel: "noopener noreferrer", target: "_blank" }, label ?? address));
    end = match.index + whole.length;
  }
  parts.push(text.slice(end));
  return parts.filter((part) => part !== "");
}
