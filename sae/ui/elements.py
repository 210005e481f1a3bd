"""What the components of our own share in the browser."""

#: `make(tag, name, text)`: a new element of a class with a text; the text is never read as markup.
MAKE = """
function make(tag, name, text) {
  const element = document.createElement(tag)
  if (name) element.className = name
  if (text !== undefined) element.textContent = text
  return element
}
"""
