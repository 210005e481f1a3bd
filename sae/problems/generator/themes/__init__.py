"""All templates, by theme. A new theme is a module with `TEMPLATES` and a line here."""

from ..template import Template
from . import animals, garden, journeys, kitchen, play, school, shop, workshop

BY_THEME: dict[str, tuple[Template, ...]] = {
    "kitchen": kitchen.TEMPLATES,
    "school": school.TEMPLATES,
    "garden": garden.TEMPLATES,
    "shop": shop.TEMPLATES,
    "journeys": journeys.TEMPLATES,
    "workshop": workshop.TEMPLATES,
    "animals": animals.TEMPLATES,
    "play": play.TEMPLATES,
}
TEMPLATES: tuple[Template, ...] = tuple(template for templates in BY_THEME.values() for template in templates)
