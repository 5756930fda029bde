"""A made-up bank: cards with habits, payments that follow them, and now and then a thief.

The same seed gives the same cards and payments, so that training is repeatable.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import NamedTuple

from msgspec.structs import replace

from examples.card_fraud.events import Payment, Profile
from examples.card_fraud.functions import EUROS, RISK, conditions

CURRENCIES = {"DE": "EUR", "FR": "EUR", "IT": "EUR", "US": "USD", "GB": "GBP", "CH": "CHF", "PL": "PLN"}
COUNTRIES = list(CURRENCIES)
CATEGORIES = list(RISK)
DAY_HOURS = [1] * 6 + [2, 4, 6, 6, 6, 7, 9, 8, 6, 6, 7, 9, 10, 9, 7, 5, 3, 2]


class Labelled(NamedTuple):
    """A payment of the past, with what was known about its card then, and what it turned out to be."""

    payment: Payment
    profile: Profile
    fraud: bool


class Bank:
    """Cards, and the payments made with them.

    - `profiles`: what is known of each card, by its number.
    - `stolen`: the share of payments made by thieves.

    >>> bank = Bank(seed=1, cards=3)
    >>> sorted(bank.profiles)
    ['card-00000', 'card-00001', 'card-00002']
    >>> Bank(seed=1, cards=3).payment(at=0.0) == bank.payment(at=0.0)
    True
    """

    def __init__(self, seed: int | None = None, *, cards: int = 2000, stolen: float = 0.03) -> None:
        self._random = random.Random(seed)
        self.stolen = stolen
        self.profiles = {f"card-{number:05}": self._profile() for number in range(cards)}
        self._cards = list(self.profiles)

    def payment(self, at: float) -> Labelled:
        """The next payment, made at this time (seconds since the epoch)."""
        card = self._random.choice(self._cards)
        profile = self.profiles[card]
        if self._random.random() >= self.stolen:
            return Labelled(self._honest(card, profile, at), profile, False)
        kind = self._random.choice((self._shopping_spree, self._cloned_card, self._stolen_number))
        return Labelled(kind(card, profile, at), profile, True)

    def past(self, payments: int, *, end: float, days: float = 90.0) -> Iterator[Labelled]:
        """Payments of the days before `end`, spread over the hours as people's are."""
        for number in range(payments):
            day = end - days * 86_400 * (1 - number / payments)
            hour = self._random.choices(range(24), DAY_HOURS)[0]
            labelled = self.payment(day - day % 86_400 + 3600 * (hour + self._random.random()))
            if labelled.fraud and self._random.random() < 0.4:
                night = labelled.payment.at or 0.0
                night += 3600 * self._random.uniform(0, 5) - night % 86_400
                labelled = labelled._replace(payment=replace(labelled.payment, at=night))
            yield labelled

    def _profile(self) -> Profile:
        draw = self._random
        mean = draw.lognormvariate(3.6, 0.6)
        return Profile(
            home=draw.choices(COUNTRIES, [50, 10, 8, 5, 6, 8, 10])[0],
            count=draw.randint(5, 400),
            mean=round(mean, 2),
            spread=round(mean * draw.uniform(0.4, 1.0), 2),
            largest=round(mean * draw.uniform(2.5, 8.0), 2),
            limit=float(draw.choice((500, 1000, 2000, 5000, 10_000))),
            age_days=float(draw.randint(1, 3000)),
            abroad=round(draw.betavariate(1, 12), 3),
            online=round(draw.betavariate(2, 5), 3),
            night=round(draw.betavariate(1, 20), 3),
            declined=draw.choices((0, 1, 2, 3), (90, 7, 2, 1))[0],
        )

    def _make(self, card: str, at: float, euros: float, country: str, category: str, entry: str) -> Payment:
        currency = CURRENCIES[country]
        place = (
            f"web-{self._random.randint(1, 60)}" if entry == "online" else f"{country}-{self._random.randint(1, 300)}"
        )
        return Payment(
            id=f"{self._random.getrandbits(64):016x}",
            card=card,
            terminal=place,
            amount=round(max(euros, 0.0) / EUROS[currency], 2),
            currency=currency,
            country=country,
            category=category,
            entry=entry,
            at=round(at, 3),
        )

    def _honest(self, card: str, profile: Profile, at: float) -> Payment:
        draw = self._random
        country = profile.home if draw.random() >= profile.abroad else draw.choice(COUNTRIES)
        rain = conditions(f"{country}-{draw.randint(1, 300)}", at).rain
        online = draw.random() < min(0.95, profile.online * (1 + rain / 10))
        entry = "online" if online else draw.choices(("chip", "contactless", "magstripe"), (40, 57, 3))[0]
        category = draw.choices(CATEGORIES, (35, 20, 12, 6, 6, 8, 13))[0]
        ratio = draw.lognormvariate(-0.3, 0.7) * (2.0 if category in ("travel", "electronics") else 1.0)
        # Now and then only whether the card exists is asked, for nothing.
        euros = 0.0 if draw.random() < 0.005 else profile.mean * ratio
        return self._make(card, at, euros, country, category, entry)

    def _shopping_spree(self, card: str, profile: Profile, at: float) -> Payment:
        """The card itself was stolen: contactless or chip, near home, more than usual."""
        draw = self._random
        entry = draw.choice(("contactless", "contactless", "chip"))
        category = draw.choice(("electronics", "fuel", "cash"))
        return self._make(card, at, profile.mean * draw.lognormvariate(1.1, 0.5), profile.home, category, entry)

    def _cloned_card(self, card: str, profile: Profile, at: float) -> Payment:
        """The stripe was copied: abroad, cash or goods, close to the limit."""
        draw = self._random
        country = draw.choice([country for country in COUNTRIES if country != profile.home])
        euros = min(profile.limit, profile.largest * draw.uniform(0.6, 2.5))
        return self._make(card, at, euros, country, draw.choice(("cash", "electronics", "travel")), "magstripe")

    def _stolen_number(self, card: str, profile: Profile, at: float) -> Payment:
        """Only the number is known: online, tried with little, then used for much."""
        draw = self._random
        euros = draw.uniform(0.5, 3.0) if draw.random() < 0.3 else profile.mean * math.exp(draw.uniform(0.7, 2.2))
        return self._make(card, at, euros, draw.choice(COUNTRIES), draw.choice(("digital", "electronics")), "online")
