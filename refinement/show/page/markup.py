"""The markup of the review page: what it takes beyond viser's own controls, and words of files as words."""

from __future__ import annotations

import html

# Keys do nothing while an input has the focus, and viser leaves it in a box that was ticked and a list that was chosen from; its sliders
# have no name for those who hear the page. viser runs no script element in markup, but the handler of a picture that cannot be shown.
_SCRIPT = """
const back = () => document.activeElement.blur();
document.addEventListener('change', e => e.target.type === 'checkbox' && back());
document.addEventListener('click', e => e.target.closest('[role=option]') && setTimeout(back));
document.addEventListener('keyup', e => ['Enter', 'Escape'].includes(e.key) && e.target.matches('input') && back());
const name = () => document.querySelectorAll('label[for]').forEach(label => {
  const row = label.closest('p')?.parentElement.parentElement;
  row?.querySelectorAll('input, [role=slider]').forEach(control => { control.ariaLabel ||= label.textContent; });
});
new MutationObserver(name).observe(document.body, {childList: true, subtree: true});
name();
"""
BEHAVIOUR = f'<img alt="" hidden src="data:," onerror="{html.escape(_SCRIPT)}">'
"""Draws nothing; while it is on the page, keys work after a choice, and every control has a name to be read out."""


def plain(text: str) -> str:
    """Words of files and folders as Markdown that shows them as they are."""
    return "".join(f"&#{ord(letter)};" if letter in "\\`*_{}[]<>#&|~!" else letter for letter in text)
