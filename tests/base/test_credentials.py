"""Credentials and the files in which they travel."""

from __future__ import annotations

import copy
import json
import os
import pickle
import socket
import stat
from pathlib import Path

import pytest

from myscheduler.base.credentials import (
    Credentials,
    SchedulerFile,
    find_cluster,
    publish_cluster,
    read_scheduler_file,
    user_directory,
    withdraw_cluster,
    write_scheduler_file,
)
from myscheduler.base.errors import AuthenticationError, ConnectionFailedError, SerializationError

ADDRESS = "tcp://127.0.0.1:8786"


@pytest.fixture
def credentials() -> Credentials:
    return Credentials.generate()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "home"
    monkeypatch.setenv("MYSCHEDULER_HOME", str(path))
    monkeypatch.delenv("MYSCHEDULER_CREDENTIALS_FILE", raising=False)
    return path


class TestCredentials:
    def test_every_role_has_a_secret_of_its_own(self, credentials: Credentials) -> None:
        assert list(credentials.secrets) == ["client", "worker", "observer"]
        assert len(set(credentials.secrets.values())) == 3
        assert {len(secret) for secret in credentials.secrets.values()} == {32}
        assert credentials.cluster != Credentials.generate().cluster

    def test_repr_and_str_hide_the_secrets(self, credentials: Credentials) -> None:
        for text in (repr(credentials), str(credentials), f"{credentials}", repr([credentials])):
            assert "<secret>" in text
            for secret in credentials.secrets.values():
                assert secret.hex() not in text
                assert repr(secret)[2:-1] not in text

    def test_certificates_are_added_and_restricted_by_role(self, credentials: Credentials) -> None:
        made = credentials.certified()
        assert credentials.certificates is None
        assert made.certificates is not None
        assert (made.cluster, made.secrets) == (credentials.cluster, credentials.secrets)
        assert list(made.certificates.leaves) == ["scheduler", "worker", "client", "observer"]
        workers = made.restricted("worker", "client").certificates
        assert workers is not None
        assert list(workers.leaves) == ["worker", "client"]
        assert credentials.restricted("worker").certificates is None

    def test_certificates_travel_in_the_file_and_are_not_shown(self, credentials: Credentials, tmp_path: Path) -> None:
        made = credentials.certified()
        file = write_scheduler_file(tmp_path / "file", "tls://10.0.0.5:8786", made)
        assert read_scheduler_file(file).credentials == made
        assert "PRIVATE" in file.read_text()
        assert "PRIVATE" not in f"{made!r} {read_scheduler_file(file)!r}"
        assert repr(made).endswith(", certificates=<secret>)")
        with pytest.raises(SerializationError):
            pickle.dumps(made)

    @pytest.mark.parametrize(
        ("known", "given", "dialled"),
        [
            ("tls://head:8786", "head", "tls://head"),
            ("tls://head:8786", "tcp://10.0.0.5:8786", "tls://10.0.0.5:8786"),
            ("tls://head:8786", "127.0.0.1:8786", "tls://127.0.0.1:8786"),
            ("tcp://head:8786", "tls://head:8786", "tls://head:8786"),
            ("tcp://head:8786", "head:8786", "tcp://head:8786"),
            ("", "tcp://head:8786", "tcp://head:8786"),
            ("", "head:8786", "tls://head:8786"),
            ("", "127.0.0.2:8786", "tcp://127.0.0.2:8786"),
            ("", "localhost", "tcp://localhost"),
            ("tls://head:8786", "inproc://x", "inproc://x"),
        ],
    )
    def test_the_scheme_of_an_address_follows_from_what_is_known(self, known: str, given: str, dialled: str) -> None:
        certified = Credentials.generate().certified()
        assert SchedulerFile(known, certified).dial(given) == dialled
        if not known:
            plain = SchedulerFile(known, Credentials.generate())
            assert plain.dial(given) == dialled.replace("tls:", "tcp:")

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_refuse_to_be_pickled(self, credentials: Credentials, protocol: int) -> None:
        with pytest.raises(SerializationError, match="pass the path of a scheduler file instead"):
            pickle.dumps({"nested": credentials}, protocol)

    def test_refuse_to_be_copied_by_pickle(self, credentials: Credentials) -> None:
        with pytest.raises(SerializationError):
            copy.deepcopy(credentials)

    def test_are_immutable(self, credentials: Credentials) -> None:
        with pytest.raises(TypeError):
            credentials.secrets["client"] = b""  # type: ignore[index]
        with pytest.raises(AttributeError):
            credentials.cluster = ""  # type: ignore[misc]

    def test_dict_round_trip(self, credentials: Credentials) -> None:
        assert Credentials.from_dict(json.loads(json.dumps(credentials.to_dict()))) == credentials

    @pytest.mark.parametrize(
        "data",
        [
            {},
            {"cluster": "00" * 16},
            {"cluster": "00" * 16, "secrets": ["client"]},
            {"cluster": "00" * 16, "secrets": {"client": "no hex"}},
            {"cluster": "00" * 16, "secrets": {"client": 7}},
            {"cluster": "00" * 16, "secrets": {"client": "00" * 31}},
            {"cluster": "00" * 16, "secrets": {"king": "00" * 32}},
            {"cluster": "../../etc/passwd", "secrets": {}},
            {"cluster": "é" * 32, "secrets": {}},
        ],
    )
    def test_from_dict_refuses_what_is_none(self, data: dict[str, object]) -> None:
        with pytest.raises(AuthenticationError):
            Credentials.from_dict(data)

    def test_an_error_does_not_quote_a_broken_secret(self) -> None:
        broken = "c0ffee" * 10 + "not hex!"
        with pytest.raises(AuthenticationError) as caught:
            Credentials.from_dict({"cluster": "00" * 16, "secrets": {"client": broken}})
        assert "c0ffee" not in str(caught.value)
        assert caught.value.__cause__ is None and caught.value.__suppress_context__

    def test_restricted_keeps_only_what_is_asked_for(self, credentials: Credentials) -> None:
        worker = credentials.restricted("worker", "client")
        assert dict(worker.secrets) == {role: credentials.secrets[role] for role in ("worker", "client")}
        with pytest.raises(AuthenticationError, match="hold no secret for observers, only for worker, client"):
            worker.restricted("observer")


class TestSchedulerFile:
    def test_round_trip(self, tmp_path: Path, credentials: Credentials) -> None:
        link = "http://127.0.0.1:8787/?token=x"
        path = write_scheduler_file(tmp_path / "s.json", ADDRESS, credentials, link)
        found = read_scheduler_file(path)
        assert (found.address, found.credentials, found.dashboard) == (ADDRESS, credentials, link)

    def test_a_broken_secret_in_a_file_is_named_with_the_file(self, tmp_path: Path, credentials: Credentials) -> None:
        path = write_scheduler_file(tmp_path / "s.json", ADDRESS, credentials)
        path.write_text(path.read_text().replace(credentials.secrets["client"].hex(), "c0ffee"))
        with pytest.raises(AuthenticationError, match="s.json: .*the secret for clients has 3 bytes") as caught:
            read_scheduler_file(path)
        assert "c0ffee" not in str(caught.value)


class TestUserDirectory:
    def test_is_made_private(self, home: Path) -> None:
        assert user_directory() == home
        assert stat.S_IMODE(home.stat().st_mode) == 0o700

    def test_refuses_one_that_others_can_write(self, home: Path) -> None:
        home.mkdir()
        home.chmod(0o770)
        with pytest.raises(AuthenticationError, match=f"open to other users; close it: chmod 700 {home}"):
            user_directory()

    def test_clusters_are_closed_even_to_readers(self, home: Path, credentials: Credentials) -> None:
        path = publish_cluster(ADDRESS, credentials)
        assert path == home / "clusters" / "127.0.0.1-8786.json"
        path.parent.chmod(0o755)
        with pytest.raises(AuthenticationError, match="open to other users"):
            find_cluster(ADDRESS)


class TestFindCluster:
    @pytest.mark.parametrize("address", [ADDRESS, "127.0.0.1:8786", "localhost", "tcp://localhost:8786"])
    def test_by_any_spelling_of_the_address(self, credentials: Credentials, address: str) -> None:
        publish_cluster(ADDRESS, credentials)
        found = find_cluster(address)
        assert found.credentials == credentials
        assert found.address == (address if "://" in address else f"tcp://{address}")

    def test_ipv6(self, credentials: Credentials) -> None:
        publish_cluster("tcp://[::1]:8786", credentials)
        assert find_cluster("[::1]").credentials == credentials

    def test_by_loopback_when_another_name_of_this_machine_was_published(self, credentials: Credentials) -> None:
        publish_cluster("tcp://10.0.0.7:9000", credentials)
        assert find_cluster("tcp://127.0.0.1:9000").credentials == credentials
        with pytest.raises(AuthenticationError):
            find_cluster("tcp://10.0.0.8:9000")

    def test_an_unknown_address_says_how_to_bring_the_credentials(self) -> None:
        with pytest.raises(
            AuthenticationError, match="no credentials for tcp://10.0.0.7:8786: .*copy its scheduler file"
        ):
            find_cluster("tcp://10.0.0.7:8786")

    def test_without_address_the_newest_that_still_runs(self, home: Path) -> None:
        addresses = [f"tcp://127.0.0.1:{port}" for port in (1001, 1002, 1003)]
        for age, address in enumerate(addresses):
            path = publish_cluster(address, Credentials.generate())
            os.utime(path, (age, age))
        assert find_cluster().address == addresses[2]
        path = home / "clusters" / "127.0.0.1-1003.json"
        dead = json.loads(path.read_text())
        dead["pid"] = _dead_pid()
        path.write_text(json.dumps(dead))
        os.utime(path, (9, 9))
        assert find_cluster().address == addresses[1]

    def test_without_address_unsafe_files_are_passed_over(self, credentials: Credentials) -> None:
        publish_cluster(ADDRESS, credentials)
        publish_cluster("tcp://127.0.0.1:1", Credentials.generate()).chmod(0o644)
        assert find_cluster().credentials == credentials

    def test_without_any(self) -> None:
        with pytest.raises(ConnectionFailedError, match="start one with `myscheduler`"):
            find_cluster()

    def test_a_configured_file_comes_first(
        self, tmp_path: Path, credentials: Credentials, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish_cluster(ADDRESS, Credentials.generate())
        path = write_scheduler_file(tmp_path / "secret", "", credentials)
        monkeypatch.setenv("MYSCHEDULER_CREDENTIALS_FILE", str(path))
        assert find_cluster("scheduler:8786").address == "tcp://scheduler:8786"
        assert find_cluster("scheduler:8786").credentials == credentials
        with pytest.raises(ConnectionFailedError, match="names no address"):
            find_cluster()

    def test_withdraw(self, credentials: Credentials) -> None:
        path = publish_cluster(ADDRESS, credentials)
        withdraw_cluster(path)
        assert not path.exists()
        withdraw_cluster(path)  # once more is no error

    def test_withdraw_leaves_the_file_of_a_successor(self, credentials: Credentials) -> None:
        path = publish_cluster(ADDRESS, credentials)
        content = json.loads(path.read_text())
        assert (content["pid"], content["host"]) == (os.getpid(), socket.gethostname())
        content["pid"] += 1
        path.write_text(json.dumps(content))
        withdraw_cluster(path)
        assert path.exists()


def _dead_pid() -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid
