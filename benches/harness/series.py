"""Readings: what was measured, by part, subject and quantity; medians and ratios of them."""

from statistics import median


class Readings:
    """`all[part][subject][quantity]` is the list of one value per repetition."""

    def __init__(self):
        self.all = {}

    def add(self, part, subject, **quantities):
        for quantity, value in quantities.items():
            self.all.setdefault(part, {}).setdefault(subject, {}).setdefault(quantity, []).append(value)

    def values(self, part, subject, quantity):
        return self.all.get(part, {}).get(subject, {}).get(quantity, [])

    def median(self, part, subject, quantity):
        values = self.values(part, subject, quantity)
        return median(values) if values else None

    def ratio(self, part, subject, reference, quantity):
        """The median of the ratios within each repetition: what the machine did meanwhile cancels."""
        pairs = zip(self.values(part, subject, quantity), self.values(part, reference, quantity))
        ratios = [one / other for one, other in pairs if other]
        return median(ratios) if ratios else None
