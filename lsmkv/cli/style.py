# SPDX-License-Identifier: Apache-2.0
"""How the page of a report looks: light or dark as the reader has it, and on paper."""

STYLE = """
:root {
  color-scheme: light dark;
  --ground: #f6f7f9; --paper: #ffffff; --ink: #1b2430; --soft: #5b6675;
  --line: #e1e5ea; --track: #eef1f4; --a: #0f766e; --b: #b45309;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #0f1419; --paper: #171d25; --ink: #e6eaf0; --soft: #9aa6b5;
    --line: #2a333f; --track: #212a34; --a: #2dd4bf; --b: #f59e0b;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
main { max-width: 68rem; margin: 0 auto; padding: 2rem 1.25rem 1rem; }
footer {
  max-width: 68rem; margin: 0 auto; padding: 0 1.25rem 2rem;
  color: var(--soft); font-size: .8rem; overflow-wrap: anywhere;
}
.kind {
  margin: 0; color: var(--a); font-size: .8rem; font-weight: 600;
  letter-spacing: .06em; text-transform: uppercase;
}
h1 {
  margin: .1rem 0 .2rem; font-size: 1.7rem; line-height: 1.25;
  overflow-wrap: anywhere; font-weight: 650;
}
h2 { margin: 0 0 .25rem; font-size: 1.15rem; font-weight: 650; }
.note { margin: 0 0 .9rem; color: var(--soft); font-size: .9rem; max-width: 46rem; }
dl {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr));
  gap: .75rem; margin: 1.25rem 0 0;
}
.card, section {
  background: var(--paper); border: 1px solid var(--line); border-radius: .6rem;
}
.card { padding: .7rem .9rem; display: flex; flex-direction: column-reverse; }
dt { color: var(--soft); font-size: .85rem; }
dd {
  margin: 0; font-size: 1.35rem; font-weight: 650; font-variant-numeric: tabular-nums;
}
section { margin-top: 1rem; padding: 1.1rem 1.25rem 1.25rem; }
section p { margin: .8rem 0 0; }
section p.note { margin: 0 0 .9rem; }
.pair {
  display: grid; gap: 1.5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr));
}
.pair > div { min-width: 0; }
.scrolls { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: .35rem; }
th, td {
  padding: .28rem .75rem .28rem 0; border-bottom: 1px solid var(--line);
  text-align: right; white-space: nowrap; font-weight: 400;
}
th:first-child {
  text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 7rem;
}
th:last-child, td:last-child { padding-right: 0; }
thead th { color: var(--soft); font-size: .82rem; }
tbody tr:last-child > * { border-bottom: 0; }
td.draws { width: 42%; min-width: 6rem; }
.bar { display: block; width: 100%; height: .8rem; border-radius: .2rem; }
.track { fill: var(--track); }
.a { fill: var(--a); }
.b { fill: var(--b); }
summary {
  cursor: pointer; color: var(--soft); font-size: .85rem; margin-bottom: .5rem;
}
@media (max-width: 40rem) {
  main { padding-top: 1.1rem; }
  h1 { font-size: 1.3rem; }
  th, td { padding-right: .5rem; font-size: .85rem; }
  td.draws { min-width: 4rem; width: 25%; }
  section { padding: .9rem; }
}
@media print {
  :root { --ground: #fff; --paper: #fff; --ink: #000; --soft: #444; --line: #bbb; }
  body { font-size: 11px; }
  section, .card { break-inside: avoid; }
  .bar { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  summary { display: none; }
}
"""
