"use strict";
// Text from outside is only ever set as textContent.
const PAGE = 100;

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  if (className) made.className = className;
  return made;
}

async function unpacked() {
  const text = document.getElementById("packed").textContent;
  const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

function matches(row, words) {
  const text = row.filter((one) => typeof one === "string").join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}

// Show rows in a table, a page at a time; cells(row) returns nodes or text.
function paged(id, rows, cells) {
  const body = document.querySelector(`#${id} tbody`);
  const pager = document.querySelector(`.pager[data-for="${id}"]`);
  let page = 0;
  function show() {
    body.replaceChildren(...rows.slice(page * PAGE, (page + 1) * PAGE).map((row) => {
      const line = element("tr");
      for (const cell of cells(row)) {
        const made = element("td");
        made.append(cell ?? "");
        line.append(made);
      }
      return line;
    }));
    const pages = Math.ceil(rows.length / PAGE);
    pager.replaceChildren();
    if (pages > 1) {
      for (const [text, step] of [["Previous", -1], ["Next", 1]]) {
        const button = element("button", text, "page");
        button.disabled = page + step < 0 || page + step >= pages;
        button.onclick = () => { page += step; show(); };
        pager.append(button);
      }
      pager.append(`page ${page + 1} of ${pages}`);
    }
  }
  show();
  return (other) => { rows = other; page = 0; show(); };
}

function searched(input, rows, show) {
  const words = document.getElementById(input).value.toLowerCase().split(/\s+/).filter(Boolean);
  show(words.length ? rows.filter((row) => matches(row, words)) : rows);
}

function gallery() {
  const grid = document.getElementById("gallery");
  return (rows) => {
    document.getElementById("class-count").textContent = `${rows.length.toLocaleString("en")} classes`;
    const absent = rows.filter(([, , present, poster]) => !present && !poster).map(([label]) => label);
    const box = document.getElementById("absent");
    box.hidden = !absent.length;
    box.querySelector("summary").textContent = `${absent.length.toLocaleString("en")} classes without a clip`;
    box.querySelector("p").textContent = absent.join(", ");
    grid.replaceChildren(...rows.filter(([, , present, poster]) => present || poster).map(([label, annotated, present, poster, loop, clip]) => {
      const card = element("button", null, "card");
      card.dataset.label = label;
      if (poster) {
        const image = element("img");
        image.src = poster;
        image.loading = "lazy";
        image.alt = clip;
        image.title = `${clip}: click to play`;
        card.onclick = () => { image.src = image.src.endsWith(loop) ? poster : loop; };
        card.append(image);
      } else {
        card.append(element("div", "", "blank"));
      }
      card.append(element("span", label), element("span", `${present.toLocaleString("en")} of ${annotated.toLocaleString("en")} clips`, "faint"));
      return card;
    }));
  };
}

function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

async function main() {
  for (const [name, spec] of Object.entries(SPECS)) {
    vegaEmbed(`[data-chart="${name}"]`, spec, { actions: false, renderer: "svg" });
  }
  const data = await unpacked();
  const showClasses = gallery();
  showClasses(data.classes);
  document.getElementById("class-search").oninput = () => searched("class-search", data.classes, showClasses);

  const count = document.getElementById("problem-count");
  const command = ([release, split, , label, status, , path]) => {
    if (!data.folder) return "";
    const removed = status === "missing" ? "" : `rm ${quoted(`${data.folder}/${path}`)} && `;
    const classes = label ? ` --classes ${quoted(label)}` : "";
    return element("code", `${removed}kinetics download ${release} --out ${quoted(data.folder)} --split ${split}${classes}`);
  };
  const showProblems = paged("problem-table", data.problems, (row) => [...row.slice(0, 6), command(row)]);
  const counted = (rows) => { count.textContent = `${rows.length.toLocaleString("en")} clips`; showProblems(rows); };
  counted(data.problems);
  document.getElementById("problem-search").oninput = () => searched("problem-search", data.problems, counted);
  if (data.wrong) paged("wrong", data.wrong, (row) => row.map((cell) => (cell === null ? "" : String(cell))));
  document.body.dataset.ready = "yes";
}

main();
