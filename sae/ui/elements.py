"""What the components of our own share in the browser."""

#: `make(tag, name, text)`: a new element of a class with a text; the text is never read as markup. `seen(text)`: the
#: text with characters that turn or hide their neighbours written out, as `sae.report.visible` does.
MAKE = """
const HIDDEN = /(?![\\n\\t\\u200c\\u200d])[\\p{Cc}\\p{Cf}\\p{Cs}\\p{Zl}\\p{Zp}]/gu
const written = c => "\u27e8U+" + c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0") + "\u27e9"
function seen(text) { return String(text).replace(HIDDEN, written) }
function make(tag, name, text) {
  const element = document.createElement(tag)
  if (name) element.className = name
  if (text !== undefined) element.textContent = seen(text)
  return element
}
"""
