"""What every registry must do. A test class inherits it and says how to open one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from penstock.errors import ConfigError
from penstock.models.manifest import Comparison, Input, Manifest, Probe
from penstock.models.registry import MODEL, Registry


def manifest(name: str = "fraud", **more: object) -> Manifest:
    return Manifest(
        name=name,
        kind="binary",
        inputs=[Input("amount")],
        output="probabilities",
        probe=Probe([1.0], 0.5),
        comparison=Comparison(1, 1e-4, 0.0, 0.0, 0.0),
        labels=["0", "1"],
        metrics={key: float(str(value)) for key, value in more.items()},
    )


class RegistryContract:
    """Inherit, and provide the fixture `url`: a place that is there and empty."""

    @pytest.fixture
    def url(self) -> str:
        raise NotImplementedError

    def open(self, url: str) -> Registry:
        from penstock.models import open_registry

        return open_registry(url)

    def test_versions_are_numbered_from_one_and_kept_as_they_were(self, url: str) -> None:
        registry = self.open(url)
        first = registry.publish(manifest(auc=0.5), {MODEL: b"one"})
        second = registry.publish(manifest(auc=0.9), {MODEL: b"two"})
        assert (str(first), str(second)) == ("fraud@1", "fraud@2")
        again = self.open(url)
        assert again.names() == ["fraud"]
        assert again.versions("fraud") == [1, 2]
        assert again.read(again.resolve("fraud@1")) == b"one"
        assert again.resolve("fraud@2").manifest.metrics == {"auc": 0.9}
        assert again.resolve("fraud@2").manifest == second.manifest

    def test_an_alias_leads_to_a_version_and_keeps_its_history(self, url: str) -> None:
        registry = self.open(url)
        versions = [registry.publish(manifest(), {MODEL: bytes([number])}) for number in range(3)]
        registry.promote(versions[0], "champion")
        registry.promote(versions[2], "champion", note="better on small amounts")
        registry.promote(versions[0], "champion", note="back")
        registry.promote(versions[1], "challenger")
        again = self.open(url)
        assert again.resolve("fraud@champion").number == 1
        assert again.aliases("fraud") == {"challenger": 2, "champion": 1}
        assert [(move.version, move.note) for move in again.history("fraud", "champion")] == [
            (1, ""),
            (3, "better on small amounts"),
            (1, "back"),
        ]
        assert all(move.at for move in again.history("fraud", "champion"))
        assert again.history("fraud", "nobody") == []

    def test_two_publishers_at_once_get_two_versions(self, url: str) -> None:
        registries = [self.open(url) for _ in range(4)]
        contents = [bytes([number]) for number in range(24)]
        with ThreadPoolExecutor(4) as pool:
            versions = list(
                pool.map(
                    lambda item: registries[item[0] % 4].publish(manifest(), {MODEL: item[1]}), enumerate(contents)
                )
            )
        assert sorted(version.number for version in versions) == list(range(1, 25))
        assert [registries[0].read(version) for version in versions] == contents

    def test_two_who_move_an_alias_at_once_are_both_in_its_history(self, url: str) -> None:
        registry = self.open(url)
        versions = [registry.publish(manifest(), {MODEL: b""}) for _ in range(2)]
        with ThreadPoolExecutor(4) as pool:
            list(
                pool.map(lambda number: registry.promote(versions[number % 2], "champion", note=str(number)), range(16))
            )
        assert sorted(int(move.note) for move in registry.history("fraud", "champion")) == list(range(16))

    def test_what_is_not_there_is_answered_with_what_is(self, url: str) -> None:
        registry = self.open(url)
        with pytest.raises(ConfigError, match=r"there is no model 'fraud' .* it is empty: train a model with"):
            registry.resolve("fraud@champion")
        version = registry.publish(manifest(), {MODEL: b""})
        with pytest.raises(ConfigError, match=r"the versions 1 and no alias: `penstock models promote fraud@1`"):
            registry.resolve("fraud@champion")
        registry.promote(version, "champion")
        with pytest.raises(ConfigError, match=r"fraud@winner is not in .* the aliases champion \(version 1\)"):
            registry.resolve("fraud@winner")
        with pytest.raises(ConfigError, match=r"fraud@7 is not in .* the versions 1 "):
            registry.resolve("fraud@7")
        with pytest.raises(ConfigError, match=r"there is no model 'spam' in .*; there is fraud"):
            registry.resolve("spam@champion")

    @pytest.mark.parametrize("ref", ["fraud", "fraud@", "@champion", "../fraud@1", ""])
    def test_a_reference_has_a_name_and_a_version(self, url: str, ref: str) -> None:
        with pytest.raises(ConfigError, match=r"write name@alias or name@number"):
            self.open(url).resolve(ref)

    def test_names_that_could_lead_elsewhere_are_refused(self, url: str) -> None:
        registry = self.open(url)
        with pytest.raises(ConfigError, match="cannot name a model"):
            registry.publish(manifest("../fraud"), {MODEL: b""})
        version = registry.publish(manifest(), {MODEL: b""})
        for alias in ("../champion", "7", ""):
            with pytest.raises(ConfigError, match="cannot be an alias"):
                registry.promote(version, alias)

    def test_an_unknown_version_is_not_promoted(self, url: str) -> None:
        registry = self.open(url)
        version = registry.publish(manifest(), {MODEL: b""})
        with pytest.raises(ConfigError, match=r"fraud@9 is not in"):
            registry.promote(type(version)("fraud", 9, version.manifest), "champion")
