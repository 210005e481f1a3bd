"use strict"
// Every text of the data reaches the page by textContent: nothing of it is ever read as markup.
const DATA = JSON.parse(document.getElementById("data").textContent)
const CONFIG = { displaylogo: false, displayModeBar: false, responsive: true }
const MOST_LINES = 2000
const byId = id => document.getElementById(id)
function make(tag, name, text) {
  const element = document.createElement(tag)
  if (name) element.className = name
  if (text !== undefined) element.textContent = text
  return element
}
function button(text, label, action) {
  const made = make("button", "", text)
  made.type = "button"
  made.title = label
  made.setAttribute("aria-label", label)
  made.onclick = action
  return made
}

// The theme: the system's, or what the reader chose.
const system = matchMedia("(prefers-color-scheme: dark)")
function theme() { return byId("theme").value || (system.matches ? "dark" : "light") }
function applyTheme() {
  document.documentElement.classList.toggle("dark", theme() === "dark")
  document.querySelectorAll(".figure").forEach(place => { if (place.drawn) place.drawn() })
  if (cards) showCard(chosen)
}
// A figure comes in one theme; in the other each of its colours has a counterpart.
function recoloured(value, from) {
  if (from === theme()) return value
  const pairs = new Map(Object.entries(DATA.themes[from]).map(([part, colour]) => [colour, DATA.themes[theme()][part]]))
  const channels = colour => [1, 3, 5].map(i => parseInt(colour.slice(i, i + 2), 16)).join(",")
  const parts = new Map([...pairs].map(([a, b]) => [channels(a), channels(b)]))
  function walk(item) {
    if (typeof item === "string") {
      if (pairs.has(item)) return pairs.get(item)
      const found = /^rgba\((\d+), ?(\d+), ?(\d+), ?([\d.]+)\)$/.exec(item)
      const other = found && found[4] !== "0" && parts.get(found.slice(1, 4).join(","))
      return other ? `rgba(${other},${found[4]})` : item
    }
    if (Array.isArray(item)) return item.map(walk)
    if (item && typeof item === "object")
      return Object.fromEntries(Object.entries(item).map(([name, part]) => [name, name === "bdata" ? part : walk(part)]))
    return item
  }
  return walk(value)
}

// Files to keep, made here.
function save(name, content, type) {
  const link = make("a")
  link.href = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }))
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10000)
}
function csv(table) {
  const cell = value => {
    const text = value === null ? "" : String(value)
    return /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text
  }
  return [table.columns.map(c => c[0]), ...table.rows].map(line => line.map(cell).join(",")).join("\r\n") + "\r\n"
}
function records(table) {
  return JSON.stringify(table.rows.map(row => Object.fromEntries(table.columns.map((c, i) => [c[0], row[i]]))), null, 1)
}
function image(panel, key, format) {
  const shown = recoloured({ data: panel.data, layout: panel.layout }, panel.theme)
  const ink = DATA.themes[theme()].ink
  const title = { text: panel.title.replace(/&/g, "&amp;").replace(/</g, "&lt;"), x: 0, xref: "paper", font: { size: 16, color: ink } }
  const height = (panel.layout.height || 420) + 34
  const layout = { ...shown.layout, title, height, margin: { ...shown.layout.margin, t: 48 } }
  return Plotly.toImage({ data: shown.data, layout }, { format, width: 900, height, scale: format === "png" ? 2 : 1 })
    .then(address => fromAddress(address, format)).then(blob => save(`${key}.${format}`, blob))
}
function fromAddress(address, format) {
  const [head, body] = [address.slice(0, address.indexOf(",")), address.slice(address.indexOf(",") + 1)]
  if (!head.endsWith(";base64")) return new Blob([decodeURIComponent(body)], { type: "image/svg+xml" })
  return new Blob([Uint8Array.from(atob(body), c => c.charCodeAt(0))], { type: "image/" + format })
}
function tools(place, key, table, panel) {
  place.append(button("CSV", "Numbers as CSV", () => save(key + ".csv", csv(table()), "text/csv")))
  place.append(button("JSON", "Numbers as JSON", () => save(key + ".json", records(table()), "application/json")))
  if (panel) for (const format of ["svg", "png"])
    place.append(button(format.toUpperCase(), "Figure as " + format.toUpperCase(), () => image(panel, key, format)))
}

// Numbers as people write them.
function number(value, kind) {
  if (value === null) return "–"
  if (typeof value !== "number") return String(value)
  if (kind === "ev") return value.toFixed(3)
  if (kind === "share") return (100 * value).toFixed(1) + " %"
  if (Number.isInteger(value)) return Math.abs(value) < 10000 && kind === "number" ? String(value) : value.toLocaleString("en")
  if (kind === "count" || kind === "decimal") return value.toLocaleString("en", { maximumFractionDigits: 1 })
  return Math.abs(value) >= 1000 ? value.toLocaleString("en", { maximumFractionDigits: 0 }) : String(Number(value.toPrecision(3)))
}
function counted(n, word) { return `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}` }
function words() { return byId("search").value.toLowerCase().split(/\s+/).filter(word => word) }
function fits(text) { const low = text.toLowerCase(); return words().every(word => low.includes(word)) }

// A table that sorts by its heads; `open(row)` is called for a line that is clicked.
function drawTable(place, table, options = {}) {
  const state = place.state ||= { column: null, rising: false }
  let rows = table.rows.filter(row => options.every || fits(row.map((v, i) => number(v, table.columns[i][2]) + " " + v).join(" ")))
  if (state.column !== null) {
    const at = state.column, sign = state.rising ? 1 : -1
    rows = [...rows].sort((a, b) => {
      if (a[at] === null || b[at] === null) return (a[at] === null) - (b[at] === null)
      return sign * (a[at] < b[at] ? -1 : a[at] > b[at] ? 1 : 0)
    })
  }
  place.rows = rows
  const element = make("table")
  const head = element.createTHead().insertRow()
  table.columns.forEach(([, title, kind], i) => {
    const th = make("th", kind === "text" ? "" : "number")
    th.scope = "col"
    const arrow = state.column === i ? (state.rising ? " ↑" : " ↓") : ""
    th.setAttribute("aria-sort", arrow ? (state.rising ? "ascending" : "descending") : "none")
    const sort = make("button", "", title + arrow)
    sort.type = "button"
    sort.onclick = () => {
      state.rising = state.column === i ? !state.rising : kind === "text"
      state.column = i
      drawTable(place, table, options)
    }
    th.append(sort)
    head.append(th)
  })
  const body = element.createTBody()
  for (const row of rows.slice(0, MOST_LINES)) {
    const line = body.insertRow()
    row.forEach((value, i) => {
      const cell = line.insertCell()
      cell.textContent = number(value, table.columns[i][2])
      if (table.columns[i][2] !== "text") cell.className = "number"
      else if (cell.textContent.length > 40) cell.title = cell.textContent
    })
    if (options.open) line.onclick = () => options.open(row)
  }
  place.replaceChildren(element)
  if (rows.length > MOST_LINES) place.append(make("p", "quiet", `The first ${MOST_LINES} of ${rows.length} lines; the files have all.`))
  if (options.drawn) options.drawn(rows)
  return rows.length
}

// Panels.
const panels = [...document.querySelectorAll(".panel")].map(section => ({ section, panel: DATA.panels[section.dataset.key] }))
for (const { section, panel } of panels) {
  const place = section.querySelector(".figure")
  tools(section.querySelector(".tools"), section.dataset.key, () => panel.table, place && panel)
  if (!place) continue
  place.drawn = () => {
    const shown = recoloured({ data: panel.data, layout: panel.layout }, panel.theme)
    Plotly.react(place, shown.data, { ...shown.layout, autosize: true }, CONFIG)
  }
  place.drawn()
  place.on("plotly_click", event => {
    const about = event.points[0].customdata
    if (section.dataset.key === "map" && cards && about) openFeature(about[0])
  })
  const twin = section.querySelector(".twin")
  twin.addEventListener("toggle", () => { if (twin.open) drawTable(twin.querySelector(".table"), panel.table, { every: !words().length }) })
}

// Feature cards: one at a time, so that a report of a thousand features opens as fast as one of ten.
const features = DATA.features
const cards = features && new Map(features.cards.map(card => [card.feature, card]))
let chosen = null
const COLUMNS = [["feature", "Feature", "id"], ["label", "Label", "text"], ["density", "Density", "share"],
  ["max_activation", "Max", "number"], ["text", "Strongest example", "text"]]
function listed() {
  const rows = features.cards.filter(card => {
    const asked = words()
    if (asked.length === 1 && /^#\d+$/.test(asked[0])) return card.feature === Number(asked[0].slice(1))
    return fits([card.feature, card.label, card.note, ...card.examples.map(([at]) => features.examples[at].text)].join("\n"))
  }).map(card => [card.feature, (card.bookmark ? "★ " : "") + card.label, card.density, card.max_activation,
    card.examples.length ? features.examples[card.examples[0][0]].text.slice(0, 120) : ""])
  return { columns: COLUMNS, rows }
}
function drawList() {
  const table = listed()
  byId("listed").textContent = `${table.rows.length.toLocaleString("en")} of ${features.cards.length.toLocaleString("en")} cards${features.said ? "; " + features.said : ""}`
  drawTable(byId("list"), table, { every: true, open: row => openFeature(row[0]), drawn: markChosen })
  return table.rows.length
}
function markChosen() {
  byId("list").querySelectorAll("tbody tr").forEach((line, i) => line.classList.toggle("chosen", byId("list").rows[i][0] === chosen))
}
function openFeature(feature) {
  if (!cards.has(feature)) return
  history.replaceState(null, "", "#feature-" + feature)
  showCard(feature)
  byId("card").scrollIntoView({ block: "nearest" })
}
function step(by) {
  const order = byId("list").rows.map(row => row[0]), at = order.indexOf(chosen)
  const next = order[at < 0 ? 0 : at + by]
  if (next !== undefined) openFeature(next)
}
function shade(value, maximum) {
  if (!value || !(maximum > 0)) return ""
  const [low, high] = features.ramps[theme()][value > 0 ? "above" : "below"]
  const share = Math.min(Math.abs(value) / maximum, 1)
  const mixed = [1, 3, 5].map(i => parseInt(low.slice(i, i + 2), 16) * (1 - share) + parseInt(high.slice(i, i + 2), 16) * share)
  return `rgb(${mixed.map(Math.round).join(",")})`
}
function paint(element, colour) { element.style.background = colour; element.style.color = features.ink[theme()] }
function exampleOf(at, value, marks, maximum) {
  const example = features.examples[at]
  const box = make("section", "example")
  const top = make("div", "top")
  if (value !== null) {
    const shown = make("span", "value", number(value, "number"))
    paint(shown, shade(value, maximum))
    top.append(shown)
  }
  top.append(make("span", "", example.heading), make("span", "aside", example.aside))
  const text = make("div", "text")
  const letters = Array.from(example.text)
  let reached = 0
  for (const [start, end, strength] of marks) {
    text.append(letters.slice(reached, start).join(""))
    const mark = make("mark", strength < 0 ? "below" : "", letters.slice(start, end).join(""))
    paint(mark, shade(strength, maximum))
    mark.title = number(strength, "number")
    text.append(mark)
    reached = end
  }
  text.append(letters.slice(reached).join(""))
  box.append(top, text)
  if (example.chips.length) {
    const chips = make("ol", "chips")
    for (const chip of example.chips) {
      const item = make("li", chip.here ? "here" : "")
      item.title = chip.title
      item.append(make("span", "", chip.name), chip.word, " ", make("span", "", chip.share))
      chips.append(item)
    }
    box.append(chips)
  }
  for (const [term, said] of example.lines) {
    const line = make("div", "line")
    line.append(make("b", "", term), said)
    box.append(line)
  }
  return box
}
function showCard(feature) {
  const card = cards.get(feature), place = byId("card")
  if (!card) return
  chosen = feature
  markChosen()
  place.replaceChildren()
  const head = make("div", "head")
  const order = byId("list").rows.map(row => row[0]), at = order.indexOf(feature)
  const before = button("Previous", "The one before in the list (k)", () => step(-1))
  const after = button("Next", "The next in the list (j)", () => step(1))
  before.disabled = at <= 0
  after.disabled = at < 0 || at + 1 >= order.length
  const buttons = make("div", "tools")
  buttons.append(before, after)
  const title = make("h3")
  title.append(`Feature ${feature.toLocaleString("en")} `, make("bdi", "quiet", card.label))
  head.append(title, buttons)
  place.append(head, make("p", "meaning", card.said))
  if (card.lists.length) place.append(make("p", "meaning", "On the lists: " + card.lists.join(", ")))
  if (card.note) place.append(make("div", "note", card.note))
  if (card.counts.length) {
    const figure = make("div", "figure")
    place.append(figure)
    figure.drawn = () => {
      const colour = DATA.themes[theme()].bar
      const data = [{ type: "bar", x: card.starts.map((s, i) => (s + card.ends[i]) / 2), y: card.counts,
        width: card.starts.map((s, i) => card.ends[i] - s), marker: { color: colour }, customdata: card.starts.map((s, i) => [s, card.ends[i]]),
        hovertemplate: "%{customdata[0]:.3g} to %{customdata[1]:.3g}: %{y:,} rows<extra></extra>" }]
      const layout = recoloured(features.histogram, features.theme)
      Plotly.react(figure, data, { ...layout, autosize: true }, CONFIG)
    }
    figure.drawn()
    const twin = make("details")
    const numbers = { columns: [["start", "From", "number"], ["end", "To", "number"], ["count", "Rows", "count"]],
      rows: card.counts.map((count, i) => [card.starts[i], card.ends[i], count]) }
    const table = make("div", "table"), row = make("div", "tools")
    tools(row, `feature-${feature}`, () => numbers, { title: `Feature ${feature}`, theme: theme(), get data() { return figure.data }, get layout() { return figure.layout } })
    twin.append(make("summary", "", "Numbers"), row, table)
    drawTable(table, numbers, { every: true })
    place.append(twin)
  }
  if (card.max_activation > 0 && card.examples.length) {
    const scale = make("div", "scale"), ramp = make("span", "ramp")
    const signed = card.signed
    for (let i = 0; i < 12; i++) {
      const part = make("i")
      part.style.background = shade((signed ? 2 * i / 11 - 1 : i / 11) * card.max_activation, card.max_activation)
      ramp.append(part)
    }
    scale.append(signed ? number(-card.max_activation, "number") : "0", ramp, `${number(card.max_activation, "number")} (largest activation of this feature)`)
    place.append(scale)
  }
  for (const [example, value, marks] of card.examples) place.append(exampleOf(example, value, marks, card.max_activation))
  if (!card.examples.length) place.append(make("p", "quiet", "No example in this file."))
}

// Search goes through tables and cards, and says how much it found.
function search() {
  let lines = 0
  for (const { section, panel } of panels) {
    const twin = section.querySelector(".twin")
    const place = section.querySelector(".table")
    if (twin) {
      const matches = words().length ? panel.table.rows.filter(row => fits(row.join(" "))).length : 0
      twin.querySelector("summary").textContent = matches ? `Numbers (${matches.toLocaleString("en")} found)` : "Numbers"
      lines += matches
      if (twin.open) drawTable(place, panel.table)
    } else lines += drawTable(place, panel.table)
  }
  const listedNow = cards ? drawList() : 0
  byId("found").hidden = !words().length
  byId("found").textContent = `Found: ${counted(lines, "line")} of tables${cards ? `, ${counted(listedNow, "feature")}` : ""}.`
}
byId("search").oninput = search
byId("theme").onchange = applyTheme
system.addEventListener("change", applyTheme)
if (cards) {
  tools(document.querySelector("#features .tools"), "features", listed)
  drawList()
  addEventListener("keydown", event => {
    if (["INPUT", "SELECT"].includes(event.target.tagName) || event.ctrlKey || event.metaKey || event.altKey) return
    if (event.key === "j" || event.key === "k") step(event.key === "j" ? 1 : -1)
    if (event.key === "/") { byId("search").focus(); event.preventDefault() }
  })
  const asked = Number((/^#feature-(\d+)$/.exec(location.hash) || [])[1])
  showCard(cards.has(asked) ? asked : features.cards.length ? features.cards[0].feature : null)
}
search()
applyTheme()
